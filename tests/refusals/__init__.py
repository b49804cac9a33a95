"""Right calls of the core's functions, and values that are wrong in one way for each of their arguments."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

Case = tuple[Callable[..., Any], dict[str, Any], dict[str, list[Any]]]
"""A function, right arguments, and wrong values by argument."""

CASES: dict[str, Callable[[], Case]] = {}
"""By the function's name."""

BEYOND = 2**40


def case(make: Callable[[], Case]) -> Callable[[], Case]:
    """Adds what is named as a function of the core to the table."""
    CASES[make.__name__] = make
    return make


def floats(*sizes, dtype=torch.float32):
    return torch.linspace(-1, 1, int(np.prod(sizes))).reshape(sizes).to(dtype)


def wrong_tensors(x, *, any_float=False, any_width=False):
    """Tensors that differ from a right one in one thing: its dtype, its width, its dimensions, its device."""
    for dtype in (torch.int64, torch.int8, torch.bool, torch.complex64):
        if dtype != x.dtype:
            yield x.to(dtype)
    if not any_float:
        for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.float32):
            if dtype != x.dtype:
                yield x.to(dtype)
    if not any_width:
        yield torch.cat([x, x], -1)
        yield x[..., :-1]
    yield x.unsqueeze(0).unsqueeze(0)
    yield x.to("meta")
    yield x.to_sparse()
    yield None


def wrong_indices(x, size):
    """Index tensors wrong as tensors, or with one index outside [0, size)."""
    yield from wrong_tensors(x)
    for outside in (-1, -BEYOND, size, BEYOND, 2**62):
        changed = x.clone()
        changed[-1] = outside
        yield changed
