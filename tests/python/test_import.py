"""Importing, where all is well and where PyTorch or the extension is absent, broken or does not fit.

Each case is a process of its own that sees a copy of the package.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

import notellm
from notellm import _core

PACKAGE = Path(notellm.__file__).parent
NO_TORCH = "raise ModuleNotFoundError(\"No module named 'torch'\")\n"
OTHER_TORCH = """
from types import SimpleNamespace as Space
__version__ = "9.9.9+other"
version = Space(cuda=None)
cuda = Space(is_available=lambda: False)
"""
CASES = {
    "no extension": ("notellm._core: must be built, but is absent; try", "make clean setup"),
    "garbage": (
        r"notellm\._core: must be built with PyTorch .+, but does not load \(.+\); try",
        "make clean setup",
    ),
    "other torch": (
        rf"must be built with PyTorch 9\.9\.9\+other, but was built with {re.escape(_core.__torch_version__)}; try",
        "make clean setup",
    ),
    "no torch": (
        r"PyTorch must be installed, but cannot be imported \(No module named 'torch'\); try",
        "make clean",
    ),
}
"""What is wrong: the sentence about it, and the remedy."""


@pytest.fixture(params=CASES)
def broken(request, tmp_path):
    """Where something is broken: `call(*arguments)` runs Python, and what its error must say."""
    root, case = tmp_path / "root", request.param
    shutil.copytree(PACKAGE, root / "notellm", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    extension = root / "notellm" / f"_core{EXTENSION_SUFFIXES[0]}"
    if case == "garbage":
        extension.write_bytes(b"no ELF at all" * 100)
    elif case != "no extension":
        extension.symlink_to(Path(_core.__file__).resolve())
    if case.endswith(" torch"):
        (root / "torch.py").write_text(NO_TORCH if case == "no torch" else OTHER_TORCH)
    return lambda *arguments: run(root, *arguments), *CASES[case]


def run(root, *arguments):
    """Runs Python where `root` precedes all other packages."""
    path = os.pathsep.join([str(root), *filter(None, sys.path)])
    # -S: no .pth file, so that an editable installation of notellm does not come before the copy
    command = [sys.executable, "-S", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=root, env=os.environ | {"PYTHONPATH": path}
    )


IMPORTS = """
import json
import notellm
found = []
for statement in (
    "notellm.NoteLLM", "from notellm import Notes", "from notellm import _core", "import notellm._core",
    "import notellm.losses", "import notellm.retrieval", "from notellm._core.util import num_threads",
    "notellm.errors", "notellm.__version__", "import notellm.errors", "import notellm.models.notellm",
    "import notellm.app.commands.mine",
):
    try:
        exec(statement)
    except ImportError as error:
        found.append(str(error))
    else:
        found.append(f"{statement} works")
print(json.dumps(found))
"""


def test_every_way_to_import_fails_with_one_sentence(broken):
    call, sentence, remedy = broken
    result = call("-c", IMPORTS)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert set(found) == {found[0]}
    assert re.search(sentence, found[0])
    assert remedy in found[0]
    assert "\n" not in found[0]


@pytest.mark.parametrize("module", [["notellm.app.doctor"], ["notellm.app.cli", "doctor"]], ids=" ".join)
def test_doctor_reports_what_is_broken(broken, module):
    call, sentence, remedy = broken
    result = call("-m", *module, "--json")
    assert result.returncode == 1, result.stderr
    findings = [finding for finding in json.loads(result.stdout) if finding["name"] != "cache"]
    wrong = [finding for finding in findings if finding["state"] == "broken"]
    assert wrong[-1]["name"] == "notellm._core"
    assert re.search(sentence, f"{wrong[0]['value']}; try {wrong[0]['remedy']}")
    assert remedy in wrong[0]["remedy"]
    names = {finding["name"] for finding in findings}
    assert {"CPU", "memory", "packages", "extra demo"} <= names  # it went on


def test_the_command_line_explains_itself_and_what_is_broken(broken):
    call, sentence, _ = broken
    for option in ("--help", "--version"):
        result = call("-m", "notellm.app.cli", option)
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.startswith(("usage: notellm", "notellm "))
    result = call("-m", "notellm.app.cli", "mine")
    assert result.returncode == 2
    assert re.match(rf"notellm: .*{sentence}", result.stderr)
    assert result.stderr.count("\n") == 1


def test_errors_of_ours_keep_their_traceback_where_the_core_is_broken(broken):
    call, *_ = broken
    bug = "from notellm.app import cli, doctor\ndef fail(arguments): raise RuntimeError('a bug')\ndoctor.run = fail\n"
    result = call("-c", f"{bug}cli.main(['doctor'])")
    assert (result.returncode, result.stderr.splitlines()[-1]) == (1, "RuntimeError: a bug")


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, notellm; print([m for m in sys.modules if m.startswith(('torch', 'numpy', 'notellm._'))])"
    assert run(PACKAGE.parent, "-c", code).stdout == "[]\n"


def test_submodules_load_by_themselves():
    # the extension needs PyTorch's libraries, whoever asks for it first
    code = "import notellm._core.util, sys; assert 'torch' in sys.modules; import notellm; notellm.losses.gcl_loss"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


def imports_for_type_checkers():
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    block = next(
        node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    return {alias.name: node.module.removeprefix("notellm.") for node in block.body for alias in node.names}


def test_type_checkers_see_what_is_there():
    assert imports_for_type_checkers() == notellm._HOMES
    assert set(notellm.__all__) == set(notellm._HOMES) - {"__version__"}


def test_every_public_name_resolves_and_is_listed():
    for name in (*notellm.__all__, "__version__"):
        assert getattr(notellm, name) is vars(notellm)[name]  # kept after the first use
    assert {*notellm.__all__, "losses", "__version__"} <= set(dir(notellm))
    with pytest.raises(AttributeError, match="module 'notellm' has no attribute 'Note'"):
        notellm.Note  # noqa: B018
