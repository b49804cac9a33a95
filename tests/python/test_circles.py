"""Modules build on each other one way: none imports what imports it, not even late or for types alone."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import notellm

PACKAGE = Path(notellm.__file__).parent


def module_name(path, package):
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def imports(path, modules):
    """The package's modules that a file names in any import, wherever it stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in modules else str(node.module) for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & modules


def graph(package):
    files = {module_name(path, package): path for path in package.rglob("*.py")}
    top = package.name  # its lazy names, and the version, which everyone may ask for
    return {name: imports(path, set(files)) - {top, name} for name, path in files.items() if name != top}


def test_no_module_imports_what_imports_it():
    assert len(graph(PACKAGE)) > 100
    TopologicalSorter(graph(PACKAGE)).prepare()


def test_a_circle_is_found(tmp_path):
    package = tmp_path / "notellm"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "a.py").write_text("from notellm.b import y\n")
    (package / "b.py").write_text("def f():\n    from notellm import a\n")
    with pytest.raises(CycleError):
        TopologicalSorter(graph(package)).prepare()
