"""What every benchmark needs: fair timing, peak memory, and a record of where the numbers come from."""

import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy
import scipy
import torch

import notellm

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def median_seconds(
    calls: Mapping[str, Callable[[], object]], rounds: int, *, is_warm: bool = False
) -> dict[str, float]:
    """Median seconds of each call; rounds alternate between the calls, so that all meet the same machine.

    Each is called once before, unless the caller has done so with less of the same.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values() if not is_warm else []:
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - begin)
    return {name: round(statistics.median(seconds), 4) for name, seconds in times.items()}


def fastest(call: Callable[[int], object], sizes: Sequence[int]) -> int:
    """The batch size with the shortest time, the first call aside."""
    seconds = {}
    call(sizes[0])
    for size in sizes:
        begin = time.perf_counter()
        call(size)
        seconds[size] = time.perf_counter() - begin
    return min(seconds, key=seconds.__getitem__)


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


def memory_mib(name: str) -> float:
    """This process's ``VmRSS`` (resident now) or ``VmHWM`` (at most, since the last ``forget_peak``), in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def forget_peak() -> None:
    """Lets ``VmHWM`` begin anew at what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")


def report(numbers: Mapping[str, Any], output: Path | None) -> None:
    """Prints one JSON line, and writes it with the machine, commit, command and versions to ``output``."""
    result = {**numbers, **_origin()}
    print(json.dumps(result))
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(result, indent=1) + "\n")


def _origin() -> dict[str, Any]:
    return {
        "machine": {
            "cpu": _cpu(),
            "instruction_set": notellm.instruction_set(),
            "cores": os.cpu_count(),
            "system": platform.platform(),
            "load_average": os.getloadavg()[0],  # above the cores: others were at work too
        },
        "commit": _commit(),
        "command": shlex.join(["python", *sys.argv]),
        "versions": {
            "notellm": notellm.__version__,
            "torch": torch.__version__,
            "numpy": numpy.__version__,
            "scipy": scipy.__version__,
            "python": platform.python_version(),
            **_versions("transformers", "sentence-transformers", "peft"),
        },
    }


def _versions(*packages: str) -> dict[str, str]:
    """Of those that are here: baselines come from them."""
    versions = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str:
    git = ["git", "-C", str(Path(__file__).parent)]
    commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True)
    return commit.stdout.strip() + ("+changes" if changed.stdout.strip() else "")
