"""What seeds do to a table's differences, estimated from all of them that a training is in.

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
from statistics import fmean

import numpy as np
from scipy.special import digamma, polygamma

from notellm.evaluation.resampling import Variance
from notellm.metrics.arrays import FloatArray

_FEWEST = 3
"""Comparisons of which a scatter can be told."""


@dataclass(frozen=True)
class Trainings:
    """The trainings behind a difference, by any names; none of a system that is not trained.

    Attributes:
        own: Those of the system, one for each seed.
        base: Those of the system it is compared with.
    """

    own: frozenset[str] = frozenset()
    base: frozenset[str] = frozenset()

    @property
    def are_any(self) -> bool:
        """Whether other seeds would change the difference by the luck of training."""
        return bool(self.own or self.base)

    @property
    def are_independent(self) -> bool:
        """Whether all of that luck is in it: in two readings of the same vectors most of it is in both."""
        return self.are_any and self.own != self.base


def moderated(
    variances: Sequence[Variance], trainings: Sequence[Trainings], luck: Luck | None = None
) -> list[Variance]:
    """The variances with their parts of seeds estimated together.

    All are taken to be alike in units of what their parts of seeds would be if seeds did nothing, metrics included.

    Args:
        variances: Of the differences that are compared at once.
        trainings: Behind each of them. A difference without any says nothing of how they differ; with one seed it takes
            nothing from the others, either.
        luck: What seeds do; by default what these differences say of it. Nothing is changed where they say nothing.
    """
    luck = luck or Luck.of(variances, trainings)
    if luck is None:
        return list(variances)
    return [luck.moderate(of, behind.are_any) for of, behind in zip(variances, trainings, strict=True)]


def several(trainings: Sequence[Trainings]) -> int:
    """How many systems were trained with several seeds: those that show other vectors of the same trainings are one."""
    return len({side for of in trainings for side in (of.own, of.base) if len(side) > 1})


@dataclass(frozen=True)
class Luck:
    """What differences of several seeds suggest for one of them, or for one of a single seed.

    Attributes:
        ratio: The part of seeds, in units of the part that it would be if seeds did nothing.
        freedom: How many degrees of freedom that is worth.
        share: Of one seed's variance by targets, the part that the next seed would not have again.
        seeds: How many degrees of freedom these differences have of their own seeds, in the mean.
        systems: How many systems they are of: so much is known of seeds at most, however many differences there are.
    """

    ratio: float
    freedom: float
    share: float
    seeds: float
    systems: int

    @classmethod
    def of(cls, variances: Sequence[Variance], trainings: Sequence[Trainings]) -> Luck | None:
        """From differences and the trainings behind them.

        None where fewer than two systems were trained with several seeds, or fewer than three differences tell of them.
        """
        systems, pairs = several(trainings), zip(variances, trainings, strict=True)
        telling = [
            of for of, behind in pairs if _has_seeds(of) and of.of_seeds > 0 and behind.are_independent
        ]
        if systems < 2 or len(telling) < _FEWEST:
            return None
        freedom = np.array([of.seeds - 1 for of in telling], dtype=np.float64)
        ratio, prior = _prior(np.array([of.of_seeds / of.of_both for of in telling]), freedom)
        share = fmean(_share(of) for of in telling)
        return cls(ratio, prior, share, float(freedom.mean()), systems)

    def moderate(self, of: Variance, is_trained: bool) -> Variance:
        """A variance with the part of seeds that these differences and its own seeds suggest."""
        if _has_seeds(of):
            return self._of_several(of)
        return self._of_one(of) if of.seeds == 1 and of.targets > 1 and is_trained else of

    def _of_several(self, of: Variance) -> Variance:
        own, ratio = of.seeds - 1.0, of.of_seeds / of.of_both
        share = 1.0 if np.isinf(self.freedom) else self.freedom / (self.freedom + own)
        together = share * self.ratio + (1 - share) * ratio
        freedom = min(self.freedom + own, self.systems * own)
        return replace(of, of_seeds=max(together, ratio) * of.of_both, seed_freedom=freedom)

    def _of_one(self, of: Variance) -> Variance:
        both = self.share * of.of_targets
        freedom = min(self.freedom, self.systems * self.seeds)
        return replace(of, of_seeds=self.ratio * both, of_both=both, seed_freedom=freedom)


def _has_seeds(of: Variance) -> bool:
    return of.seeds > 1 and of.targets > 1 and of.of_both > 0


def _share(of: Variance) -> float:
    """Of the variance by targets that one seed has, the part that is of this seed alone."""
    anew, again = of.of_both * of.seeds, max(of.of_targets - of.of_both, 0.0)
    return anew / (anew + again)


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
