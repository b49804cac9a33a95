"""The ranks that a finished cell keeps query by query."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import cast

import numpy as np
import torch

from notellm.app.pipeline.one_by_one import RANKS
from notellm.app.studies.cell import Cell
from notellm.app.studies.columns import SIDES, CellValues, Column
from notellm.app.studies.kept_tensors import KeptTensors
from notellm.errors import DataError
from notellm.evaluation import QueryValues, query_values
from notellm.evaluation.retrieval import cutoffs_within, log_scores
from notellm.metrics import Ties
from notellm.metrics.arrays import FloatArray
from notellm.retrieval import Ranks


def exposure_of(cell: Cell) -> FloatArray | None:
    """Shape ``(Q,)``: the share of the pool that is less exposed than each query's target.

    Returns:
        None if the cell has no ranks.

    Raises:
        DataError: If the file of ranks is damaged.
    """
    path = cell.folder / RANKS
    if not path.exists():
        return None
    return np.asarray(KeptTensors.read(path).row("exposure.place", torch.float64).numpy())


MOST = 1 << 40
"""Counts above this are damage: no pool is so large."""


def ranked_values(cell: Cell, column: Column) -> CellValues | None:
    """What each query of a finished cell contributes to a metric of ranks.

    Returns:
        None if the cell has no ranks, or its file is older than the pool's size, or the queries' hashtags, in it.

    Raises:
        DataError: If the file of ranks is damaged.
    """
    path = cell.folder / RANKS
    if not path.exists():
        return None
    kept = KeptTensors.read(path)
    pool = _pool(kept)
    if (column.name == "log_score" and not pool) or (
        column.side == "tagged" and SIDES["tagged"] not in kept.tensors
    ):
        return None
    values = _metric(cell, column.name, pool)
    targets = None
    if "query.target" in kept.tensors:
        targets = np.asarray(kept.whole_numbers("query.target").numpy())
    chosen = np.ones(len(values), np.bool_)
    if column.side:
        chosen = kept.row(SIDES[column.side], torch.uint8).numpy().astype(bool)
    if len(chosen) != len(values) or (targets is not None and len(targets) != len(values)):
        raise DataError(f"{path}: must say of each query what its target is like, but does not")
    return CellValues(values[chosen], None if targets is None else targets[chosen])


def pool_of(cell: Cell) -> int:
    """How many notes a finished cell's queries were ranked among; 0 if its file is older than this number.

    Raises:
        DataError: If the file of ranks is damaged.
    """
    return _pool(KeptTensors.read(cell.folder / RANKS))


def _ranks(kept: KeptTensors, system: str) -> Ranks:
    counts = [kept.whole_numbers(f"{system}.{part}") for part in ("greater", "equal")]
    if len(counts[0]) != len(counts[1]) or any((own < 0).any() or (own > MOST).any() for own in counts):
        raise DataError(f"{kept.path}: must hold two counts of each query, from 0, but does not")
    return Ranks(*counts)


def _metric(cell: Cell, name: str, pool: int) -> FloatArray:
    evaluation, path = cell.config.evaluation, cell.folder / RANKS
    metric, _, k = name.partition("@")
    asked = tuple(cutoffs_within(evaluation.ks, pool - 1) if pool else evaluation.ks)
    ks = asked if not k.isdecimal() or int(k) in asked else (int(k),)
    state = path.stat()
    found = _values(path, (state.st_mtime_ns, state.st_size), cell.row.measured, ks, evaluation.ties)
    if name == "log_score":
        return log_scores(found.log_rank, pool - 1)
    if name == "mrr":
        return found.reciprocal
    at_cutoffs = {"recall": found.recall, "ndcg": found.ndcg, "map": found.ap}[metric]
    return np.asarray(at_cutoffs[:, [ks.index(int(k))] if k.isdecimal() else slice(None)].mean(axis=1))


@lru_cache(maxsize=64)
def _values(path: Path, state: tuple[int, int], system: str, ks: tuple[int, ...], ties: str) -> QueryValues:
    """All metrics of a file in a state: columns of a table ask for one after the other."""
    return query_values(_ranks(KeptTensors.read(path), system), ks, cast(Ties, ties))


def _pool(kept: KeptTensors) -> int:
    """The size of the pool; 0 if an older file does not say it."""
    pool = kept.about.get("pool", "0")
    if not pool.isdecimal():
        raise DataError(f"{kept.path}: pool must be a number of notes, but is {pool[:40]!r}")
    return int(pool)
