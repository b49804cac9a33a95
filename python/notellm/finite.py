"""Rows of numbers that are not finite."""

import torch
from torch import Tensor

_ROWS = 65_536
"""Rows that are checked at once: the check needs a byte for each number."""


def row_not_finite(vectors: Tensor) -> int | None:
    """The first row with a number that is not finite."""
    for first in range(0, len(vectors), _ROWS):
        is_finite = torch.isfinite(vectors[first : first + _ROWS]).all(1)
        if not bool(is_finite.all()):
            return first + int(is_finite.int().argmin())
    return None
