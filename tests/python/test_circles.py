"""Modules build on each other one way: none imports what imports it, not even late or for types alone."""

from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import notellm
from imports import import_graph

PACKAGE = Path(notellm.__file__).parent


def graph(package):
    top = package.name  # its lazy names, and the version, which everyone may ask for
    return {name: found - {top, name} for name, found in import_graph(package).items() if name != top}


def test_no_module_imports_what_imports_it():
    assert len(graph(PACKAGE)) > 100
    TopologicalSorter(graph(PACKAGE)).prepare()


def folders(modules):
    """The same between what lies directly in the package, and in `app`: folders, and modules of none."""

    def part(module):
        names = module.split(".")[1:]
        return ".".join(names[: 2 if names[0] == "app" else 1])

    found: dict[str, set[str]] = {}
    for name, imported in modules.items():
        found.setdefault(part(name), set()).update(map(part, imported))
    return {name: others - {name} for name, others in found.items()}


def test_no_folder_imports_what_imports_it():
    parts = folders(graph(PACKAGE))
    assert {"models", "training", "app.pipeline"} <= parts.keys()
    TopologicalSorter(parts).prepare()


@pytest.mark.parametrize(
    "line", ["from notellm import a", "import notellm.a", "from . import a", "from .a import x"]
)
def test_a_circle_is_found(tmp_path, line):
    package = tmp_path / "notellm"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "a.py").write_text("from notellm.b import y\n")
    (package / "b.py").write_text(f"def f():\n    {line}\n")
    with pytest.raises(CycleError):
        TopologicalSorter(graph(package)).prepare()
