"""A released wheel asks for the very torch that it was built with; the source asks for any that it supports."""

import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[3]
SOURCE = tomllib.loads((ROOT / "pyproject.toml").read_text())


def pin(path):
    command = [sys.executable, ROOT / "tools/pin_torch.py", path]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_copy_asks_for_the_torch_that_is_installed_and_is_otherwise_the_same(tmp_path):
    copy = Path(shutil.copy(ROOT / "pyproject.toml", tmp_path))
    for _ in range(2):  # cibuildwheel calls it before the wheel of each Python
        done = pin(copy)
        assert done.returncode == 0, done.stderr
    found = tomllib.loads(copy.read_text())
    assert f"torch=={version('torch').partition('+')[0]}" in found["project"]["dependencies"]
    found["project"]["dependencies"] = SOURCE["project"]["dependencies"]
    assert found == SOURCE
    assert "torch>=2.9" in SOURCE["project"]["dependencies"]


def test_a_file_that_does_not_ask_for_torch_is_refused(tmp_path):
    other = tmp_path / "pyproject.toml"
    other.write_text('[project]\ndependencies = [\n  "torchvision>=1",\n]\n')
    done = pin(other)
    assert done.returncode == 1
    assert "must ask for torch once, but does so 0 times" in done.stderr


def test_the_release_calls_it_behind_the_installation_of_torch():
    installs, pins = SOURCE["tool"]["cibuildwheel"]["before-build"].split(" && ")
    assert installs == "pip install -r {project}/requirements.txt"
    assert pins == "python {project}/tools/pin_torch.py {package}/pyproject.toml"
