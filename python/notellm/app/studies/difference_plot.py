"""A table's differences as a picture: each with its interval, beside the band of those that do not matter."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

from notellm.app.studies.figures import draw, tidy
from notellm.app.studies.table import Table, TableRow, column_name
from notellm.evaluation import Verdict

BESIDE = 3
"""How many panels stand side by side."""

MARKERS = {
    Verdict.HIGHER: ("C2", ">"),
    Verdict.LOWER: ("C3", "<"),
    Verdict.EQUIVALENT: ("C0", "s"),
    Verdict.UNDECIDED: ("0.55", "o"),
}
"""Colour and shape of each verdict."""


def plot_differences(table: Table, path: str | Path) -> Path:
    """Draws how far each row is from the one it is compared with: a panel for each column.

    Bars are the intervals of 95 % of each difference alone; colours are the verdicts of all comparisons together. The
    grey band is the margin of what does not matter. Beyond one point, distances are logarithmic, so that small and
    large differences can be read in one panel.

    Args:
        table: From `make_table`.
        path: The file: ``.svg``, ``.png`` or ``.pdf``.

    Returns:
        ``path``.

    Raises:
        ValueError: If the file has another ending, or there is no difference.
        NotSupportedError: If matplotlib is not installed.
    """
    rows = [row for row in table.rows if any(row.comparisons.values())]
    columns = [column for column in table.columns if any(row.comparisons.get(column) for row in rows)]
    if not rows:
        raise ValueError(
            "plot_differences: there must be two rows with runs on the same queries, but there are none; try "
            "`notellm sweep` first"
        )
    beside = min(BESIDE, len(columns))
    high = ceil(len(columns) / beside)
    names = 0.075 * max(len(row.name) for row in rows)
    size = (max(names + 2.4 * beside, 7.5), 1.3 + high * (0.6 + 0.24 * len(rows)))

    def paint(figure: Any) -> None:
        panels = list(figure.subplots(high, beside, squeeze=False, sharex=True, sharey=True).flat)
        for axes, column in zip(panels, columns, strict=False):
            _draw(axes, rows, column, table.margin)
        for axes in panels[len(columns) :]:
            axes.set_visible(False)
        _explain(figure)

    return draw(path, f"{table.title}\nrow minus {table.against}, in points", size, paint)


def _draw(axes: Any, rows: Sequence[TableRow], column: str, margin: float) -> None:
    axes.axvspan(-margin, margin, color="0.9", linewidth=0)
    axes.axvline(0, color="0.6", linewidth=0.8)
    for place, row in enumerate(rows):
        if found := row.comparisons.get(column):
            mean, low, high = found.difference
            colour, marker = MARKERS[found.verdict]
            axes.plot([low, high], [place, place], color=colour, linewidth=1.5)
            axes.plot(mean, place, marker, color=colour, markersize=4.5, label=found.verdict.value)
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.set_xscale("symlog", linthresh=1, linscale=1)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:+g}" if x else "0")
    axes.tick_params("x", labelsize="small")
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_title(column_name(column), fontsize="small")
    tidy(axes, "x")


def _explain(figure: Any) -> None:
    from matplotlib.lines import Line2D

    shown = [
        Line2D([], [], color=colour, marker=marker, markersize=4.5, label=verdict.value)
        for verdict, (colour, marker) in MARKERS.items()
    ]
    figure.legend(
        handles=shown, loc="outside lower center", ncols=len(shown), frameon=False, fontsize="small"
    )
