"""The finished cells of a study that a picture can set side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from notellm.app.studies.cell import Cell
from notellm.app.studies.ranks import exposure_of
from notellm.app.studies.runs import runs_of
from notellm.app.studies.study import Study


def finished_cells(study: Study) -> Mapping[str, list[Cell]]:
    """By the key of each row: its finished cells with ranks, of the seeds that all these rows have.

    Seeds may have splits of their own, so means of other seeds do not compare. A row that has the same numbers with
    every seed has one cell, which fits any.
    """
    runs = runs_of(study, study.ledger.newest())
    rows = {
        key: [run.cell for run in of if run.is_done and exposure_of(run.cell) is not None]
        for key, of in runs.items()
    }
    found = {key: cells for key, cells in rows.items() if cells}
    if not found:
        raise ValueError(
            "plot: there must be a finished run with its ranks, but there is none; try `notellm sweep` first"
        )
    fits_any = {key for key in found if len(runs[key]) == 1}
    seeds = {key: {cell.seed for cell in found[key]} for key in found.keys() - fits_any}
    shared = set(study.seeds).intersection(*seeds.values())
    if not shared:
        raise ValueError(f"plot: rows must share a seed, but they have {seeds}; try `notellm sweep --seeds`")
    return {
        key: [cell for cell in cells if key in fits_any or cell.seed in shared]
        for key, cells in found.items()
    }


def title_of(study: Study, finished: Mapping[str, Sequence[Cell]]) -> str:
    """The title of a picture of these cells: says how many seeds its means are of."""
    seeds = max(map(len, finished.values()))
    return f"{study.title} (scale: {study.scale}, {seeds} {'seed' if seeds == 1 else 'seeds'})"
