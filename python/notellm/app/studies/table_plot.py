"""A study's table as a picture: curves of rows that differ in one number, dots of others."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, nan
from pathlib import Path
from typing import Any

from notellm.app.studies.figures import draw, tidy
from notellm.app.studies.table import Table, TableRow, column_name
from notellm.evaluation.metric_names import CORPUS, WRITTEN

PANEL = 4.5
"""Width of a panel of dots, in inches; one of curves is a little wider."""


def plot_table(table: Table, path: str | Path) -> Path:
    """Draws a table: metrics of ranks in one panel, and of written words in another.

    Rows that differ only in one number (alpha, r) are the points of a curve; others are drawn as dots. Bars are
    standard deviations over seeds; rows without numbers keep their place.

    Args:
        table: From `make_table`.
        path: The file: ``.svg``, ``.png`` or ``.pdf``.

    Returns:
        ``path``.

    Raises:
        ValueError: If the file has another ending, or nothing has been run.
        NotSupportedError: If matplotlib is not installed.
    """
    if not any(row.seeds for row in table.rows):
        raise ValueError(
            "plot_table: there must be a finished run, but there is none; try `notellm sweep` first"
        )
    written = [column for column in table.columns if column in {*WRITTEN, *CORPUS}]
    ranked = [column for column in table.columns if column not in written]
    panels = [columns for columns in (ranked, written) if columns]
    is_curve = bool(table.scale_of)
    names = 0.08 * max(len(row.name) for row in table.rows)
    height = 1.2 + 0.32 * len(table.rows) + 0.2 * max(ceil(len(of) / _beside(of)) for of in panels)
    size = (4.8 * len(panels), 4.2) if is_curve else (names + PANEL * len(panels), height)

    def paint(figure: Any) -> None:
        areas = figure.subplots(1, len(panels), squeeze=False, sharey=not is_curve)[0]
        for axes, columns in zip(areas, panels, strict=True):
            (_draw_curves if is_curve else _draw_dots)(axes, table.rows, columns)
            above = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": _beside(columns)}
            axes.legend(frameon=False, fontsize="small", **above)

    return draw(path, table.title, size, paint)


def _beside(columns: Sequence[str]) -> int:
    """How many names of columns the legend above a panel has room for side by side."""
    longest = max(len(column_name(column)) for column in columns)
    return min(4, max(1, int(PANEL / (0.5 + 0.08 * longest))))


def _draw_curves(axes: Any, rows: Sequence[TableRow], columns: Sequence[str]) -> None:
    for column in columns:
        places, means, deviations = _measured(rows, column)
        axes.errorbar(places, means, deviations, fmt="o-", capsize=3, markersize=4, label=column_name(column))
    axes.set_xticks(range(len(rows)), [row.name for row in rows], rotation=30, ha="right")
    axes.set(xlim=(-0.4, len(rows) - 0.6), ylabel="percent", ylim=(0, None))
    tidy(axes)


def _draw_dots(axes: Any, rows: Sequence[TableRow], columns: Sequence[str]) -> None:
    for column in columns:
        places, means, deviations = _measured(rows, column)
        axes.errorbar(
            means, places, xerr=deviations, fmt="o", capsize=2, markersize=5, label=column_name(column)
        )
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.set(ylim=(len(rows) - 0.5, -0.5), xlabel="percent", xlim=(0, None))
    tidy(axes, "both")


def _measured(rows: Sequence[TableRow], column: str) -> tuple[list[int], list[float], list[float]]:
    """Places, means and standard deviations (NaN, no bar, for one seed) of the rows that have numbers."""
    found = [(place, row.scores.get(column)) for place, row in enumerate(rows)]
    measured = [(place, score) for place, score in found if score is not None]
    return (
        [place for place, _ in measured],
        [score.mean for _, score in measured],
        [nan if score.deviation is None else score.deviation for _, score in measured],
    )
