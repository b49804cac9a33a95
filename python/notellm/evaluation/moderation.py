"""What seeds do to a table's differences, estimated from all of its trained systems together.

Three seeds tell next to nothing of how much seeds differ: one system's may agree by chance. Systems that are trained
alike differ alike, though. So each comparison's part of the variance that is of seeds, in units of what it would be if
seeds did nothing, is drawn towards the others' (empirical Bayes; Smyth, 2004, for many small experiments at once): the
more, the less these scatter beyond what chance makes of few seeds. It is never taken for less than what its own seeds
show, since one system may differ more than the others do. A system of a single seed shows nothing, but is as lucky as
the others are: it takes what they suggest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import digamma, polygamma

from notellm.evaluation.resampling import Variance
from notellm.metrics.arrays import FloatArray

_FEWEST = 3
"""Comparisons of which a scatter can be told."""


def moderated(
    variances: Sequence[Variance], systems: int, trained: Sequence[bool] | None = None
) -> list[Variance]:
    """The variances with their parts of seeds estimated together.

    Args:
        variances: Of the differences that are compared at once.
        systems: How many of the systems behind them were trained with several seeds, each for itself: so much is known
            of seeds at most, however many differences have the same systems. With less than 2, nothing is changed.
        trained: Whether a difference has a trained system, so that another seed changes it; by default all have. The
            others are left alone if they are of one seed.
    """
    if not seeds_tell(variances, systems):
        return list(variances)
    others = _Others.of(_telling(variances), systems)
    of_luck = [True] * len(variances) if trained is None else trained
    return [others.moderate(of, is_trained) for of, is_trained in zip(variances, of_luck, strict=True)]


def seeds_tell(variances: Sequence[Variance], systems: int) -> bool:
    """Whether there are enough differences of several seeds to say what seeds do to the others."""
    return systems > 1 and len(_telling(variances)) >= _FEWEST


def _telling(variances: Sequence[Variance]) -> list[Variance]:
    return [of for of in variances if of.seeds > 1 and of.targets > 1 and min(of.of_both, of.of_seeds) > 0]


@dataclass(frozen=True)
class _Others:
    """What differences of several seeds suggest for one of them, or for one of a single seed.

    Attributes:
        ratio: The part of seeds, in units of the part that it would be if seeds did nothing.
        freedom: How many degrees of freedom that is worth.
        most: As many degrees of freedom as the systems have seeds for.
        share: Of one seed's variance by targets, the part that the next seed would not have again.
        systems: How many there are.
    """

    ratio: float
    freedom: float
    most: float
    share: float
    systems: int

    @classmethod
    def of(cls, known: Sequence[Variance], systems: int) -> _Others:
        ratios = np.array([of.of_seeds / of.of_both for of in known])
        freedom = np.array([of.seeds - 1 for of in known], dtype=np.float64)
        ratio, prior = _prior(ratios, freedom)
        anew = np.array([of.of_both * of.seeds for of in known])
        again = np.array([max(of.of_targets - of.of_both, 0.0) for of in known])
        share = float((anew / (anew + again)).mean())
        return cls(ratio, prior, systems * float(freedom.mean()), share, systems)

    def moderate(self, of: Variance, is_trained: bool) -> Variance:
        if of.seeds > 1:
            return self._of_several(of) if _telling([of]) else of
        return self._of_one_seed(of) if is_trained and of.targets > 1 else of

    def _of_one_seed(self, of: Variance) -> Variance:
        both = self.share * of.of_targets
        freedom = min(self.freedom, self.most)
        return replace(of, of_seeds=self.ratio * both, of_both=both, seed_freedom=freedom)

    def _of_several(self, of: Variance) -> Variance:
        own, ratio = of.seeds - 1.0, of.of_seeds / of.of_both
        share = 1.0 if np.isinf(self.freedom) else self.freedom / (self.freedom + own)
        together = share * self.ratio + (1 - share) * ratio
        freedom = min(self.freedom + own, self.systems * own)
        return replace(of, of_seeds=max(together, ratio) * of.of_both, seed_freedom=freedom)


def _prior(ratios: FloatArray, freedom: FloatArray) -> tuple[float, float]:
    """The ratio that the others suggest, and how many degrees of freedom that is worth."""
    off = np.log(ratios) - digamma(freedom / 2) + np.log(freedom / 2)
    beyond_chance = float(off.var(ddof=1) - polygamma(1, freedom / 2).mean())
    if beyond_chance <= 0:
        return float(np.exp(off.mean())), float("inf")
    prior = 2 * _inverse_trigamma(beyond_chance)
    return float(np.exp(off.mean() + digamma(prior / 2) - np.log(prior / 2))), prior


def _inverse_trigamma(value: float) -> float:
    """The x whose trigamma is the value, by Newton's method on 1 / trigamma, which is convex."""
    x = 0.5 + 1 / value
    for _ in range(50):
        here = float(polygamma(1, x))
        step = here * (1 - here / value) / float(polygamma(2, x))
        x += step
        if -step < 1e-8 * x:
            break
    return x
