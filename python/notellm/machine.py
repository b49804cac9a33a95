"""Describes this machine and its software, for the records of a run and for ``notellm doctor``."""

import importlib.metadata
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from notellm.extension import ExtensionError, torch_version

__all__ = ["describe_machine", "machine_name", "openmp_libraries", "version_of", "versions"]

INSTRUCTION_SETS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_bf16": "AVX-512 bf16",
    "amx_bf16": "AMX bf16",
    "asimd": "NEON",
    "bf16": "NEON bf16",
    "sve": "SVE",
}
"""Flags of /proc/cpuinfo that decide how fast matrix products are, and their names."""

RECORDED = ("notellm", "torch", "numpy", "scipy", "pyarrow", "tokenizers", "safetensors", "hydra-core")


def describe_machine(device: str = "cpu") -> dict[str, Any]:
    """The machine as a run records it.

    Args:
        device: The device of the run, ``"cpu"`` or ``"cuda"``.

    Returns:
        ``cpu`` (model), ``instruction_sets``, ``cores`` (usable by this process), ``memory_gib``
        (of the machine, or of the container if less) and ``device``, with a GPU's name.
    """
    cpuinfo = _read("/proc/cpuinfo")
    return {
        "cpu": _field(cpuinfo, "model name") or platform.processor() or platform.machine(),
        "instruction_sets": _instruction_sets(cpuinfo),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(_memory_bytes() / 2**30, 1),
        "device": _device_name(device),
    }


def machine_name(machine: Mapping[str, Any]) -> str:
    """A machine in a few words, such as ``AMD EPYC, 2 cores, AVX-512 bf16``.

    Args:
        machine: From `describe_machine`.
    """
    newest = machine["instruction_sets"][-1:]
    gpu = [] if machine["device"] == "cpu" else [machine["device"]]
    return ", ".join([machine["cpu"], f"{machine['cores']} cores", *newest, *gpu])


def versions() -> dict[str, str]:
    """Versions of Python, of this package (with its commit, in a checkout) and of packages that results depend on.

    Packages that are not installed are left out.
    """
    found = {name: version_of(name) for name in RECORDED} | {"commit": _commit()}
    return {"python": platform.python_version()} | {name: text for name, text in found.items() if text}


def _commit() -> str | None:
    """The commit of the checkout that contains this file, followed by ``+`` if tracked files are changed."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        tracked = subprocess.run([*git, "ls-files", "--error-unmatch", __file__], capture_output=True)
        if tracked.returncode:  # installed: the folder may be inside another repository
            return None
        name = subprocess.run([*git, "describe", "--always", "--dirty=+"], capture_output=True, text=True)
    except OSError:  # no git
        return None
    return name.stdout.strip() or None


def version_of(package: str) -> str | None:
    """The version of an installed package, or None; only torch is imported.

    Example:
        >>> version_of("no-such-package") is None
        True
    """
    if package == "torch":
        try:
            return torch_version()  # it knows its build (+cpu, +cu130), which the package's metadata may not
        except ExtensionError:
            return None
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def openmp_libraries() -> list[str]:
    """The OpenMP runtimes loaded into this process; more than one means competing thread pools."""
    maps = _read("/proc/self/maps")
    return sorted(set(re.findall(r"/\S*/lib(?:gomp|omp|iomp5)[^/\s]*\.so\S*", maps)))


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _field(cpuinfo: str, name: str) -> str:
    match = re.search(rf"^{name}\s*:\s*(.+)$", cpuinfo, re.M)
    return match[1].strip() if match else ""


def _instruction_sets(cpuinfo: str) -> list[str]:
    flags = (_field(cpuinfo, "flags") or _field(cpuinfo, "Features")).split()
    return [name for flag, name in INSTRUCTION_SETS.items() if flag in flags]


def _memory_bytes() -> int:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _read("/sys/fs/cgroup/memory.max").strip()
    return min(physical, int(limit)) if limit.isdecimal() else physical


def _device_name(device: str) -> str:
    if device != "cuda":
        return device
    import torch

    return f"cuda ({torch.cuda.get_device_name()})" if torch.cuda.is_available() else "cuda (not available)"
