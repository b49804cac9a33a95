"""The time that a sweep may take: no cell is begun for which it no longer suffices."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import fmean

from notellm.app.studies.cell import Cell
from notellm.app.studies.study import Study

Kind = tuple[str, bool]
"""Cells of one kind take similar times: by their system, and whether they belong to a search."""


class Budget:
    """What is left of a sweep's time, and what cells take.

    Args:
        hours: From now on; None: without end.
        clock: Seconds, ascending.
    """

    def __init__(self, hours: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = None if hours is None else clock() + 3600 * hours
        self._before: dict[Kind, list[float]] = {}
        self._now: dict[Kind, list[float]] = {}

    def learn(self, study: Study) -> None:
        """Takes the times of a study's finished cells from its ledger, which count until this sweep has its own."""
        newest, cells = (
            study.ledger.newest(),
            {cell.key: cell for cell in (*study.search_cells, *study.cells)},
        )
        self._before = {}
        for key, cell in cells.items():
            entry = newest.get(key)
            if entry is not None and entry["status"] == "done":
                self._before.setdefault(_kind(cell), []).append(float(entry["seconds"]))

    def note(self, cell: Cell, seconds: float) -> None:
        """Takes the time of a cell that this sweep has finished."""
        self._now.setdefault(_kind(cell), []).append(seconds)

    def lacks(self, cell: Cell) -> str:
        """Why a cell must not be begun, in words; empty if it may. The first of its kind may until the time is over."""
        if self._end is None:
            return ""
        left = self._end - self._clock()
        times = self._now.get(_kind(cell)) or self._before.get(_kind(cell))
        expected = fmean(times) if times else 0.0
        if left > 0 and expected <= left:
            return ""
        return f"{max(left, 0) / 60:.1f} minutes are left, and such a cell takes {_about(expected)}"


def _about(seconds: float) -> str:
    return f"about {seconds / 60:.1f}" if seconds else "an unknown time"


def _kind(cell: Cell) -> Kind:
    return cell.row.system, bool(cell.searched)
