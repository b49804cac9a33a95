"""The command for a GPU machine: it refuses early, keeps its time, and leaves what it has when a part is lost."""

import importlib.util
import json
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TOOLS = ROOT / "tools"


def load(name):
    """A script of tools/ as a module."""
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


gpu_parts, gpu_manifest = load("gpu_parts"), load("gpu_manifest")


def call(script, *arguments):
    """What a script of the shell says, and its status."""
    environment = os.environ | {"PYTHON": sys.executable}
    return subprocess.run(
        ["bash", TOOLS / script, *arguments], capture_output=True, text=True, env=environment, check=False
    )


@pytest.fixture
def bundle(tmp_path):
    """A small folder with a manifest."""
    folder = tmp_path / "bundle"
    (folder / "wheels").mkdir(parents=True)
    (folder / "wheels" / "a-1-py3-none-any.whl").write_bytes(b"wheel")
    (folder / "libx.so.1").write_bytes(b"\0GLIBC_2.14\0GLIBC_2.2.5\0GLIBC_2.32\0")
    gpu_manifest.write(folder, "3.12", "abc")
    return folder


@pytest.mark.parametrize(
    ("script", "arguments", "said"),
    [
        ("gpu_check.sh", [], "needs --bundle and --output"),
        ("gpu_check.sh", ["--bundle"], "--bundle must be followed by a value"),
        ("gpu_check.sh", ["--output", "--small"], "--output must be followed by a value"),
        ("gpu_check.sh", ["--fast"], "knows no --fast"),
        ("gpu_check.sh", ["--bundle", "b", "--output", "o", "--device", "tpu"], "must be cuda or cpu, but is tpu"),
        ("gpu_check.sh", ["--bundle", "b", "--output", "o", "--seconds", "0"], "above 0, but is 0"),
        ("gpu_check.sh", ["--bundle", "/nowhere", "--output", "o"], "/nowhere: must hold the manifest.json of"),
        ("gpu_bundle.sh", [], "usage: tools/gpu_bundle.sh FOLDER"),
        ("gpu_bundle.sh", ["a", "b"], "takes one folder, but got a and b"),
        ("gpu_bundle.sh", ["a", "--python", "three"], "must be a version such as 3.12, but is 'three'"),
        ("gpu_bundle.sh", [str(ROOT)], "must be absent, or an earlier bundle to be replaced"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused_before_any_work(script, arguments, said):
    done = call(script, *arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_parts_are_listed_most_important_first():
    done = call("gpu_check.sh", "--list")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(gpu_parts.PARTS)
    assert next(iter(gpu_parts.PARTS)) == "tests"


@pytest.mark.parametrize("script", ["gpu_check.sh", "gpu_bundle.sh"])
def test_scripts_are_read_by_the_shell_and_say_how_they_are_called(script):
    assert subprocess.run(["bash", "-n", TOOLS / script], check=False).returncode == 0
    done = call(script, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: tools/{script}")


OTHERS = ["", "[1]", "{}", '{"shards": [], "notes": 3}', '{"python": "3.12", "glibc": ""}', '{"files": ']
"""Manifests that are of no bundle, such as that of a folder of shards."""


@pytest.mark.parametrize("text", OTHERS)
def test_a_folder_with_a_manifest_of_something_else_is_never_replaced(text, tmp_path):
    folder = tmp_path / "pool"
    folder.mkdir()
    (folder / "manifest.json").write_text(text)
    (folder / "shard.arrow").write_bytes(b"vectors")
    done = call("gpu_bundle.sh", str(folder))
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"gpu_bundle: {folder} must be absent, or an earlier bundle to be replaced, but is neither"
    ]
    assert (folder / "shard.arrow").read_bytes() == b"vectors"
    (fault,) = gpu_manifest.check(folder, "3.12", "glibc 2.39")
    assert fault.startswith(f"{folder}: must hold the manifest.json of a bundle, but does not")


def test_a_bundle_is_known_by_its_manifest(bundle, tmp_path):
    assert gpu_manifest.read(bundle)["python"] == "3.12"
    assert gpu_manifest.read(tmp_path / "absent") is None


def test_a_whole_bundle_has_no_faults(bundle):
    assert gpu_manifest.check(bundle, "3.12", "glibc 2.39") == []


def test_a_bundle_for_another_machine_is_refused(bundle):
    faults = gpu_manifest.check(bundle, "3.11", "glibc 2.31")
    assert len(faults) == 2
    assert "is for Python 3.12, but this is 3.11" in faults[0]
    assert "need glibc 2.32 or newer, but here is glibc 2.31" in faults[1]


def test_a_damaged_bundle_is_refused(bundle):
    (bundle / "wheels" / "a-1-py3-none-any.whl").write_bytes(b"other")
    (bundle / "libx.so.1").unlink()
    (bundle / "more").touch()
    faults = "\n".join(gpu_manifest.check(bundle, "3.12", "glibc 2.39"))
    assert "a-1-py3-none-any.whl: must be as manifest.json says" in faults
    assert "libx.so.1: must be there, but is not" in faults
    assert "more: must be as manifest.json says" in faults


def test_a_bundle_that_is_too_large_to_carry_is_refused(bundle, monkeypatch):
    monkeypatch.setattr(gpu_manifest, "LARGEST", 8)
    with pytest.raises(ValueError, match="must be less than 0 MiB, but is"):
        gpu_manifest.write(bundle, "3.12", "abc")


def options(bundle, output, **changes):
    """What `gpu_parts` is called with."""
    output.mkdir(exist_ok=True)
    given = {
        "bundle": bundle,
        "output": output,
        "device": "cpu",
        "small": True,
        "seconds": 60.0,
        "only": None,
    }
    return Namespace(**given | {"build_seconds": 1.0, "cuda_loops": "not asked for"} | changes)


def python(text):
    """A command."""
    return [sys.executable, "-c", text]


def test_parts_that_are_lost_do_not_take_others_along(bundle, tmp_path, monkeypatch, capsys):
    hangs = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    commands = {
        "tests": python("print('2 passed')"),
        "ceilings": python("raise SystemExit('no such device')"),
        "ranks": python(hangs),
        "gcl": python(f"open({str(tmp_path / 'out' / 'gcl.json')!r}, 'w').write('{{\"rounds\": [1]}}')"),
    }
    monkeypatch.setattr(gpu_parts, "command_of", lambda name, _: commands[name])
    limits = {
        name: part._replace(seconds=2 if name == "ranks" else 50) for name, part in gpu_parts.PARTS.items()
    }
    monkeypatch.setattr(gpu_parts, "PARTS", limits)
    monkeypatch.setattr(gpu_parts, "LEAST_SECONDS", 1)
    assert gpu_parts.run_all(options(bundle, tmp_path / "out", only=list(commands))) is False
    summary = json.loads((tmp_path / "out" / "gpu_check.json").read_text())
    states = {name: part["state"] for name, part in summary["parts"].items()}
    assert states == {"tests": "done", "ceilings": "failed", "ranks": "out of time", "gcl": "done"}
    assert "no such device" in summary["parts"]["ceilings"]["log"]
    assert summary["parts"]["gcl"]["record"] == {"rounds": [1]}
    assert summary["note"].startswith("A rehearsal")
    assert summary["bundle_commit"] == "abc"
    assert "out of time" in capsys.readouterr().out


def test_without_time_left_no_part_is_begun(bundle, tmp_path):
    assert gpu_parts.run_all(options(bundle, tmp_path / "out", seconds=1.0)) is False
    summary = json.loads((tmp_path / "out" / "gpu_check.json").read_text())
    assert {part["state"] for part in summary["parts"].values()} == {"not begun"}


def test_every_part_has_a_script_that_knows_its_options(bundle, tmp_path):
    for small in (True, False):
        given = options(bundle, tmp_path / "out", small=small)
        for name, part in gpu_parts.PARTS.items():
            command = gpu_parts.command_of(name, given)
            if not part.script:
                assert "tests/python/test_gpu.py" in command
                continue
            text = (
                Path(command[1]).read_text() + (ROOT / "benchmarks" / "python" / "workloads.py").read_text()
            )
            text += (ROOT / "benchmarks" / "python" / "records.py").read_text() + '"--dtype"'
            assert [word for word in command if word.startswith("--") and f'"{word}"' not in text] == []


BESIDE_PYTHON = Path(sys.executable).with_name("cmake")
CMAKE = BESIDE_PYTHON if BESIDE_PYTHON.exists() else "cmake"
PROJECT = """
cmake_minimum_required(VERSION 3.25)
project(asks LANGUAGES NONE)
include("{root}/cmake/NotellmRequire.cmake")
notellm_require(carried 0.7 libcarried-dev)
"""


@pytest.mark.parametrize(
    "folder", ["lib/cmake/carried", "share/carried/cmake", "lib/x86_64-linux-gnu/cmake/carried"]
)
def test_cmake_finds_carried_packages_by_their_prefix(folder, tmp_path):
    """As `gpu_check.sh` names it: also where the compiler knows no folders by architecture."""
    project, prefix = tmp_path / "project", tmp_path / "prefix"
    package = prefix / folder
    package.mkdir(parents=True)
    project.mkdir()
    (package / "carriedConfig.cmake").touch()
    version = "set(PACKAGE_VERSION 0.7.0)\nset(PACKAGE_VERSION_COMPATIBLE TRUE)\n"
    (package / "carriedConfigVersion.cmake").write_text(version)
    (project / "CMakeLists.txt").write_text(PROJECT.format(root=ROOT))
    paths = f"{prefix}:{prefix}/lib/x86_64-linux-gnu/cmake"
    done = subprocess.run(
        [CMAKE, "-S", project, "-B", tmp_path / "build"],
        capture_output=True, text=True, env=os.environ | {"CMAKE_PREFIX_PATH": paths}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"carried 0.7.0: {package}" in done.stdout


def test_a_rehearsal_has_more_time():
    assert (gpu_parts.limit_of("gcl", "cuda"), gpu_parts.limit_of("gcl", "cpu")) == (60, 180)
