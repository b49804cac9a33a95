"""What seeds do to a table's differences, estimated from all of its trained systems together.

Three seeds tell next to nothing of how much seeds differ: one system's may agree by chance. Systems that are trained
alike differ alike, though. So each comparison's part of the variance that is of seeds, in units of what it would be if
seeds did nothing, is drawn towards the others' (empirical Bayes; Smyth, 2004, for many small experiments at once): the
more, the less these scatter beyond what chance makes of few seeds. It is never taken for less than what its own seeds
show, since one system may differ more than the others do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.special import digamma, polygamma

from notellm.evaluation.resampling import Variance
from notellm.metrics.arrays import FloatArray

_FEWEST = 3
"""Comparisons of which a scatter can be told."""


def moderated(variances: Sequence[Variance], systems: int) -> list[Variance]:
    """The variances with their parts of seeds estimated together.

    Args:
        variances: Of the differences that are compared at once.
        systems: How many of the systems behind them were trained with several seeds, each for itself: so much is known
            of seeds at most, however many differences have the same systems. With less than 2, nothing is changed.
    """
    found = list(variances)
    known = [
        i
        for i, of in enumerate(found)
        if of.seeds > 1 and of.targets > 1 and min(of.of_both, of.of_seeds) > 0
    ]
    if systems < 2 or len(known) < _FEWEST:
        return found
    ratios = np.array([found[i].of_seeds / found[i].of_both for i in known])
    freedom = np.array([found[i].seeds - 1 for i in known], dtype=np.float64)
    scale, prior = _prior(ratios, freedom)
    for i, ratio, own in zip(known, ratios, freedom, strict=True):
        share = 1.0 if np.isinf(prior) else prior / (prior + own)
        together = share * scale + (1 - share) * ratio
        of_seeds = max(together, ratio) * found[i].of_both
        found[i] = replace(found[i], of_seeds=of_seeds, seed_freedom=float(min(prior + own, systems * own)))
    return found


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
