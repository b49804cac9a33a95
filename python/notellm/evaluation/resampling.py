"""Means over queries that share targets, or that several seeds have answered, resampled as such.

Queries of one target succeed or fail together, and so do all queries of one trained model. So whole targets, and whole
seeds, are drawn with replacement, independently, and a value counts as often as its target times its seed was drawn
(the pigeonhole bootstrap; Owen, 2007). Draws give the shape of an interval. Its width is that of the variance clustered
both ways, at Student's quantile: with three seeds an interval must be wider than three draws of them would make it.
(In simulations, intervals of two or three seeds contain the truth in 91 to 92 % of cases, of more in 93 to 95 %. Where
`notellm.evaluation.compare` takes what seeds do from several systems together, they do so in 94 to 97 % of cases, and
those of a system whose seeds differ ten times as much as the others' in 91 %. Those of a system of one seed then do so
in 88 to 99 %, and alone in 11 to 90 %.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from notellm.evaluation import student
from notellm.metrics.arrays import FloatArray
from notellm.metrics.bootstrap import RESAMPLES, Interval

Weights = npt.NDArray[np.int16]

BLOCK = 250
"""Resamples computed at a time."""

FEW, MANY = 10_000, 100_000
"""Up to so many targets, the draws of 32 blocks, or of the four of one evaluation, are kept: 5 and 50 MB a block."""

LEVEL = 0.95
"""Of intervals."""


@dataclass(frozen=True)
class Variance:
    """The variance of a mean, by what it comes from.

    Attributes:
        of_seeds: The part of ``seeds`` trained models; 0 if there is one, unless others tell of its luck
            (`notellm.evaluation.moderation`).
        of_targets: The part of ``targets`` targets.
        of_both: The part that both of these contain: what differs from one seed to the other at single targets.
        seeds: Number of seeds.
        targets: Number of targets.
        seed_freedom: Degrees of freedom of the part of seeds, 0 if nothing is known of it; by default their number less
            one.
    """

    of_seeds: float
    of_targets: float
    of_both: float
    seeds: int
    targets: int
    seed_freedom: float = 0.0

    def __post_init__(self) -> None:
        if not self.seed_freedom:
            object.__setattr__(self, "seed_freedom", float(self.seeds - 1))

    @property
    def total(self) -> float:
        """The variance of the mean, clustered by seeds and by targets."""
        return max(self.of_seeds + self.of_targets - self.of_both, self.of_seeds, self.of_targets)

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the total (Satterthwaite)."""
        parts = ((self.of_seeds, self.seed_freedom), (self.of_targets, self.targets - 1))
        below = sum(part**2 / freedom for part, freedom in parts if freedom > 0)
        return float(max(1.0, self.total**2 / below)) if below > 0 else float("inf")

    def of_design(self, seeds: int, share: float) -> Variance:
        """What it would be with another number of seeds, and ``share`` times the targets, if all else is the same."""
        targets = max(2, round(self.targets * share))
        by_seed = max(self.of_seeds - self.of_both, 0.0) * self.seeds / seeds
        by_target = max(self.of_targets - self.of_both, 0.0) / share
        both = self.of_both * self.seeds / seeds / share
        if self.seed_freedom == 0 or (seeds == 1 and self.seeds > 1):
            return Variance(0.0, by_target + both, 0.0, seeds, targets)
        more = (
            self.seed_freedom * (seeds - 1) / (self.seeds - 1)
            if self.seeds > 1
            else self.seed_freedom + seeds - 1
        )
        return Variance(by_seed + both, by_target + both, both, seeds, targets, more)


@dataclass(frozen=True)
class Resampled:
    """A mean, its variance, and draws of it.

    Attributes:
        mean: The mean.
        variance: Of the mean.
        draws: Shape ``(B,)``: means as other seeds and targets might have given them.
    """

    mean: float
    variance: Variance
    draws: FloatArray

    @property
    def interval(self) -> Interval:
        """The mean with its 95 % interval."""
        low, high = np.quantile(self.draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Interval(self.mean, float(low), float(high))

    def with_variance(self, variance: Variance) -> Resampled:
        """The same mean where more is known of its variance: its draws are as far apart as that says."""
        if self.variance.total == 0:
            return replace(self, variance=variance)
        own, other = (
            np.sqrt(of.total) * student.widening((1 + LEVEL) / 2, of.freedom)
            for of in (self.variance, variance)
        )
        return Resampled(self.mean, variance, self.mean + (self.draws - self.mean) * other / own)


def resample(
    values: npt.ArrayLike,
    targets: npt.ArrayLike,
    seeds: npt.ArrayLike | None = None,
    *,
    macro: bool = False,
    samples: int = RESAMPLES,
    seed: int = 0,
) -> Resampled:
    """Resamples a mean over targets and, where there are several, over seeds.

    Seeds may have queries of their own, if each has another split of the data: every seed weighs the same in the mean.

    Args:
        values: Shape ``(n,)``, finite; to compare two systems, their differences on the same queries.
        targets: Shape ``(n,)``: the target of each value's query, as any label.
        seeds: Shape ``(n,)``: the seed of the model behind each value; by default all are of one.
        macro: Whether every target of a seed weighs the same in the mean; otherwise every value.
        samples: Resamples.
        seed: The same one gives the same draws.

    Raises:
        ValueError: If there is no value, one is not finite, lengths differ, or there is no resample.

    Example:
        >>> hits, targets = [1, 1, 1, 1, 0, 0], ["python3", "python3", "python3", "python3", "vim", "tea"]
        >>> round(resample(hits, targets).mean, 3), round(resample(hits, targets, macro=True).mean, 3)
        (0.667, 0.333)
    """
    sums, counts = _cells(values, targets, seeds)
    if samples < 1:
        raise ValueError(f"resample: samples must be at least 1, but is {samples}")
    if macro:
        sums, counts = sums / np.maximum(counts, 1), np.minimum(counts, 1)
    size = counts.sum(axis=1, keepdims=True)
    sums, counts = sums / size, counts / size
    mean = float(sums.sum() / counts.sum())
    variance = _variance((sums - mean * counts) / counts.sum())
    draws = _draws(sums, counts, samples, seed)
    off = np.where(np.isnan(draws), 0, draws - mean)
    width = off.std()
    if width > 0:
        off *= np.sqrt(variance.total) / width * student.widening((1 + LEVEL) / 2, variance.freedom)
    return Resampled(mean, variance, mean + off)


def _cells(
    values: npt.ArrayLike, targets: npt.ArrayLike, seeds: npt.ArrayLike | None
) -> tuple[FloatArray, FloatArray]:
    """Sums and counts of the values, by seed and target: shape ``(S, T)`` each."""
    own = np.asarray(values, dtype=np.float64)
    labels = np.asarray(targets), np.zeros(own.shape, np.int64) if seeds is None else np.asarray(seeds)
    fit = own.ndim == 1 and all(of.shape == own.shape for of in labels)
    if not (own.size and fit and np.isfinite(own).all()):
        raise ValueError(
            "resample: values must be one or more finite numbers, each with a target and a seed, but have shape "
            f"{own.shape}, {np.isfinite(own).sum()} finite, targets {labels[0].shape} and seeds {labels[1].shape}"
        )
    columns, rows = (np.unique(of, return_inverse=True)[1] for of in labels)
    shape = int(rows.max()) + 1, int(columns.max()) + 1
    flat, size = rows * shape[1] + columns, shape[0] * shape[1]
    sums, counts = (np.bincount(flat, of, size).reshape(shape) for of in (own, np.ones_like(own)))
    return sums.astype(np.float64), counts.astype(np.float64)


def _variance(influence: FloatArray) -> Variance:
    """From how far each cell ``(S, T)`` moves the mean."""
    seeds, targets = influence.shape

    def unbiased(moves: FloatArray, count: int) -> float:
        return float((moves**2).sum() * count / (count - 1)) if count > 1 else 0.0

    of_seeds = unbiased(influence.sum(axis=1), seeds)
    of_targets = unbiased(influence.sum(axis=0), targets)
    both = 0.0
    if seeds > 1 and targets > 1:
        rest = influence - influence.mean(axis=1, keepdims=True) - influence.mean(axis=0, keepdims=True)
        rest += influence.mean()
        both = float((rest**2).sum() * seeds / (seeds - 1) * targets / (targets - 1))
    return Variance(of_seeds, of_targets, both, seeds, targets)


def _draws(sums: FloatArray, counts: FloatArray, samples: int, seed: int) -> FloatArray:
    """Means of resamples, shape ``(samples,)``; NaN where only seeds and targets without each other were drawn."""
    found = []
    for block in range(0, samples, BLOCK):
        of_seeds, of_targets = (_weights(seed, axis, block, count) for axis, count in enumerate(sums.shape))
        above, below = ((_products(of_targets, of) * of_seeds).sum(axis=1) for of in (sums, counts))
        found.append(np.divide(above, below, out=np.full(BLOCK, np.nan), where=below > 0))
    return np.concatenate(found)[:samples]


def _products(of_targets: Weights, cells: FloatArray) -> FloatArray:
    """``of_targets @ cells.T`` of shapes ``(BLOCK, T)`` and ``(S, T)``, without a copy of all weights as fp64."""
    found = np.zeros((len(of_targets), len(cells)))
    for at in range(0, cells.shape[1], FEW):
        found += of_targets[:, at : at + FEW].astype(np.float64) @ cells[:, at : at + FEW].T
    return found


def _weights(seed: int, axis: int, block: int, count: int) -> Weights:
    """How often each of ``count`` seeds or targets was drawn in the resamples of a block: shape ``(BLOCK, count)``."""
    draw = _kept if count <= FEW else _kept_of_many if count <= MANY else _drawn
    return draw(seed, axis, block, count)


def _drawn(seed: int, axis: int, block: int, count: int) -> Weights:
    random = np.random.default_rng([seed, axis, block])
    shares = np.full(count, 1 / count)
    return np.stack([random.multinomial(count, shares).astype(np.int16) for _ in range(BLOCK)])


_kept, _kept_of_many = lru_cache(maxsize=32)(_drawn), lru_cache(maxsize=4)(_drawn)
"""The draws of the last blocks: every metric of an evaluation takes the same."""
