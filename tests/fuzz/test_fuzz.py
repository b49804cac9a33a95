"""Every reader, called with contents that are nearly right."""

import contextlib
import os
import random
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from fuzz.mutation import changed
from fuzz.targets import REFUSALS, TARGETS

CHANGES = {"study": 10, "configuration": 60, "gguf": 60, "weights": 60}
"""How many contents a quick test tries; of others `MANY`."""

MANY = 150


@pytest.mark.parametrize("name", TARGETS)
def test_nearly_right_contents_are_read_or_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    target = TARGETS[name](tmp_path)
    for seed in target.seeds:
        target.read(seed)  # what is right is read
    random_ = random.Random(name)
    for number in range(CHANGES.get(name, MANY)):
        content = changed(random_.choice(target.seeds), random_)
        try:
            with contextlib.suppress(*REFUSALS), warnings.catch_warnings(action="ignore"):
                target.read(content)
        except BaseException as error:
            (Path(tmp_path) / "content").write_bytes(content)
            raise AssertionError(f"{name}, content {number}: {content[:300]!r}: {error!r}") from error


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_a_minute_of_fuzzing_finds_nothing(name, tmp_path):
    pytest.importorskip("atheris")
    command = [sys.executable, "-m", "fuzz", name, "--seconds", "60", "--folder", str(tmp_path)]
    here = {"PYTHONPATH": str(Path(__file__).parents[1])}  # pytest's own path is not the child's
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env=os.environ | here
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-6000:]
