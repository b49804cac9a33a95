"""The instruction set of a test run: `pytest --instruction-set avx2` runs as on a processor without AVX-512."""

import os
import sys
from importlib.util import find_spec

import pytest

from notellm.older_cpu import PROCESSORS, environment, played

SETS = ["baseline", "avx2", "avx512", "avx512_bf16"]
"""Sets of loops, each of which has those before it."""

_OPTIONAL = {
    "pyspark": ["python/notellm/spark/*", "python/notellm/app/pipeline/on_spark.py"],
    "sentence_transformers": ["python/notellm/export/note_module.py"],
}
"""Modules that need an optional package: where it is not there, their examples are left out."""

collect_ignore_glob = [path for name, paths in _OPTIONAL.items() if find_spec(name) is None for path in paths]

LEFT_OUT = pytest.StashKey[list[str]]()
"""The set that each test was about which is not run for it."""


def pytest_addoption(parser):
    parser.addoption(
        "--instruction-set",
        choices=list(PROCESSORS),
        help="run as on a processor with this set and no more, the processes that tests start included",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    """Begins anew where the variables are not set: libraries that are loaded already have read them."""
    config.stash[LEFT_OUT] = []
    name = config.getoption("--instruction-set")
    if name is None or played(os.environ) == name:
        return
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        capture.stop_global_capturing()  # our output must not end in this run's files
    os.execve(sys.executable, sys.orig_argv, os.environ | environment(name))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Leaves out tests of sets that the processor lacks: of those that the other options leave."""
    import notellm

    best = notellm.instruction_set()
    lacking = set(SETS[SETS.index(best) + 1 :]) if best in SETS else set(SETS)
    marks = [(item, item.get_closest_marker("needs_set")) for item in items]
    out = [(item, mark.args[0]) for item, mark in marks if mark and mark.args[0] in lacking]
    if out:
        config.stash[LEFT_OUT] = [name for _, name in out]
        config.hook.pytest_deselected(items=[item for item, _ in out])
        gone = {item for item, _ in out}
        items[:] = [item for item in items if item not in gone]


def pytest_sessionfinish(session):
    """One of several processes (pytest-xdist) says what it has left out: each has collected all tests."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = session.config.stash[LEFT_OUT]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """The process that started the others hears it."""
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("left_out", [])


def pytest_terminal_summary(terminalreporter, config):
    out = config.stash[LEFT_OUT]
    if out:
        names = ", ".join(name for name in SETS if name in out)
        terminalreporter.write_line(f"skipped: {len(out)} tests of {names}, which this run's processor lacks")
