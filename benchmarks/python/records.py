"""A record: what a benchmark measured, and all that says whether to believe it.

A record holds the machine, the instruction set in use, every library's version, the commit and the command, and how
much of the processors others had meanwhile. One made beside other work says ``"quiet": false``; no table shows it.
"""

import argparse
import json
import os
import platform
import resource
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

import notellm
from notellm import older_cpu
from notellm.machine import describe_machine, version_of, versions

RESULTS = Path(__file__).parents[1] / "results"
LIMITS = list(older_cpu.environment("avx2"))
"""The variables that make a newer processor behave like an older one, for us and for every baseline."""

BASELINES = ["transformers", "sentence-transformers", "peft", "openvino", "nncf", "ctranslate2", "implicit"]
OTHERS_AT_MOST = 0.03
"""Share of the cores that others may have had in a quiet record: what a system's daemons take."""


class Run:
    """One call of a benchmark.

    Attributes:
        options: The parsed command line.
    """

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--output", type=Path, help="a file, or a folder: the record then gets its name")
        self.options = parser.parse_args()
        check_limits(os.environ, describe_machine()["instruction_sets"])
        if imitated := older_cpu.played(os.environ):
            os.environ |= older_cpu.environment(imitated)  # CTranslate2 is not loaded yet
        self._others = OtherWork()

    def report(self, name: str, numbers: Mapping[str, Any]) -> None:
        """Prints one JSON line; writes it to ``--output``, or as ``NAME.INSTRUCTION_SET.json`` into that folder."""
        device = getattr(self.options, "device", "cpu")
        record = {"benchmark": name, **numbers, **self._others.numbers(), **origin(device)}
        print(json.dumps(record))
        output = self.options.output
        if output is None:
            return
        if output.suffix != ".json":
            output = output / record_name(name, notellm.instruction_set())
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(record, indent=1) + "\n")


def record_name(name: str, instruction_set: str) -> str:
    """Such as ``embedding_fp32.avx2.json``."""
    return f"{name}.{instruction_set}.json"


def check_limits(environment: Mapping[str, str], instruction_sets: list[str]) -> None:
    """A newer processor behaves like an older one for everyone or for no one: no baseline may have more than we have.

    Raises:
        ValueError: Some of the variables are set, others not, or not as of the same processor.
    """
    found = {name: environment[name] for name in LIMITS if environment.get(name)}
    if "AVX-512" in instruction_sets and found and not older_cpu.played(environment):
        raise ValueError(
            f"check_limits: all of {', '.join(LIMITS)} must be those of one processor, but are {found}; "
            "try python -m notellm.older_cpu avx2 COMMAND"
        )


class OtherWork:
    """How much of the processors others have, from here on; what the host took away (steal) is theirs, too."""

    def __init__(
        self,
        busy_seconds: Callable[[], float] | None = None,
        own_seconds: Callable[[], float] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._busy, self._own, self._clock = busy_seconds or _busy_seconds, own_seconds or _own_seconds, clock
        self._load = os.getloadavg()[0]
        self._begin = self._now()

    def _now(self) -> tuple[float, float, float]:
        return self._busy(), self._own(), self._clock()

    def numbers(self) -> dict[str, Any]:
        """``quiet``, decided by what others had; the load before counts our own last minutes, so it decides nothing."""
        busy, own, wall = (now - then for now, then in zip(self._now(), self._begin, strict=True))
        share = max(0.0, busy - own) / (max(wall, 0.01) * (os.cpu_count() or 1))
        others = {
            "share_of_cores": round(share, 4),
            "load_average_before": round(self._load, 2),
            "during_seconds": round(wall, 1),
        }
        return {"quiet": share <= OTHERS_AT_MOST, "others": others}


def _busy_seconds() -> float:
    """Of all cores since the machine started: neither idle nor waiting for a disk."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _waiting, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    """Of this process and all below it: those that it has waited for, and those that live, as torch's compilers do."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    waited_for = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    return waited_for + sum(_seconds_of_living(os.getpid()))


def _seconds_of_living(root: int) -> Iterator[float]:
    """Of each process below another, with those that it has waited for."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            # behind the name, which may hold anything: state, parent, ..., the four times at 14 to 17
            fields = path.read_text().rpartition(")")[2].split()
            ticks = sum(map(int, fields[11:15]))
            found[int(path.parent.name)] = int(fields[1]), ticks / os.sysconf("SC_CLK_TCK")
    below = {root}
    while grown := {pid for pid, (parent, _) in found.items() if parent in below} - below:
        below |= grown
    yield from (found[pid][1] for pid in below - {root} if pid in found)


def command_line(arguments: Iterable[str]) -> str:
    """A call as it would be made in the repository: where that lies is of this machine alone, as are other folders.

    Example:
        >>> command_line([f"{RESULTS.parents[1]}/benchmarks/python/bench_gcl.py", "--table", "/home/me/n.parquet"])
        'python benchmarks/python/bench_gcl.py --table n.parquet'
    """
    root = RESULTS.resolve().parents[1]
    paths = [Path(argument) for argument in arguments]
    own = [
        str(
            path
            if not path.is_absolute()
            else path.relative_to(root)
            if path.is_relative_to(root)
            else path.name
        )
        for path in paths
    ]
    return shlex.join(["python", *own])


def origin(device: str = "cpu") -> dict[str, Any]:
    """Where numbers come from."""
    found = versions()
    return {
        "machine": describe_machine(device)
        | {
            "instruction_set": notellm.instruction_set(),
            "torch_instruction_set": torch.backends.cpu.get_cpu_capability(),
            "limits": {name: os.environ[name] for name in LIMITS if name in os.environ},
            "threads": torch.get_num_threads(),
            "system": platform.platform(),
        },
        "commit": found.pop("commit", None),
        "command": command_line(sys.argv),
        "versions": found | {name: text for name in BASELINES if (text := version_of(name))},
    }
