"""Bootstrap intervals: how much a mean could change with another sample of queries or notes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from notellm._core import metrics as _core
from notellm.metrics.arrays import FloatArray

RESAMPLES = 1000
"""The default number of resamples."""


class Interval(NamedTuple):
    """A mean with the ends of its bootstrap interval."""

    value: float
    low: float
    high: float

    def within(self, least: float, most: float) -> Interval:
        """The part of it where the mean can be.

        Example:
            >>> Interval(0.9, 0.5, 1.1).within(0, 1)
            Interval(value=0.9, low=0.5, high=1)
        """
        return Interval(*(min(max(one, least), most) for one in self))


def bootstrap_mean(
    values: npt.ArrayLike, *, samples: int = RESAMPLES, seed: int = 0, level: float = 0.95
) -> Interval:
    """Percentile bootstrap of a mean: how much it could change with another sample of queries.

    Args:
        values: Shape ``(n,)``, one finite number for each independent query or note.
        samples: Number of resamples.
        seed: The same seed gives the same interval on any machine and with any number of threads.
        level: Share of resampled means inside the interval.

    Raises:
        ValueError: If there is no value, they are a matrix, one is not finite, or an option is out of range.

    Example:
        >>> bootstrap_mean([0.0, 1.0, 1.0, 1.0], seed=1)
        Interval(value=0.75, low=0.25, high=1.0)
    """
    return Interval(*_core.bootstrap_mean(_floats(values), samples, seed, level))


def bootstrap_difference(
    a: npt.ArrayLike, b: npt.ArrayLike, *, samples: int = RESAMPLES, seed: int = 0, level: float = 0.95
) -> Interval:
    """Paired bootstrap of the mean of ``a - b``, two systems measured on the same queries.

    An interval that excludes 0 means that the difference is unlikely to come from the choice of queries.

    Args:
        a: Shape ``(n,)``, one system's values.
        b: Shape ``(n,)``, the other's, in the same order.
        samples: Resamples.
        seed: As in `bootstrap_mean`.
        level: Share of resampled means inside the interval.

    Raises:
        ValueError: If lengths differ, or as in `bootstrap_mean`.

    Example:
        >>> bootstrap_difference([1.0, 1.0, 0.0], [0.0, 0.0, 0.0])
        Interval(value=0.666..., low=0.0, high=1.0)
    """
    return Interval(*_core.bootstrap_difference(_floats(a), _floats(b), samples, seed, level))


def _floats(values: npt.ArrayLike) -> FloatArray:
    return np.asarray(values, dtype=np.float64)
