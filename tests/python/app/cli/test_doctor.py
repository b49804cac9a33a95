import ctypes.util
import importlib.metadata
import shutil
import tomllib
from pathlib import Path

import pytest
import torch

from notellm._core.util import available_cores
from notellm.app import doctor, extras
from notellm.machine import describe_machine

ROOT = Path(__file__).parents[4]
REQUIRES = [
    "one>=1",
    "two>=2,<3; extra == 'new'",
    "three; extra == 'new'",
    "four; extra == 'new' and python_version < '3'",
]


def finding(name):
    return next(found for found in doctor.examine() if found.name == name)


@pytest.fixture
def installed(monkeypatch):
    """Called with versions of packages: this package asks for `REQUIRES`, and these are there."""

    def install(versions):
        monkeypatch.setattr(importlib.metadata, "requires", lambda name: REQUIRES)
        monkeypatch.setattr(doctor, "extras", lambda: ["new"])
        monkeypatch.setattr(extras, "version_of", versions.get)

    return install


def test_whatever_is_missing_says_what_it_disables_and_how_to_get_it(monkeypatch):
    monkeypatch.setattr(extras, "version_of", {"packaging": "1"}.get)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    for name in (*(f"extra {name}" for name in extras.extras()), "apt"):
        found = finding(name)
        assert (found.state, bool(found.disables), bool(found.remedy)) == ("missing", True, True)


def test_every_extra_of_the_project_has_a_purpose():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert list(extras.PURPOSES) == sorted(project["optional-dependencies"])


def test_an_extra_is_complete_if_all_that_this_machine_needs_of_it_is_there(installed):
    installed({"one": "1.0", "two": "2.5", "three": "0.1"})
    assert finding("extra new") == doctor.Finding("extra new", "ok", "two 2.5, three 0.1")
    assert finding("packages") == doctor.Finding("packages", "ok", "one 1.0")


def test_an_extra_lacks_what_is_not_there_or_has_another_version(installed):
    installed({"one": "1.0", "two": "3.0"})
    found = finding("extra new")
    assert (found.state, found.value) == ("missing", "lacks two<3,>=2 (not 3.0), three")
    assert (found.disables, found.remedy) == ("what the extra new is for", "pip install 'notellm[new]'")


def test_a_package_that_is_needed_is_no_extra(installed):
    installed({"one": "0.9"})
    found = finding("packages")
    assert (found.state, found.value, found.remedy) == (
        "broken",
        "lacks one>=1 (not 0.9)",
        "pip install 'one>=1'",
    )


def test_a_folder_that_is_not_installed_has_no_list(monkeypatch):
    def requires(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", requires)
    assert finding("packages").value == "notellm is imported without being installed"


def test_a_driver_without_a_cuda_build_needs_a_clean_setup(monkeypatch):
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: "libcuda.so.1")
    assert doctor._no_cuda(is_built_for_it=False).remedy.endswith(
        "make clean setup"
    )  # `make setup` does nothing
    assert doctor._no_cuda(is_built_for_it=True).state == "broken"


def test_two_openmp_libraries_are_broken():
    assert doctor._openmp(["/a/libgomp.so.1"]).state == "ok"
    found = doctor._openmp(["/a/libgomp.so.1", "/b/libiomp5.so"])
    assert (found.state, found.disables) == ("broken", "speed: thread pools compete")


@pytest.mark.parametrize(("is_native", "became"), [(True, "bf16"), (False, "fp32")])
def test_it_says_what_auto_becomes(is_native, became, native_bf16, monkeypatch):
    native_bf16(is_native)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert finding("dtype=auto").value == f"{became} with device=cpu"


def test_without_bf16_instructions_nothing_is_said_to_be_slow(monkeypatch):
    machine = describe_machine() | {"instruction_sets": ["AVX2"]}
    monkeypatch.setattr(doctor, "describe_machine", lambda: machine)
    found = finding("bf16 instructions")
    assert found.state == "missing"
    assert "works at about fp32's speed; dtype=auto takes fp32" in found.disables


def test_the_exit_code_counts_what_is_broken_only(monkeypatch, capsys):
    missing = doctor.Finding("a", "missing", "not there", "little", "get it")
    monkeypatch.setattr(doctor, "examine", lambda: [missing])
    assert doctor.main([]) == 0
    monkeypatch.setattr(doctor, "examine", lambda: [missing, doctor.Finding("b", "broken", "cracked")])
    assert doctor.main([]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "missing a  not there",
        "           without it: little",
        "           to get it: get it",
    ]


def test_a_long_list_is_wrapped():
    value = ", ".join(f"package-{i} 1.0" for i in range(20))
    lines = list(doctor._lines([doctor.Finding("extra a", "ok", value)]))
    assert len(lines) == 4
    assert max(map(len, lines)) <= doctor.LINE
    assert " ".join(line[len("ok      extra a  ") :] for line in lines) == value


def test_it_says_how_many_threads_compute(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert finding("threads").value.startswith("threads=0 means 3, OMP_NUM_THREADS=3")
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert finding("threads").value.startswith(f"threads=0 means {available_cores()}")
