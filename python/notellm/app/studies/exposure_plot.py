"""Recall by how much targets are exposed, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from notellm.app.studies.cell import Cell
from notellm.app.studies.columns import Column
from notellm.app.studies.figures import draw, tidy
from notellm.app.studies.finished import finished_cells, title_of
from notellm.app.studies.ranks import exposure_of, ranked_values
from notellm.app.studies.study import Study
from notellm.evaluation import resample
from notellm.metrics import Interval
from notellm.metrics.ranking import mid_ranks

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

DECILES = 10


def plot_exposure(study: Study, path: str | Path, *, k: int = 10) -> Path:
    """Draws Recall@k of every row by tenths of the queries, from the least exposed targets to the most exposed.

    Bars are 95 % bootstrap intervals of means over seeds: whole targets, and whole seeds if there are several, are
    drawn. Targets with equal exposure are all put in one tenth (the middle one of those they would fill), so some
    tenths may be empty.

    Args:
        study: Rows without a finished run are left out, and seeds that not all others have.
        path: The file: ``.svg``, ``.png`` or ``.pdf``.
        k: The cut-off.

    Returns:
        ``path``.

    Raises:
        ValueError: If the file has another ending, no row has ranks, rows share no seed, or have other queries than the
            first.
        NotSupportedError: If matplotlib is not installed.
    """
    finished = finished_cells(study)
    rows = [_by_exposure(cells, Column(f"recall@{k}", "", is_macro=False)) for cells in finished.values()]
    if not all(np.array_equal(row.queries, rows[0].queries) for row in rows):
        raise ValueError("plot_exposure: all rows must have the same queries, but some have others")
    counts = np.bincount(rows[0].queries, minlength=DECILES)

    def paint(figure: Any) -> None:
        axes = figure.subplots()
        for place, row in enumerate(rows):
            found = {tenth: row.recall(int(tenth)) for tenth in np.flatnonzero(counts)}
            shift = 0.5 * (place / max(len(rows) - 1, 1) - 0.5)
            values = np.array([interval.value for interval in found.values()])
            low, high = (np.array([getattr(i, side) for i in found.values()]) for side in ("low", "high"))
            axes.errorbar(
                np.array(list(found)) + shift,
                values,
                np.maximum(0, [values - low, high - values]),  # they are rounded
                fmt="o",
                markersize=4,
                capsize=2,
                label=row.name,
            )
        labels = [f"{tenth + 1}\n({count})" for tenth, count in enumerate(counts)]
        axes.set_xticks(range(DECILES), labels)
        axes.set(
            xlabel="tenth of the queries by their target's exposure, the least exposed first (queries in it)",
            ylabel=f"Recall@{k}, percent",
            ylim=(0, 100),
        )
        tidy(axes)
        axes.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))

    return draw(path, title_of(study, finished), (11, 4.5), paint)


@dataclass(frozen=True)
class _ByExposure:
    """A row's recall, query by query and seed by seed: shape ``(n,)`` each.

    Attributes:
        name: Of the row.
        queries: The tenth of each query, counted once if all seeds have the same.
        tenths: The tenth of each value.
        values: In 0..1. targets: A number for the target of each. seeds: Likewise.
    """

    name: str
    queries: IntArray
    tenths: IntArray
    values: FloatArray
    targets: IntArray
    seeds: IntArray

    def recall(self, tenth: int) -> Interval:
        """Of the queries in a tenth, in percent."""
        chosen = self.tenths == tenth
        values, targets, seeds = (of[chosen] for of in (self.values, self.targets, self.seeds))
        return resample(100 * values, targets, seeds).interval.within(0, 100)


def _by_exposure(cells: Sequence[Cell], column: Column) -> _ByExposure:
    deciles = [_deciles(cell) for cell in cells]
    found = [one for cell in cells if (one := ranked_values(cell, column))]  # a finished cell has them
    is_same = all(np.array_equal(of, deciles[0]) for of in deciles)
    return _ByExposure(
        cells[0].row.name,
        deciles[0] if is_same else np.concatenate(deciles),
        np.concatenate(deciles),
        np.concatenate([one.values for one in found]),
        np.concatenate([one.labels for one in found]),
        np.repeat(np.arange(len(cells)), [len(one.values) for one in found]),
    )


def _deciles(cell: Cell) -> IntArray:
    """Shape ``(Q,)``: 0 for the tenth of the queries whose targets are least exposed, ... 9; equal ones together."""
    places = exposure_of(cell)
    assert places is not None  # a cell with ranks has them
    return (DECILES * mid_ranks(places)).astype(np.int64)
