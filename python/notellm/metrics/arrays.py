"""Shared by the metrics: array types, and choices by name."""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
T = TypeVar("T")


def named(choices: Mapping[str, T], name: str, where: str) -> T:
    """The choice with this name, or a ``ValueError`` that lists all names."""
    if name not in choices:
        raise ValueError(f"{where} must be one of {', '.join(choices)}, but is {name!r}")
    return choices[name]
