"""Looks at this machine: what is there, what is missing, what that disables and how to get it.

It also runs if much is missing: anything that cannot be imported, even PyTorch and our own extension, is
a finding, not a failure. Call it as ``notellm doctor`` or ``python -m notellm.app.doctor``.
"""

import argparse
import ctypes.util
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any, Literal

from notellm.app.extras import PURPOSES, Requirement, extras, requirements
from notellm.extension import BUILD, ExtensionError, torch_version
from notellm.io.cache import cache_folder
from notellm.machine import describe_machine, openmp_libraries

__all__ = ["Finding", "add_arguments", "examine", "main", "run"]

State = Literal["ok", "missing", "broken"]

LINE = 120  # characters
MARKS = {"ok": "ok      ", "missing": "missing ", "broken": "BROKEN  "}


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        name: What was checked.
        state: ``"ok"``; ``"missing"``: something optional is not there; ``"broken"``: something is wrong.
        value: What was found.
        disables: What does not work, or works worse; empty if all is well.
        remedy: How to get it; empty if all is well or nothing can be done.
    """

    name: str
    state: State
    value: str
    disables: str = ""
    remedy: str = ""


def examine() -> list[Finding]:
    """Checks everything, without changing anything.

    Returns:
        The findings, in reading order.
    """
    return [*_torch(), *_core(), *_machine(), *_packages(), *_sources(), *_caches()]


def _torch() -> Iterator[Finding]:
    try:
        version = torch_version()
    except ExtensionError as error:
        yield Finding("PyTorch", "broken", error.problem, "everything", error.remedy)
        return
    import torch

    build = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "for the CPU only"
    yield Finding("PyTorch", "ok", f"{version}, built {build}")
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        yield Finding("CUDA", "ok", ", ".join(names))
    else:
        yield _no_cuda(torch.version.cuda is not None)


def _no_cuda(is_built_for_it: bool) -> Finding:
    has_driver = ctypes.util.find_library("cuda") is not None or Path("/dev/nvidiactl").exists()
    if not has_driver:
        return Finding("CUDA", "missing", "no NVIDIA driver", "device=cuda", "a GPU and its driver")
    if not is_built_for_it:
        remedy = "install a CUDA build of the same torch version into .venv, then make clean setup"
        return Finding(
            "CUDA", "missing", "a driver, but PyTorch is built without CUDA", "device=cuda", remedy
        )
    return Finding("CUDA", "broken", "PyTorch cannot use the driver", "device=cuda", "a newer driver")


def _core() -> Iterator[Finding]:
    try:
        from notellm import _core
    except ExtensionError as error:
        yield Finding("notellm._core", "broken", error.problem, "everything", error.remedy)
        return
    yield Finding("notellm._core", "ok", f"{_core.__version__}, built with PyTorch {_core.__torch_version__}")
    if _core.has_faiss:
        yield Finding("FAISS", "ok", "built in")
    else:
        remedy = "apt-get install libfaiss-dev libopenblas-pthread-dev, then make clean setup"
        yield Finding(
            "FAISS", "missing", "not built in", "approximate neighbour indexes (exact search works)", remedy
        )
    yield _openmp(openmp_libraries())
    yield Finding("dtype=auto", "ok", ", ".join(_chosen_dtypes()))


def _chosen_dtypes() -> Iterator[str]:
    import torch

    from notellm.precision import resolve_dtype

    for device in ("cpu", *(["cuda"] if torch.cuda.is_available() else [])):
        yield f"{resolve_dtype(device=device)} with device={device}"


def _openmp(libraries: Sequence[str]) -> Finding:
    value = f"{len(libraries)} loaded: {', '.join(libraries) or 'none'}"
    if len(libraries) == 1:
        return Finding("OpenMP", "ok", value)
    if not libraries:
        return Finding("OpenMP", "broken", value, "more than one thread", "a PyTorch built with OpenMP")
    remedy = "find which package brings the second one, and import torch before it"
    return Finding("OpenMP", "broken", value, "speed: thread pools compete", remedy)


def _machine() -> Iterator[Finding]:
    machine = describe_machine()
    sets = machine["instruction_sets"]
    yield Finding("CPU", "ok", f"{machine['cpu']}, {machine['cores']} cores for us")
    yield Finding("instruction sets", "ok", ", ".join(sets) or "none known")
    if not any(name.endswith("bf16") for name in sets):
        slow = "the gain of dtype=bf16, which works at about fp32's speed; dtype=auto takes fp32"
        yield Finding("bf16 instructions", "missing", "not in this CPU", slow)
    yield Finding("threads", "ok", _thread_settings())
    yield _memory(machine["memory_gib"])


def _thread_settings() -> str:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    settings = [f"{name}={os.environ[name]}" for name in names if name in os.environ]
    with suppress(ExtensionError):
        from notellm._core.util import default_num_threads

        settings.insert(0, f"threads=0 means {default_num_threads()}")
    return ", ".join(settings)


def _memory(gib: float) -> Finding:
    if gib >= 6:
        return Finding("memory", "ok", f"{gib} GiB")
    return Finding(
        "memory", "missing", f"{gib} GiB", "training SmolLM2-135M (about 5 GiB)", "train.pairs_per_step=8"
    )


def _packages() -> Iterator[Finding]:
    try:
        needed = [asked for asked in requirements() if asked.name != "torch"]  # it has a line of its own
        by_extra = {name: requirements(name) for name in extras()}
    except PackageNotFoundError:
        disables = "nothing; but what its extras ask for is not known"
        yield Finding("packages", "missing", "notellm is imported without being installed", disables, BUILD)
        return
    except ImportError as error:
        yield Finding("packages", "broken", str(error), "the command line", "pip install hydra-core")
        return
    broken = " ".join(f"'{asked.text}'" for asked in needed if not asked.is_met)
    if broken:
        yield Finding("packages", "broken", _value(needed), "everything", f"pip install {broken}")
    else:
        yield Finding("packages", "ok", _value(needed))
    for name, asked in by_extra.items():
        yield _extra(name, asked)


def _extra(name: str, asked: Sequence[Requirement]) -> Finding:
    title = f"extra {name}"
    if all(one.is_met for one in asked):
        return Finding(title, "ok", _value(asked))
    disables = PURPOSES.get(name, f"what the extra {name} is for")
    return Finding(title, "missing", _value(asked), disables, f"pip install 'notellm[{name}]'")


def _value(asked: Sequence[Requirement]) -> str:
    there = ", ".join(f"{one.name} {one.version}" for one in asked if one.is_met)
    lacking = ", ".join(_lacking(one) for one in asked if not one.is_met)
    return "; has ".join(filter(None, [lacking and f"lacks {lacking}", there]))


def _lacking(one: Requirement) -> str:
    return one.text if one.version is None else f"{one.text} (not {one.version})"


def _sources() -> Iterator[Finding]:
    if shutil.which("apt-get"):
        yield Finding("apt", "ok", str(shutil.which("apt-get")))
    else:
        disables = "fetching the Debian catalogue (data=debian)"
        remedy = "bring your own notes: data=files data.notes=FILE data.interactions=FILE"
        yield Finding("apt", "missing", "not on this machine", disables, remedy)


def _caches() -> Iterator[Finding]:
    folder = cache_folder()
    kept = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    sizes = ", ".join(f"{path.name} {_megabytes(path)} MB" for path in kept if not path.name.startswith("."))
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(nearest, os.W_OK):
        yield Finding("cache", "broken", f"{folder} cannot be written", "fetching", "set XDG_CACHE_HOME")
        return
    free = shutil.disk_usage(nearest).free / 1e9
    yield Finding("cache", "ok", f"{folder}: {sizes or 'empty'}; {free:.0f} GB free")


def _megabytes(folder: Path) -> int:
    return round(sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``notellm doctor``."""
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Prints what `examine` finds.

    Returns:
        1 if anything is broken, otherwise 0.
    """
    findings = examine()
    if arguments.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        print("\n".join(_lines(findings)))
    return int(any(finding.state == "broken" for finding in findings))


def _lines(findings: Sequence[Finding]) -> Iterator[str]:
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        first = f"{MARKS[finding.state]}{finding.name:<{width}}  "
        yield from _wrapped(first, finding.value) or [first]
        if finding.disables:
            yield f"{' ' * len(first)}without it: {finding.disables}"
        if finding.remedy:
            yield f"{' ' * len(first)}to get it: {finding.remedy}"


def _wrapped(first: str, text: str) -> list[str]:
    wrapper = textwrap.TextWrapper(
        LINE, first, " " * len(first), break_long_words=False, break_on_hyphens=False
    )
    return wrapper.wrap(text)


def main(arguments: Sequence[str] | None = None) -> Any:
    """Runs ``python -m notellm.app.doctor``; returns the exit code."""
    parser = argparse.ArgumentParser(prog="notellm doctor", description="Looks at this machine.")
    add_arguments(parser)
    return run(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
