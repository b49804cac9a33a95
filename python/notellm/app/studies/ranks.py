"""The ranks that a finished cell keeps query by query, from which tables and pictures compare rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open

from notellm.app.pipeline.evaluating import RANKS
from notellm.app.studies.cell import Cell
from notellm.errors import DataError
from notellm.evaluation import query_values
from notellm.evaluation.retrieval import cutoffs_within, log_scores
from notellm.metrics import Ties
from notellm.metrics.arrays import FloatArray
from notellm.retrieval import Ranks


def exposure_of(cell: Cell) -> FloatArray | None:
    """Shape ``(Q,)``: the share of the pool that is less exposed than each query's target; None as in `hits_of`.

    Raises:
        DataError: As `hits_of`.
    """
    path = cell.folder / RANKS
    if not path.exists():
        return None
    kept, _ = _read(path)
    return np.asarray(_column(path, kept, "exposure.place", torch.float64).numpy())


MOST = 1 << 40
"""Counts above this are damage: no pool is so large."""


@dataclass(frozen=True)
class Column:
    """A metric of ranks, as a column of a table names it.

    Attributes:
        name: Such as ``"recall@10"``, ``"recall@avg"``, ``"mrr"`` or ``"log_score"``.
        side: ``"low"`` or ``"high"`` for the queries whose target is seldom or often seen; otherwise empty.
        is_macro: Whether every target weighs the same.
    """

    name: str
    side: str
    is_macro: bool

    @classmethod
    def read(cls, text: str) -> Column | None:
        """Reads ``[low.|high.|macro.]NAME``; None if it is no metric of ranks.

        Example:
            >>> Column.read("macro.recall@10"), Column.read("accuracy")
            (Column(name='recall@10', side='', is_macro=True), None)
        """
        part, _, name = text.rpartition(".")
        is_known = name in ("mrr", "log_score") or name.partition("@")[0] in ("recall", "ndcg", "map")
        if not is_known or part not in ("", "low", "high", "macro"):
            return None
        return cls(name, part if part != "macro" else "", part == "macro")


@dataclass(frozen=True)
class CellValues:
    """What the queries of a finished cell contribute to a metric.

    Attributes:
        values: Shape ``(Q,)``, in 0..1.
        targets: Shape ``(Q,)``, a number for each query's target; None if an older file does not say it.
    """

    values: FloatArray
    targets: npt.NDArray[np.int64] | None

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """The targets; where they are not known each query counts as having its own."""
        return np.arange(len(self.values)) if self.targets is None else self.targets


def values_of(cell: Cell, column: Column) -> CellValues | None:
    """What each query of a finished cell contributes to a metric; None if the cell has no ranks, or no pool's size.

    Raises:
        DataError: If the file of ranks is damaged.
    """
    path = cell.folder / RANKS
    if not path.exists():
        return None
    kept, pool = _read(path)
    if column.name == "log_score" and not pool:
        return None
    values = _metric(cell, column.name, _ranks(path, kept, cell.row.measured), pool)
    targets = None
    if "query.target" in kept:
        targets = np.asarray(_column(path, kept, "query.target", torch.int64).numpy())
    chosen = np.ones(len(values), np.bool_)
    if column.side:
        chosen = _column(path, kept, f"exposure.{column.side}", torch.uint8).numpy().astype(bool)
    if len(chosen) != len(values) or (targets is not None and len(targets) != len(values)):
        raise DataError(f"{path}: must say of each query how exposed its target is, but does not")
    return CellValues(values[chosen], None if targets is None else targets[chosen])


def hits_of(cell: Cell, column: str) -> FloatArray | None:
    """The values of `values_of` for a column by its name."""
    read = Column.read(column)
    found = None if read is None else values_of(cell, read)
    return None if found is None else found.values


def _ranks(path: Path, kept: dict[str, torch.Tensor], system: str) -> Ranks:
    counts = [_column(path, kept, f"{system}.{part}", torch.int64) for part in ("greater", "equal")]
    if len(counts[0]) != len(counts[1]) or any((own < 0).any() or (own > MOST).any() for own in counts):
        raise DataError(f"{path}: must hold two counts of each query, from 0, but does not")
    return Ranks(*counts)


def _metric(cell: Cell, name: str, ranks: Ranks, pool: int) -> FloatArray:
    evaluation = cell.config.evaluation
    metric, _, k = name.partition("@")
    asked = cutoffs_within(evaluation.ks, pool) if pool else evaluation.ks
    found = query_values(ranks, [int(k)] if k.isdecimal() else asked, cast(Ties, evaluation.ties))
    if name == "log_score":
        return log_scores(found.log_rank, pool)
    at_cutoffs = {"recall": found.recall, "ndcg": found.ndcg, "map": found.ap}
    return found.reciprocal if name == "mrr" else np.asarray(at_cutoffs[metric].mean(axis=1))


def _read(path: Path) -> tuple[dict[str, torch.Tensor], int]:
    """The tensors of a file of ranks, and the size of the pool; 0 if an older file does not say it."""
    try:
        with safe_open(path, framework="pt") as file:
            kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            pool = (file.metadata() or {}).get("pool", "0")
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: must be a readable safetensors file, but: {error}") from None
    if not pool.isdecimal():
        raise DataError(f"{path}: pool must be a number of notes, but is {pool[:40]!r}")
    return kept, int(pool)


def _column(path: Path, kept: dict[str, torch.Tensor], name: str, dtype: torch.dtype) -> torch.Tensor:
    found = kept.get(name)
    if found is None or found.dtype != dtype or found.dim() != 1:
        kind = str(dtype).removeprefix("torch.")
        raise DataError(
            f"{path}: must hold {name}, a row of {kind}, but does not; try the row again (--again)"
        )
    return found
