"""Which of two systems is better, and whether the queries and seeds at hand can tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from notellm.evaluation import student
from notellm.evaluation.moderation import Luck, Trainings, moderated
from notellm.evaluation.resampling import LEVEL, Resampled, Variance
from notellm.evaluation.tails import critical, upper_tail
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
        difference: With its 95 % interval, as far as systems can differ. It is for this comparison alone; what seeds do
            is estimated as for the verdict, of all comparisons.
        p: Chance of a difference at least as large, if there is none; corrected for the other comparisons by Holm.
        p_apart: Chance of a difference so near to 0, if the true one is outside of the margin (the larger of two
            one-sided tests); corrected likewise.
        smallest: The smallest true difference that had a chance of 80 % to be called higher or lower; infinite if that
            is more than systems can differ.
        verdict: In one word.
    """

    difference: Interval
    p: float
    p_apart: float
    smallest: float
    verdict: Verdict


def compare(
    resampled: Sequence[Resampled],
    *,
    margin: float = MARGIN,
    alpha: float = ALPHA,
    unit: float = 1.0,
    trainings: Sequence[Trainings] | None = None,
    luck: Luck | None = None,
) -> list[Comparison]:
    """Compares systems with another one: all comparisons of a table at once, since each one more is a chance to err.

    Differences within the margin are called equivalent even if they surely are not 0.

    Args:
        resampled: The differences of each comparison, from `notellm.evaluation.resample`.
        margin: The largest difference that does not matter, in the metric's unit.
        alpha: The chance that any verdict of the table is wrong: of all claims of a difference together, and of all
            claims of equivalence together.
        unit: The most by which two systems can differ at a query, in the metric's unit.
        trainings: Those behind each comparison: what seeds do is then estimated from all of them together, see
            `notellm.evaluation.moderation`. By default each comparison's seeds speak for themselves alone, which with
            few of them is hardly anything, and of one nothing.
        luck: What seeds do, told by other comparisons of these trainings: so each difference of two systems has one
            interval, whichever of them the others are compared with. By default told by these.

    Raises:
        ValueError: If the margin or alpha is not above 0, or there is luck, but no trainings.

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
    if luck is not None and trainings is None:
        raise ValueError("compare: trainings must be given with luck, which is theirs, but are not")
    variances = [of.variance for of in resampled]
    if trainings is not None:
        variances = moderated(variances, trainings, luck)
    own = [of.with_variance(variance) for of, variance in zip(resampled, variances, strict=True)]
    apart = holm([chance_of_none(of) for of in own])
    near = holm([_chance_of_more(of, margin, unit) for of in own])
    return [
        Comparison(
            difference=of.interval.within(-unit, unit),
            p=p,
            p_apart=p_apart,
            smallest=_possible(smallest_seen(of.variance, comparisons=len(resampled), alpha=alpha), unit),
            verdict=_verdict(of.mean, p <= alpha, p_apart <= alpha),
        )
        for of, p, p_apart in zip(own, apart, near, strict=True)
    ]


def _possible(difference: float, unit: float) -> float:
    return difference if difference <= unit else float("inf")


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
        In the mean's unit; infinite if there is one target, or no target differs: of either nothing follows.
    """
    if variance.targets < 2 or variance.total == 0:
        return float("inf")
    seen = critical(alpha / 2 / max(comparisons, 1), variance)
    return float(seen + student.quantile(power, variance.freedom) * np.sqrt(variance.total))


def chance_of_none(of: Resampled) -> float:
    """The chance of a mean as far from 0 or farther, on either side, if the true one is 0 (p, not corrected).

    One target alone says nothing. Where all targets agree nothing is known of the variance, but that their signs agree
    by chance is as rare as it is for a coin.
    """
    targets = of.variance.targets
    if targets < 2 or of.mean == 0:
        return 1.0
    return min(1.0, max(2 * upper_tail(abs(of.mean), of.variance), 2.0 ** (1 - min(targets, 1000))))


def _chance_of_more(of: Resampled, margin: float, unit: float) -> float:
    """The chance of a mean so near to 0, if the true one is outside of the margin; one target alone says nothing.

    Where no target differs, a share of them may differ by a unit: that none of those drawn does is as rare as that.
    """
    inside = margin - abs(of.mean)
    if of.variance.targets < 2:
        return 1.0
    if of.variance.total == 0 and inside > 0:
        return float((1 - min(inside / unit, 1.0)) ** of.variance.targets)
    return upper_tail(inside, of.variance)


def _verdict(mean: float, is_apart: bool, is_near: bool) -> Verdict:
    if is_near:
        return Verdict.EQUIVALENT
    if not is_apart:
        return Verdict.UNDECIDED
    return Verdict.HIGHER if mean > 0 else Verdict.LOWER
