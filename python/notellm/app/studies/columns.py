"""The columns of a table that are means over queries or over notes, and what these contribute to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from notellm.evaluation.metric_names import RANKED, RANKED_AT, WRITTEN
from notellm.metrics.arrays import FloatArray

SIDES = {"low": "exposure.low", "high": "exposure.high", "tagged": "query.tagged"}
"""Some of the queries: those whose target is seldom or often seen, and those whose two notes have hashtags; by what
stands before a column, where the file of ranks says which they are."""


@dataclass(frozen=True)
class Column:
    """A metric that is a mean over queries or notes, as a column of a table names it.

    Attributes:
        name: Such as ``"recall@10"``, ``"recall@avg"``, ``"mrr"``, ``"log_score"`` or ``"accuracy"``.
        side: A key of `SIDES`, if only some queries count; otherwise empty.
        is_macro: Whether every target weighs the same.
        is_of_words: Whether it is of what was written for notes, not of the ranks of queries.
    """

    name: str
    side: str
    is_macro: bool
    is_of_words: bool = False

    @classmethod
    def read(cls, text: str) -> Column | None:
        """Reads ``[low.|high.|tagged.|macro.]NAME``; None if it is no such mean.

        Example:
            >>> Column.read("macro.recall@10"), Column.read("bleu4")
            (Column(name='recall@10', side='', is_macro=True, is_of_words=False), None)
        """
        if text in WRITTEN:
            return cls(text, "", False, is_of_words=True)
        part, _, name = text.rpartition(".")
        is_known = name in RANKED or name.partition("@")[0] in RANKED_AT
        if not is_known or part not in ("", "macro", *SIDES):
            return None
        return cls(name, part if part != "macro" else "", part == "macro")


@dataclass(frozen=True)
class CellValues:
    """What the queries, or notes, of a finished cell contribute to a metric.

    Attributes:
        values: Shape ``(Q,)``, in 0..1; NaN for notes that do not count.
        targets: Shape ``(Q,)``: a number for each query's target, or for the note; None if an older file does not say
            it.
    """

    values: FloatArray
    targets: npt.NDArray[np.int64] | None

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """The targets; where they are not known each query counts as having its own."""
        return np.arange(len(self.values)) if self.targets is None else self.targets

    @property
    def mean(self) -> float | None:
        """Over those that count; None if none does."""
        counting = self.values[np.isfinite(self.values)]
        return float(counting.mean()) if len(counting) else None

    @property
    def macro_mean(self) -> float | None:
        """Over targets, each of which weighs the same; None if targets are not known, or there is none."""
        if self.targets is None or not len(self.targets):
            return None
        _, places, counts = np.unique(self.targets, return_inverse=True, return_counts=True)
        return float((np.bincount(places, self.values) / counts).mean())
