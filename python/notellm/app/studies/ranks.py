"""The ranks that a finished cell keeps query by query, from which tables and pictures compare rows."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from notellm.app.pipeline.evaluating import RANKS
from notellm.app.studies.cell import Cell
from notellm.errors import DataError
from notellm.evaluation.retrieval import cutoffs_within
from notellm.metrics import Ties, hits_at
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


def hits_of(cell: Cell, column: str) -> FloatArray | None:
    """Shape ``(Q,)``: what each query of a finished cell contributes to a recall; None if it has no ranks.

    Args:
        cell: The cell.
        column: ``"recall@K"``, ``"recall@avg"``, or by exposure: ``"low.recall@K"``, of these queries only.

    Raises:
        DataError: If the file of ranks is damaged.
    """
    side, _, metric = column.rpartition(".")
    path, evaluation, k = cell.folder / RANKS, cell.config.evaluation, metric.removeprefix("recall@")
    if not path.exists():
        return None
    kept, pool = _read(path)
    counts = [
        _column(path, kept, f"{cell.row.measured}.{part}", torch.int64) for part in ("greater", "equal")
    ]
    if len(counts[0]) != len(counts[1]) or any((own < 0).any() for own in counts):
        raise DataError(f"{path}: must hold two counts of each query, from 0, but does not")
    asked = cutoffs_within(evaluation.ks, pool) if pool else evaluation.ks
    ks = asked if k == "avg" else [int(k)]
    hits: FloatArray = hits_at(Ranks(*counts), ks, ties=cast(Ties, evaluation.ties)).mean(axis=1)
    if not side:
        return hits
    chosen = _column(path, kept, f"exposure.{side}", torch.uint8).numpy().astype(bool)
    if len(chosen) != len(hits):
        raise DataError(f"{path}: must say of each query how exposed it is, but does not")
    of_these: FloatArray = hits[chosen]
    return of_these


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
