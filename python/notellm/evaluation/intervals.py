"""Means with bootstrap intervals, computed, and read from an ``evaluation.json``."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from notellm.evaluation.resampling import Resampled, resample
from notellm.io.json_tree import Node
from notellm.metrics import Interval, bootstrap_bleu, bootstrap_mean
from notellm.metrics.bootstrap import RESAMPLES

Values = npt.NDArray[np.float64]

Range = tuple[float, float]
"""The least and the largest value that a metric can have."""

ANYWHERE: Range = (-math.inf, math.inf)
RATE: Range = (0.0, 1.0)


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are computed: 95 %, percentiles over samples drawn with replacement."""

    samples: int = RESAMPLES
    seed: int = 0

    def mean(
        self, values: Values, targets: npt.ArrayLike | None = None, *, within: Range = ANYWHERE
    ) -> Interval:
        """The mean of one value per query, with its interval; whole targets are drawn, if queries share some.

        Args:
            values: Shape ``(Q,)``.
            targets: Shape ``(Q,)``: the target of each query.
            within: Where a value, and so the mean, can be: an interval of few targets could reach beyond.
        """
        if targets is None or len(np.unique(np.asarray(targets))) == len(values):
            return bootstrap_mean(values, samples=self.samples, seed=self.seed)
        return self.resample(values, targets).interval.within(*within)

    def macro_mean(self, values: Values, targets: npt.ArrayLike, *, within: Range = ANYWHERE) -> Interval:
        """The same, but every target weighs the same."""
        return self.resample(values, targets, macro=True).interval.within(*within)

    def resample(self, values: Values, targets: npt.ArrayLike, *, macro: bool = False) -> Resampled:
        """The mean of values, or of their targets, as other targets might have given it."""
        return resample(values, targets, macro=macro, samples=self.samples, seed=self.seed)

    def bleu(self, counts: npt.NDArray[np.int64]) -> Interval:
        """The corpus BLEU-4 of texts with these counts, with its interval."""
        return bootstrap_bleu(counts, samples=self.samples, seed=self.seed)


def read_interval(node: Node) -> Interval:
    """A mean with the ends of its interval."""
    return Interval(*(node.at(name).number() for name in Interval._fields))


def maybe_interval(node: Node, key: str) -> Interval | None:
    """The same of an entry that may be missing."""
    entry = node.maybe(key)
    return None if entry is None else read_interval(entry)


def read_intervals(node: Node, ks: Sequence[int]) -> dict[int, Interval]:
    """One for each cut-off."""
    return {k: read_interval(node.at(str(k))) for k in ks}
