"""Functions in processes of their own: several that talk through gloo, and verbs that are killed."""

import os
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import multiprocessing


def run_in_processes(count: int, folder: Path, function: Callable[..., None], *arguments: object) -> None:
    """Calls ``function(*arguments)`` in each of ``count`` fresh processes of one group, one thread each.

    Spawned, not forked: a child forked after OpenMP has started waits for threads that are not there. The function must
    be importable, so it lives in a module beside this one.
    """
    store = folder / f"store-{os.urandom(4).hex()}"
    multiprocessing.spawn(_child, (count, str(store), function, arguments), nprocs=count)


def _child(rank: int, count: int, store: str, function: Callable[..., None], arguments: tuple) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=count, timeout=timedelta(seconds=60)
    )
    function(*arguments)
    dist.barrier()  # a partner that leaves early pulls the connection from under the others
    dist.destroy_process_group()
    os._exit(
        0
    )  # under load, threads of gloo were seen to outlive the group and abort the interpreter's teardown


def call_verb(arguments: Sequence[str], folder: Path, said: Path) -> None:
    """A call of the command line as a process of its own; what it says goes into a file.

    A process that a fork server forks has the imports, which last the longest, behind it.
    """
    os.chdir(folder)
    descriptor = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    from notellm.app.cli import main

    sys.exit(main(list(arguments)))
