"""Playing an older processor: every library obeys, child processes too, and a test run says what it left out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from notellm import older_cpu

REPOSITORY = Path(__file__).parents[2]
SEEN_BY_A_PROCESS = """
import json, torch, notellm
from notellm import _core
x = torch.ones(64, 64)
torch.ops.mkldnn._linear_pointwise(x, x, None, "none", [], "")  # oneDNN says what it may use
torch.mm(x, x)  # MKL does
print(json.dumps({
    "loops": notellm.instruction_set(),
    "LibTorch": torch.backends.cpu.get_cpu_capability(),
    "bf16": _core.ops.multiplies_bf16(),
    "MKL is there": torch.backends.mkl.is_available(),
}))
"""
IS_INTEL = "GenuineIntel" in Path("/proc/cpuinfo").read_text()
WORDS = {
    "avx2": {"LibTorch": "AVX2", "oneDNN": "isa:Intel AVX2\n", "MKL": "(Intel(R) AVX2) enabled processors"},
    "avx512": {
        "LibTorch": "AVX512",
        "oneDNN": "isa:Intel AVX-512 with AVX512BW, AVX512VL, and AVX512DQ extensions\n",
        "MKL": "(Intel(R) AVX-512) enabled processors",
    },
}


def python(*arguments, variables=()):
    command = [sys.executable, *arguments]
    env = os.environ | dict(variables)
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=env, check=True).stdout


@pytest.mark.parametrize(
    "processor", [pytest.param(name, marks=pytest.mark.needs_set(name)) for name in older_cpu.PROCESSORS]
)
def test_every_library_obeys(processor):
    verbose = {"ONEDNN_VERBOSE": "1", "MKL_VERBOSE": "1"}
    output = python(
        "-m", "notellm.older_cpu", processor, sys.executable, "-c", SEEN_BY_A_PROCESS, variables=verbose
    )
    seen = json.loads(output.splitlines()[-1])
    words = WORDS[processor]
    assert (seen["loops"], seen["LibTorch"], seen["bf16"]) == (processor, words["LibTorch"], False)
    assert words["oneDNN"] in output
    if seen["MKL is there"] and IS_INTEL:  # on other makers' processors MKL does not say what it uses
        assert words["MKL"] in output


@pytest.fixture
def machine(monkeypatch):
    """Gives this machine some instruction sets, and the process some variables."""

    def pretend(sets, variables):
        monkeypatch.setattr(older_cpu, "describe_machine", lambda: {"instruction_sets": sets})
        for name in older_cpu.environment("avx2"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return pretend


@pytest.mark.parametrize(
    ("sets", "played", "more_than_avx2", "more_than_avx512"),
    [
        (["AVX2"], None, False, False),
        (["NEON", "NEON bf16"], None, False, False),
        (["AVX2", "AVX-512"], None, True, False),
        (["AVX2", "AVX-512", "AVX-512 bf16"], None, True, True),
        (["AVX2", "AVX-512", "AVX-512 bf16", "AMX bf16"], "avx512", True, False),
        (["AVX2", "AVX-512", "AVX-512 bf16", "AMX bf16"], "avx2", False, False),
    ],
)
def test_what_changes_anything(sets, played, more_than_avx2, more_than_avx512, machine):
    machine(sets, older_cpu.environment(played) if played else {})
    assert older_cpu.has_more_than("avx2") == more_than_avx2
    assert older_cpu.has_more_than("avx512") == more_than_avx512


def test_a_run_that_would_be_the_same_again_is_left_out_in_one_line(machine, capsys):
    machine(["AVX2"], {})
    assert older_cpu.main(["--if-newer", "avx2", "false"]) == 0
    out = capsys.readouterr().out
    assert out == "left out: this processor has no more than avx2, so it would be the same again\n"


def test_the_command_keeps_its_own_options_and_its_exit_code():
    command = [sys.executable, "-m", "notellm.older_cpu", "avx2", "sh", "-c", "exit 7"]
    assert subprocess.run(command).returncode == 7


def test_what_is_not_there_is_one_line(capsys):
    assert older_cpu.main(["avx2", "no-such-command"]) == 127
    assert capsys.readouterr().err == "older_cpu: the command must be there, but no-such-command is not\n"


def test_other_processors_are_refused():
    with pytest.raises(ValueError, match="processor must be one of avx2, avx512, but is 'sse2'"):
        older_cpu.environment("sse2")


@pytest.mark.needs_set("avx2")
def test_a_test_run_plays_it_and_says_once_what_it_left_out():
    tests = "tests/python/embedding/test_int8_weights.py"
    chosen = ["-q", "-p", "no:cacheprovider", tests, "-k", "test_widening"]
    output = python("-m", "pytest", "--instruction-set", "avx2", *chosen, variables={"PYTEST_ADDOPTS": ""})
    lines = output.splitlines()
    assert lines[-2] == "skipped: 6 tests of avx512, avx512_bf16, which this run's processor lacks"
    assert lines[-1].startswith("9 passed, ")
    assert "SKIPPED" not in output
