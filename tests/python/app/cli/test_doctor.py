import ctypes.util
import importlib.util
import shutil

import pytest
import torch

from notellm.app import doctor
from notellm.machine import describe_machine


def finding(name):
    return next(found for found in doctor.examine() if found.name == name)


def test_whatever_is_missing_says_what_it_disables_and_how_to_get_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    for name in (*doctor.PACKAGES, "apt"):
        found = finding(name)
        assert (found.state, bool(found.disables), bool(found.remedy)) == ("missing", True, True)


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
