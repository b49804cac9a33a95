"""Pages of the Python reference: one for each part of the library, with its documented modules."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import notellm

APPLICATION = "app"
SCRIPTED = "app/studies"


def pages(library: Path) -> dict[str, str]:
    """The pages by their paths; `library` is the package's folder."""
    parts: dict[str, list[str]] = {}
    for name in sorted(public_modules(library)):
        part = name.split(".")[1] if not name.startswith("notellm.app") else "studies"
        parts.setdefault(part, []).append(name)
    found = {"reference/python/index.md": summary(library)}
    for part, names in parts.items():
        title = "notellm.app.studies" if part == "studies" else f"notellm.{part}"
        blocks = [f"::: {name}\n" for name in names]
        if names == [title]:
            blocks = [f"---\ntitle: {title}\n---\n\n::: {title}\n    options:\n      heading_level: 1\n"]
        else:
            blocks.insert(0, f"# {title}\n")
        found[f"reference/python/{part}.md"] = "\n".join(blocks)
    return found


def public_modules(library: Path) -> Iterator[str]:
    """Dotted names of the modules that define something public."""
    for path in library.rglob("*.py"):
        parts = path.relative_to(library).with_suffix("").parts
        is_scripted = "/".join(parts).startswith(SCRIPTED)
        if (parts[0] == APPLICATION and not is_scripted) or any(part.startswith("_") for part in parts):
            continue
        if definitions(path):
            yield ".".join(("notellm", *parts))


def definitions(path: Path) -> dict[str, str]:
    """Public classes, functions and documented values of a module, each with the first line of its documentation."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    found = {}
    for node, behind in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found[node.name] = ast.get_docstring(node) or ""
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            documented = isinstance(behind, ast.Expr) and isinstance(behind.value, ast.Constant)
            if documented:
                found[node.targets[0].id] = str(behind.value.value)
    return {name: text.partition("\n")[0] for name, text in found.items() if not name.startswith("_")}


def summary(library: Path) -> str:
    """The first page: what `notellm` itself offers, and where each of it is described."""
    homes: dict[str, list[tuple[str, str]]] = {}
    for path in library.rglob("*.py"):
        module = ".".join(("notellm", *path.relative_to(library).with_suffix("").parts))
        for name, line in definitions(path).items():
            homes.setdefault(name, []).append((module, line))
    rows = ["| name | |", "|---|---|"]
    for name in sorted(notellm.__all__, key=str.lower):
        near = f"notellm.{notellm._HOMES[name]}"
        described = [home for home in homes.get(name, []) if home[0].startswith(near)]
        rows.append(row(name, *described[0]) if described else row_of_the_core(name, library))
    return "\n".join(["# notellm\n", (notellm.__doc__ or "").partition("\n")[0] + "\n", *rows, ""])


def row(name: str, module: str, line: str) -> str:
    """A name that a module of the library describes."""
    line = re.sub(r":\w+:(?=`)", "", line).replace("|", "&#124;")  # without roles
    return f"| [`{name}`][{module}.{name}] | {line} |"


def row_of_the_core(name: str, library: Path) -> str:
    """A name that C++ defines: the stub that has it is named like the folder of the headers."""
    stubs = library.glob("_core/[!_]*.pyi")
    part = next(
        path.stem for path in stubs if re.search(rf"^(class|def) {name}\b", path.read_text(), re.MULTILINE)
    )
    page = "../../docs/options.md" if part == "options" else f"../cpp/{part}.md"
    return f"| `{name}` | of the core: [{part}]({page}) |"
