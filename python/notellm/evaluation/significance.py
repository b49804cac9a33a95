"""Which of two systems is better, and whether the queries and seeds at hand can tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy import stats

from notellm.evaluation.resampling import LEVEL, Resampled, Variance
from notellm.metrics.bootstrap import Interval

ALPHA = 1 - LEVEL
POWER = 0.8
"""The chance with which an effect that "could have been seen" would have been."""

MARGIN = 0.005
"""Half a percentage point: a smaller difference does not matter."""


class Verdict(StrEnum):
    """What a comparison comes to."""

    HIGHER = "higher"
    LOWER = "lower"
    EQUIVALENT = "equivalent"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Comparison:
    """One system minus another, in the metric's unit.

    Attributes:
        difference: With its 95 % interval, which no other comparison changes.
        p: Chance of a difference at least as large, if there is none; corrected for the other comparisons by Holm.
        p_apart: Chance of a difference so near to 0, if the true one is outside of the margin (the larger of two
            one-sided tests); corrected likewise.
        smallest: The smallest true difference that had a chance of 80 % to be called higher or lower.
        verdict: In one word.
    """

    difference: Interval
    p: float
    p_apart: float
    smallest: float
    verdict: Verdict


def compare(
    resampled: Sequence[Resampled], *, margin: float = MARGIN, alpha: float = ALPHA
) -> list[Comparison]:
    """Compares systems with another one: all comparisons of a table at once, since each one more is a chance to err.

    Differences within the margin are called equivalent even if they surely are not 0.

    Args:
        resampled: The differences of each comparison, from `notellm.evaluation.resample`.
        margin: The largest difference that does not matter, in the metric's unit.
        alpha: The chance that any verdict of the table is wrong: of all claims of a difference together, and of all
            claims of equivalence together.

    Raises:
        ValueError: If the margin or alpha is not above 0.

    Example:
        >>> from notellm.evaluation.resampling import resample
        >>> random = np.random.default_rng(0)
        >>> found = [random.normal(mean, 0.05, 400) for mean in (0.03, 0.0, -0.002)]
        >>> [one.verdict.value for one in compare([resample(of, np.arange(400)) for of in found], margin=0.01)]
        ['higher', 'equivalent', 'equivalent']
    """
    if not margin > 0 or not 0 < alpha < 1:
        raise ValueError(
            f"compare: margin must be above 0 and alpha in (0, 1), but are {margin:g} and {alpha:g}"
        )
    apart, near = holm([_p(of) for of in resampled]), holm([_p_apart(of, margin) for of in resampled])
    return [
        Comparison(
            difference=of.interval,
            p=p,
            p_apart=p_apart,
            smallest=smallest_seen(of.variance, comparisons=len(resampled), alpha=alpha),
            verdict=_verdict(of.mean, p <= alpha, p_apart <= alpha),
        )
        for of, p, p_apart in zip(resampled, apart, near, strict=True)
    ]


def holm(p: npt.ArrayLike) -> list[float]:
    """Holm's correction: the smallest of ``m`` chances is multiplied by ``m``, the next one by ``m - 1``, and so on.

    A corrected one is never below that of a smaller one.

    Args:
        p: Shape ``(m,)``, in 0..1.

    Raises:
        ValueError: If one is outside of 0..1.

    Example:
        >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03, 0.005])]
        [0.03, 0.06, 0.06, 0.02]
    """
    own = np.asarray(p, dtype=np.float64)
    if not ((own >= 0) & (own <= 1)).all():
        raise ValueError(f"holm: p must be in 0..1, but is {own.tolist()}")
    order = np.argsort(own, kind="stable")
    raised = np.maximum.accumulate(own[order] * np.arange(len(own), 0, -1))
    found = np.empty_like(own)
    found[order] = np.minimum(raised, 1)
    return [float(one) for one in found]


def smallest_seen(
    variance: Variance, *, comparisons: int = 1, alpha: float = ALPHA, power: float = POWER
) -> float:
    """The smallest true difference that is found with a chance of ``power``, whichever way it goes.

    Args:
        variance: Of the mean difference.
        comparisons: How many are made at once: the first step of Holm's correction, the strictest.
        alpha: Level of the test.
        power: The chance.

    Returns:
        In the mean's unit; infinite if there is one target, of which nothing follows.
    """
    if variance.targets < 2:
        return float("inf")
    freedom = variance.freedom
    quantiles = stats.t.ppf(1 - alpha / 2 / max(comparisons, 1), freedom) + stats.t.ppf(power, freedom)
    return float(quantiles * np.sqrt(variance.total))


def _p(of: Resampled) -> float:
    """Two-sided, of no difference: how often draws are as far from the mean as 0 is; one target alone says nothing."""
    if of.variance.targets < 2:
        return 1.0
    return _share(np.abs(of.draws - of.mean) >= abs(of.mean))


def _p_apart(of: Resampled, margin: float) -> float:
    if of.variance.targets < 2:
        return 1.0
    off = of.draws - of.mean
    return max(_share(off <= of.mean - margin), _share(off >= of.mean + margin))


def _share(are: npt.NDArray[np.bool_]) -> float:
    return float((1 + are.sum()) / (1 + len(are)))


def _verdict(mean: float, is_apart: bool, is_near: bool) -> Verdict:
    if is_near:
        return Verdict.EQUIVALENT
    if not is_apart:
        return Verdict.UNDECIDED
    return Verdict.HIGHER if mean > 0 else Verdict.LOWER
