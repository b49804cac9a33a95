"""Who imports whom in a package: what tests of its layers look at."""

import ast
from pathlib import Path


def module_name(path: Path, package: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def imports(path: Path, name: str, modules: set[str]) -> set[str]:
    """The package's modules that a file names in any import, wherever it stands.

    Args:
        path: The file.
        name: Of its module.
        modules: All names that count.
    """
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            source = _source(node, name, path.stem == "__init__")
            names = {f"{source}.{alias.name}" for alias in node.names}
            found |= {each if each in modules else source for each in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & modules


def _source(node: ast.ImportFrom, name: str, is_package: bool) -> str:
    """The module that names are imported from; a relative one, with dots, counts from the file's package."""
    if not node.level:
        return str(node.module)
    parents = (name if is_package else name.rpartition(".")[0]).split(".")
    return ".".join([*parents[: len(parents) - node.level + 1], *([node.module] if node.module else [])])


def import_graph(package: Path) -> dict[str, set[str]]:
    """By module: the modules of the package that it imports, the package itself included."""
    files = {module_name(path, package): path for path in package.rglob("*.py")}
    return {name: imports(path, name, set(files)) for name, path in files.items()}
