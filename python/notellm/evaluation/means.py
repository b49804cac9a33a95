"""Means over queries, or over their targets, with intervals that know which queries share a target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from notellm.evaluation.intervals import RATE, Bootstrap, Range, Values
from notellm.metrics import Interval
from notellm.metrics.arrays import BoolArray

Over = Literal["queries", "targets"]


@dataclass(frozen=True)
class Means:
    """Takes means of what ``Q`` queries contribute.

    Attributes:
        ks: ``K`` cut-offs.
        bootstrap: How intervals are computed.
        targets: Shape ``(Q,)``: a name or number for each query's target; None if nothing is known of them.
        over: What weighs the same: ``"queries"``, or ``"targets"`` (the macro average), which must be known then.
    """

    ks: Sequence[int]
    bootstrap: Bootstrap
    targets: npt.NDArray[Any] | None = None
    over: Over = "queries"

    def of(self, values: Values, within: Range = RATE) -> Interval:
        """The mean of values of shape ``(Q,)``, none of which can be outside of ``within``."""
        own = np.ascontiguousarray(values)
        if self.over == "targets":
            assert self.targets is not None
            return self.bootstrap.macro_mean(own, self.targets, within=within)
        return self.bootstrap.mean(own, self.targets, within=within)

    def at_cutoffs(self, values: Values) -> dict[int, Interval]:
        """The means of rates of shape ``(Q, K)``."""
        return {int(k): self.of(values[:, column]) for column, k in enumerate(self.ks)}

    def part(self, chosen: BoolArray) -> Means:
        """Those of some of the queries: ``chosen`` has shape ``(Q,)``."""
        return self if self.targets is None else replace(self, targets=self.targets[chosen])

    def by_target(self) -> Means:
        """Those in which every target weighs the same."""
        return replace(self, over="targets")
