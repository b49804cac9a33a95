"""A study's table as curves: how retrieval and generation move along its rows."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from pathlib import Path
from typing import Any

from notellm.errors import NotSupportedError
from notellm.files import atomic_write
from notellm.studies.table import Table, TableRow, column_name


def plot_table(table: Table, path: str | Path) -> Path:
    """Draws the columns of a table over its rows: recalls and MRR on the left, generation on the right.

    Bars are standard deviations over seeds; rows without numbers stay empty on the axis.

    Args:
        table: From `make_table`.
        path: The file: ``.svg``, ``.png`` or ``.pdf``.

    Returns:
        ``path``.

    Raises:
        ValueError: If the file has another ending, or nothing has been run.
        NotSupportedError: If matplotlib is not installed.
    """
    path = Path(path)
    if path.suffix not in (".svg", ".png", ".pdf"):
        raise ValueError(f"plot_table: must write an .svg, .png or .pdf, but is to write {path.name}")
    if not any(row.seeds for row in table.rows):
        raise ValueError(
            "plot_table: there must be a finished run, but there is none; try `notellm sweep` first"
        )
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise NotSupportedError(
            "plot: matplotlib must be installed, but is not; try `pip install matplotlib`"
        ) from error
    retrieval = [column for column in table.columns if "recall@" in column or column == "mrr"]
    generation = [column for column in table.columns if column not in retrieval]
    panels = [columns for columns in (retrieval, generation) if columns]
    width = max(4.5, 0.8 * len(table.rows))
    figure = Figure(figsize=(width * len(panels), 4.2), layout="constrained")
    for axes, columns in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for column in columns:
            _draw(axes, table.rows, column)
        axes.set_xticks(range(len(table.rows)), [row.name for row in table.rows], rotation=30, ha="right")
        axes.set_xlim(-0.4, len(table.rows) - 0.6)
        axes.set(ylabel="percent", ylim=(0, None))
        axes.grid(axis="y", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize="small")
    figure.suptitle(table.title, fontsize="medium")
    with (
        matplotlib.rc_context({"svg.hashsalt": table.title, "svg.fonttype": "none"}),
        atomic_write(path) as temporary,
    ):
        figure.savefig(temporary, format=path.suffix.removeprefix("."))
    return path


def _draw(axes: Any, rows: Sequence[TableRow], column: str) -> None:
    found = [(place, row.scores.get(column)) for place, row in enumerate(rows)]
    measured = [(place, score) for place, score in found if score is not None]
    axes.errorbar(
        [place for place, _ in measured],
        [score.mean for _, score in measured],
        [nan if score.deviation is None else score.deviation for _, score in measured],  # one seed: no bar
        fmt="o-",
        capsize=3,
        markersize=4,
        label=column_name(column),
    )
