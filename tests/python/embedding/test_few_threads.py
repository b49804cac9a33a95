"""Embedding where the system gives no further thread, as in a container that has reached its limit of processes."""

import resource
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys, threading
import torch
from notellm import NoteLLM
from samples import make_notes

model, notes = NoteLLM.from_pretrained(sys.argv[1]), make_notes(12)
expected = model.embed(notes, batch_tokens=200)
pages = int(open("/proc/self/statm").read().split()[0])
most = pages * resource.getpagesize() + (1 << 30)  # less than the stack of a thread
resource.setrlimit(resource.RLIMIT_AS, (most, most))
try:
    threading.Thread(target=print).start()
    sys.exit("a thread was given")
except RuntimeError:
    print(torch.equal(model.embed(notes, batch_tokens=200), expected))
"""


def with_huge_stacks():
    resource.setrlimit(resource.RLIMIT_STACK, (4 << 30, resource.getrlimit(resource.RLIMIT_STACK)[1]))


@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_STACK)[1] != resource.RLIM_INFINITY, reason="stacks are limited"
)
def test_batches_are_laid_out_in_the_thread_that_there_is(tiny_folder):
    command = [sys.executable, "-c", SCRIPT, str(tiny_folder)]
    environment = {"PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, preexec_fn=with_huge_stacks
    )
    assert done.stdout.split() == ["True"], done.stderr
