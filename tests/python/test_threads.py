"""How many threads compute: what a user says, else what the environment says, else all cores that are ours."""

import os
import subprocess
import sys

import pytest

from notellm._core.util import available_cores
from notellm.app.commands import configured

SHOW = """
import torch
from notellm._core.util import num_threads, set_num_threads

def show(): print(num_threads(), torch.get_num_threads())

set_num_threads(0), show()
set_num_threads(2), show()
set_num_threads(0), show()
"""


def shown(said, command=()):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    if said is not None:
        environment["OMP_NUM_THREADS"] = said
    command = [*command, sys.executable, "-c", SHOW]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize(
    ("said", "wanted"),
    [("1", 1), ("3", 3), ("3,2", 3), ("0", None), ("many", None), ("", None), (None, None)],
)
def test_zero_is_what_the_environment_says(said, wanted):
    wanted = str(wanted or available_cores())
    assert shown(said) == [wanted, wanted, "2", "2", wanted, wanted]


def test_all_cores_are_those_of_the_process():
    """As a scheduler of a cluster, or taskset, shares out the cores of a machine."""
    core = str(min(os.sched_getaffinity(0)))
    assert shown(None, ["taskset", "-c", core]) == ["1", "1", "2", "2", "1", "1"]


@pytest.mark.parametrize(
    ("processes", "said", "threads"),
    [(1, None, 0), (1, "1", 0), (2, None, 4), (3, "1", 2), (16, "1", 1), (2, "6", 0)],
)
def test_processes_of_a_machine_share_its_cores_where_nobody_says_otherwise(
    processes, said, threads, monkeypatch
):
    """torchrun sets OMP_NUM_THREADS=1 where it is not set."""
    monkeypatch.setattr(configured, "available_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if said is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert configured._fair_threads(processes) == threads
