"""How many threads compute: what a user says, else what the environment says, else all cores."""

import os
import subprocess
import sys

import pytest

SHOW = """
import torch
from notellm._core.util import num_threads, set_num_threads

def show(): print(num_threads(), torch.get_num_threads())

set_num_threads(0), show()
set_num_threads(2), show()
set_num_threads(0), show()
"""


@pytest.mark.parametrize("said", ["1", "3", "3,2", "0", "many", ""])
def test_zero_is_what_the_environment_says(said):
    environment = os.environ | {"OMP_NUM_THREADS": said}
    shown = subprocess.run(
        [sys.executable, "-c", SHOW], env=environment, capture_output=True, text=True, check=True
    )
    wanted = said[0] if said[:1] in ("1", "3") else str(len(os.sched_getaffinity(0)))
    assert shown.stdout.split() == [wanted, wanted, "2", "2", wanted, wanted]
