"""Targets of the Makefile that call `notellm`, with a `notellm` that writes down how it was called."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
STUB = """\
#!/bin/sh
echo "$@" >> {log}
case "$*" in {fails}) exit 1;; esac
"""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def tables(tmp_path):
    """Calls `make tables` for two studies; gives its status and the calls of `notellm`."""

    def call(fails):
        log, stub = tmp_path / "calls", tmp_path / "notellm"
        log.unlink(missing_ok=True)
        stub.write_text(STUB.format(log=log, fails=fails))
        stub.chmod(0o755)
        # -o: what `setup` makes is there
        command = ["make", "-s", "-o", "setup", "tables", f"BIN={tmp_path}", "STUDIES=one two", "RESULTS=r"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return done.returncode, log.read_text().splitlines()

    return call


CALLS = [
    call
    for study in ("one", "two")
    for call in (
        f"sweep experiment={study} scale=smoke --folder r",
        f"table experiment={study} scale=smoke --folder r --format markdown --output r/smoke/{study}.md",
        f"table experiment={study} scale=smoke --folder r --format csv --output r/smoke/{study}.csv",
    )
]


@pytest.mark.parametrize("fails", ["nothing", "sweep*=one*", "table*=one*markdown*", "table*=two*csv*"])
def test_tables_fail_if_a_call_does_and_the_others_go_on(fails, tables):
    status, calls = tables(fails)
    assert (status == 0) == (fails == "nothing")
    assert calls == CALLS
