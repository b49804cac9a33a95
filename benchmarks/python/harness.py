"""What every benchmark needs: timing in turns, peak memory, and which number type products are computed in."""

import argparse
import os
import statistics
from collections.abc import Callable, Mapping, Sequence

import torch
from devices import seconds_of

from notellm import _core
from notellm.precision import AUTO

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

Rounds = dict[str, list[float]]
"""Seconds of each round, by who took them; round ``i`` of one stands beside round ``i`` of the others."""


def add_dtype(parser: argparse.ArgumentParser) -> None:
    """Adds ``--dtype``: by default what the machine multiplies natively."""
    parser.add_argument("--dtype", choices=[AUTO, *DTYPES], default=AUTO)


def time_in_turns(
    calls: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    is_warm: bool = False,
    repeats: int = 1,
    device: torch.device | str = "cpu",
) -> Rounds:
    """Seconds of each call in each round; a round has every call once, so that all meet the same machine.

    The allocator keeps freed memory meanwhile, for everyone: we have it so anyway, and baselines gain by it too.

    Args:
        calls: Who is timed, by name.
        rounds: How many.
        is_warm: Else each is called once before; it may be, with less of the same.
        repeats: Calls at a time, of which the mean is kept: for those that take microseconds.
        device: That they compute on: a GPU is idle before and after each.
    """
    _for_everyone = _core.util.KeepsFreedMemory()
    return time_plainly(calls, rounds, is_warm=is_warm, repeats=repeats, device=device)


def time_plainly(
    calls: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    is_warm: bool = False,
    repeats: int = 1,
    device: torch.device | str = "cpu",
) -> Rounds:
    """`time_in_turns` with the allocator as it is."""
    seconds: Rounds = {name: [] for name in calls}
    for call in calls.values() if not is_warm else []:
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            seconds[name].append(seconds_of(call, repeats, device))
    return {name: [float(f"{one:.4g}") for one in own] for name, own in seconds.items()}


def medians(rounds: Rounds) -> dict[str, float]:
    """The median of each one's rounds."""
    return {name: float(f"{statistics.median(own):.4g}") for name, own in rounds.items()}


def fastest(
    call: Callable[[int], object], sizes: Sequence[int], *, device: torch.device | str = "cpu"
) -> int:
    """The size of a batch, or of a block, with the shortest time, the first call aside."""
    seconds = {}
    call(sizes[0])
    for size in sizes if len(sizes) > 1 else []:
        seconds[size] = seconds_of(lambda size=size: call(size), 1, device)
    return min(seconds, key=seconds.__getitem__, default=sizes[0])


def peak_mib(calls: Mapping[str, Callable[[], object]]) -> dict[str, int]:
    """Peak memory each call adds, in MiB, measured in forked children.

    Call it before anything has started OpenMP threads here: a child of such a process would wait for them.
    """
    idle = _child_peak(lambda: None)
    return {name: round(_child_peak(call) - idle) for name, call in calls.items()}


def _child_peak(call: Callable[[], object]) -> float:
    child = os.fork()
    if child == 0:
        call()
        os._exit(0)
    _, status, usage = os.wait4(child, 0)
    if status != 0:
        raise RuntimeError(f"peak_mib: the child must end with status 0, but ended with {status}")
    return usage.ru_maxrss / 1024  # Linux counts KiB
