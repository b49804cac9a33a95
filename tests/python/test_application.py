"""The line between library and application: nothing in the library imports `notellm.app`, not even late."""

from pathlib import Path

import pytest

import notellm
from imports import import_graph

PACKAGE = Path(notellm.__file__).parent
ENTRY = "notellm.__main__"
"""``python -m notellm``: the only module outside `notellm.app` that calls it."""


def is_application(module):
    return module == "notellm.app" or module.startswith("notellm.app.")


def crossings(package):
    """Each import of the application by a module of the library."""
    return [
        f"{module} imports {found}"
        for module, all_found in sorted(import_graph(package).items())
        if not is_application(module) and module != ENTRY
        for found in sorted(all_found)
        if is_application(found)
    ]


def test_the_library_does_not_import_the_application():
    modules = import_graph(PACKAGE)
    assert sum(is_application(module) for module in modules) > 30
    assert is_application(*modules[ENTRY])  # so it is the application's
    assert crossings(PACKAGE) == []


def test_public_names_are_those_of_the_library():
    assert not any(is_application(f"notellm.{home}") for home in notellm._HOMES.values())


@pytest.mark.parametrize(
    "line",
    [
        "from notellm.app.run import x",
        "from notellm import app",
        "import notellm.app",
        "from ..app import run",
    ],
)
def test_a_crossing_is_found(tmp_path, line):
    for file in ("__init__.py", "app/__init__.py", "app/run.py", "data/__init__.py"):
        path = tmp_path / "notellm" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "notellm" / "data" / "notes.py").write_text(f"def f():\n    {line}\n")
    (found,) = crossings(tmp_path / "notellm")
    assert found.startswith("notellm.data.notes imports notellm.app")
