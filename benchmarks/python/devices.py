"""Time and memory of a call on a device: on a GPU by its own clock and allocator, on the CPU by the process's."""

import ctypes
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

Call = Callable[[], object]


def is_gpu(device: torch.device | str) -> bool:
    """Whether work on a device goes on while the host does something else."""
    return torch.device(device).type == "cuda"


def wait(device: torch.device | str) -> None:
    """Returns when the device has nothing left to do."""
    if is_gpu(device):
        torch.cuda.synchronize(device)


def seconds_of(call: Call, repeats: int, device: torch.device | str) -> float:
    """Mean seconds of a call, from an idle device to an idle device."""
    wait(device)
    if is_gpu(device):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(repeats):
            call()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1000 / repeats
    started = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - started) / repeats


def peaks_mib(calls: Mapping[str, Call], device: torch.device | str) -> dict[str, dict[str, int]]:
    """Each call's peak memory: ``peak`` in all, and how much of it is ``above`` what stays between calls.

    On a GPU what torch has allocated; on the CPU what is resident, which counts freed memory that the allocator keeps.
    Call each once before.
    """
    found = {}
    for name, call in calls.items():
        before = _resident(device)
        call()
        wait(device)
        peak = torch.cuda.max_memory_allocated(device) / 2**20 if is_gpu(device) else memory_mib("VmHWM")
        found[name] = {"peak": round(peak), "above": round(peak - before)}
    return found


def _resident(device: torch.device | str) -> float:
    """MiB in use now, from where the next peak is counted."""
    if is_gpu(device):
        wait(device)
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device) / 2**20
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    forget_peak()
    return memory_mib("VmRSS")


def memory_mib(name: str) -> float:
    """This process's ``VmRSS`` (resident now) or ``VmHWM`` (at most, since the last ``forget_peak``), in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def forget_peak() -> None:
    """Lets ``VmHWM`` begin anew at what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")
