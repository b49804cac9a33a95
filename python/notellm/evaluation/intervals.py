"""Means with bootstrap intervals."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from notellm.metrics import Interval, bootstrap_bleu, bootstrap_difference, bootstrap_mean
from notellm.metrics.bootstrap import RESAMPLES

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are computed: 95 %, percentiles over samples drawn with replacement."""

    samples: int = RESAMPLES
    seed: int = 0

    def mean(self, values: Values) -> Interval:
        """The mean of one value per query, with its interval."""
        return bootstrap_mean(values, samples=self.samples, seed=self.seed)

    def difference(self, a: Values, b: Values) -> Interval:
        """The mean of ``a - b`` over the same queries, with its interval."""
        return bootstrap_difference(a, b, samples=self.samples, seed=self.seed)

    def bleu(self, counts: npt.NDArray[np.int64]) -> Interval:
        """The corpus BLEU-4 of texts with these counts, with its interval."""
        return bootstrap_bleu(counts, samples=self.samples, seed=self.seed)
