"""Student's distribution. scipy.stats has it, too, but takes a second to load, which every command would wait for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri, stdtr, stdtrit

from notellm.metrics.arrays import FloatArray

_NORMAL = 1e20
"""With more degrees of freedom, infinitely many among them, it is the normal distribution in fp64."""


def below(x: npt.ArrayLike, freedom: float) -> FloatArray:
    """The chance of a value of at most ``x``."""
    return np.asarray(stdtr(min(freedom, _NORMAL), x))


def above(x: npt.ArrayLike, freedom: float) -> FloatArray:
    """The chance of a value of at least ``x``."""
    return below(np.negative(x), freedom)


def quantile(chance: float, freedom: float) -> float:
    """The value that is not exceeded with this chance."""
    return float(stdtrit(min(freedom, _NORMAL), chance))


def widening(chance: float, freedom: float) -> float:
    """How much farther from 0 its quantile is than that of the normal distribution."""
    return float(quantile(chance, freedom) / ndtri(chance))
