import builtins
import importlib.util
import shutil

import pytest

from notellm import doctor


def finding(name):
    return next(found for found in doctor.examine() if found.name == name)


def test_whatever_is_missing_says_what_it_disables_and_how_to_get_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    for name in (*doctor.PACKAGES, "apt"):
        found = finding(name)
        assert (found.state, bool(found.disables), bool(found.remedy)) == ("missing", True, True)


@pytest.mark.parametrize(("absent", "name"), [("torch", "PyTorch"), ("notellm", "notellm._core")])
def test_what_cannot_be_imported_is_a_finding(absent, name, monkeypatch):
    real = builtins.__import__

    def without(module, globals=None, locals=None, fromlist=(), level=0):
        if module == absent and (absent == "torch" or "_core" in (fromlist or ())):
            raise ImportError(f"no {absent} here")
        return real(module, globals, locals, fromlist, level)

    monkeypatch.setattr(doctor, "_machine", lambda: iter(()))
    monkeypatch.setattr(doctor, "_packages", lambda: iter(()))
    monkeypatch.setattr(builtins, "__import__", without)
    found = finding(name)
    assert (found.state, found.remedy) == ("broken", "make setup")


def test_two_openmp_libraries_are_broken():
    assert doctor._openmp(["/a/libgomp.so.1"]).state == "ok"
    found = doctor._openmp(["/a/libgomp.so.1", "/b/libiomp5.so"])
    assert (found.state, found.disables) == ("broken", "speed: thread pools compete")


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
