"""How surely a mean is not what chance makes of it, where two parts of its variance are each known from a few draws.

The variance of a mean is estimated from seeds, of which there are often three, and from targets. If both parts were
known, the mean would be normal; with estimates in their place it is a sum of two scaled variables of Student's
distribution, one for each part (Behrens and Fisher; tests that use it are wrong no more often than they say, whatever
the ratio of the parts). Few seeds then weigh as much as their part of the variance does, also far out in the tails that
a correction for many comparisons looks at.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from notellm.evaluation import student
from notellm.evaluation.resampling import Variance
from notellm.metrics.arrays import FloatArray

_GRID = np.sinh(np.linspace(-16, 16, 1201))
"""Places of the first variable: dense near 0, and far enough out for any tail."""


def upper_tail(distance: float, variance: Variance) -> float:
    """The chance that a mean of this variance is above its truth by ``distance`` or more.

    Args:
        distance: In the mean's unit; may be negative.
        variance: Of the mean, from at least two targets.
    """
    of_seeds = variance.of_seeds if variance.seed_freedom > 0 else 0.0
    parts = np.sqrt([of_seeds, max(variance.total - of_seeds, 0.0)])
    if not parts.any():
        return float(0.5 if distance == 0 else distance < 0)
    if not parts.all():
        alone = parts.argmax()
        freedom = variance.seed_freedom if alone == 0 else variance.targets - 1
        return float(student.above(distance / parts[alone], freedom))
    rest = student.above((distance - parts[0] * _GRID) / parts[1], variance.targets - 1)
    return min(1.0, float(_weights(variance.seed_freedom) @ rest))  # the sum may be rounded to above 1


def critical(chance: float, variance: Variance) -> float:
    """The distance that a mean of this variance exceeds with this chance, below a half."""
    from scipy.optimize import brentq

    spread = np.sqrt(variance.total)
    if spread == 0:
        return 0.0
    high = spread
    while upper_tail(high, variance) > chance:
        high *= 2
    return float(brentq(lambda at: upper_tail(at, variance) - chance, 0, high, rtol=1e-6))


@lru_cache(maxsize=64)
def _weights(freedom: float) -> FloatArray:
    """The chance of the interval around each place of the grid."""
    between = (_GRID[1:] + _GRID[:-1]) / 2
    below = np.concatenate([[0.0], student.below(between, freedom), [1.0]])
    above = np.concatenate([[1.0], student.above(between, freedom), [0.0]])
    # far out on the right the differences of what is above are exact, and those of what is below are rounding
    return np.asarray(np.where(_GRID > 0, above[:-1] - above[1:], below[1:] - below[:-1]))
