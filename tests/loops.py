"""The sets of hand-written loops, as parameters of tests: those that the processor lacks are left out."""

import pytest

SETS = [
    pytest.param(name, marks=pytest.mark.needs_set(name))
    for name in ("baseline", "avx2", "avx512", "avx512_bf16")
]
