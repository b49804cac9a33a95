"""Stands in for `notellm._core.models.multiplies_bf16` until it is there."""

import os
from pathlib import Path

from notellm._core import models
from notellm._core.util import instruction_set


def cpu_multiplies_bf16() -> bool:
    """Whether the CPU multiplies bf16 natively, and nobody forbids it."""
    if hasattr(models, "multiplies_bf16"):
        return bool(models.multiplies_bf16())
    if instruction_set() != "avx512_bf16":
        return False
    if os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in (
        "SSE41",
        "AVX",
        "AVX2",
        "AVX512_CORE",
        "AVX512_CORE_VNNI",
    ):
        return False
    return "avx512_bf16" in Path("/proc/cpuinfo").read_text()
