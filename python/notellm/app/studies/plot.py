"""A study as pictures: its table as curves, recall by cut-off, by the target's exposure, and by time of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, nan
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from notellm.app.studies.cell import TRAINED, Cell
from notellm.app.studies.columns import Column
from notellm.app.studies.figures import draw, tidy
from notellm.app.studies.ranks import exposure_of, hits_of, ranked_values
from notellm.app.studies.runs import runs_of
from notellm.app.studies.study import Study
from notellm.app.studies.table import Table, TableRow, column_name
from notellm.evaluation import resample
from notellm.evaluation.metric_names import CORPUS, WRITTEN
from notellm.metrics import Interval
from notellm.metrics.ranking import mid_ranks

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

DECILES = 10

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


def plot_recall(study: Study, path: str | Path) -> Path:
    """Draws Recall@K of every row over K, from 1 to the largest of ``evaluation.ks``; means over seeds.

    Args:
        study: Rows without a finished run are left out.
        path: The file: ``.svg``, ``.png`` or ``.pdf``.

    Returns:
        ``path``.

    Raises:
        ValueError: If the file has another ending, or no row has ranks.
        NotSupportedError: If matplotlib is not installed.
    """
    largest = max(study.cells[0].config.evaluation.ks)
    ks = np.unique(np.geomspace(1, largest, 60).round().astype(int))
    curves = {
        cells[0].row.name: [
            100 * float(np.mean([_hits(cell, f"recall@{k}").mean() for cell in cells])) for k in ks
        ]
        for cells in _finished(study).values()
    }

    def paint(figure: Any) -> None:
        from matplotlib.ticker import LogFormatter

        axes = figure.subplots()
        for place, (name, curve) in enumerate(curves.items()):
            axes.plot(ks, curve, label=name, linestyle=("-", "--", ":")[place // 10 % 3])
        axes.set(xscale="log", xlabel="K", ylabel="Recall@K, percent", xlim=(1, largest), ylim=(0, 100))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.xaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False))  # labels where there are few tens
        tidy(axes)
        axes.legend(frameon=False, fontsize="small")

    return draw(path, f"{study.title} (scale: {study.scale})", (7, 4.5), paint)


def plot_exposure(study: Study, path: str | Path, *, k: int = 10) -> Path:
    """Draws Recall@k of every row by tenths of the queries, from the least exposed targets to the most exposed.

    Bars are 95 % bootstrap intervals of means over seeds: whole targets, and whole seeds if there are several, are
    drawn. Targets with equal exposure are all put in one tenth (the middle one of those they would fill), so some
    tenths may be empty.

    Args:
        study: Rows without a finished run are left out.
        path: The file: ``.svg``, ``.png`` or ``.pdf``.
        k: The cut-off.

    Returns:
        ``path``.

    Raises:
        ValueError: If the file has another ending, no row has ranks, or rows have other queries than the first.
        NotSupportedError: If matplotlib is not installed.
    """
    rows = [
        _by_exposure(cells, Column(f"recall@{k}", "", is_macro=False)) for cells in _finished(study).values()
    ]
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

    return draw(path, f"{study.title} (scale: {study.scale})", (11, 4.5), paint)


def plot_time(study: Study, path: str | Path, *, k: int = 10) -> Path:
    """Draws Recall@k of every row over the minutes that its training took; means over seeds.

    Bars are standard deviations over seeds. What is not trained is a line across.

    Args:
        study: Rows without a finished run are left out.
        path: The file: ``.svg``, ``.png`` or ``.pdf``.
        k: The cut-off.

    Returns:
        ``path``.

    Raises:
        ValueError: If the file has another ending, no row has ranks, or a trained row is from before times were kept.
        NotSupportedError: If matplotlib is not installed.
    """
    entries, lines, points = study.ledger.newest(), {}, {}
    for key, cells in _finished(study).items():
        recalls = [100 * float(_hits(cell, f"recall@{k}").mean()) for cell in cells]
        if cells[0].row.system not in TRAINED:
            lines[cells[0].row.name] = np.mean(recalls)
            continue
        minutes = [entries[cell.key]["training_seconds"] / 60 for cell in cells]
        if not all(minutes):
            raise ValueError(
                f"plot_time: runs must say how long they trained, but row {key} has an older one; try "
                f"`notellm sweep --again {key}`"
            )
        deviation = np.std(recalls, ddof=1) if len(recalls) > 1 else nan
        points[cells[0].row.name] = (np.mean(minutes), np.mean(recalls), deviation)

    def paint(figure: Any) -> None:
        from matplotlib.ticker import LogFormatter

        axes = figure.subplots()
        for place, (name, (minutes, recall, deviation)) in enumerate(points.items()):
            marker = "os^Dv"[place // 10 % 5]  # there are ten colours
            axes.errorbar(minutes, recall, deviation, fmt=marker, markersize=5, capsize=2, label=name)
        for place, (name, recall) in enumerate(lines.items(), len(points)):
            style = ("--", ":", "-.")[place // 10 % 3]
            axes.axhline(recall, color=f"C{place % 10}", linestyle=style, label=f"{name} (not trained)")
        axes.set(xscale="log", xlabel="minutes of training", ylabel=f"Recall@{k}, percent", ylim=(0, None))
        axes.xaxis.set_major_formatter("{x:,g}")
        axes.xaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False))  # labels where there are few tens
        tidy(axes)
        axes.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))

    return draw(path, f"{study.title} (scale: {study.scale})", (9, 4.5), paint)


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


def _finished(study: Study) -> Mapping[str, list[Cell]]:
    """By the key of each row: its finished cells with ranks."""
    rows = {
        key: [run.cell for run in runs if run.is_done and exposure_of(run.cell) is not None]
        for key, runs in runs_of(study, study.ledger.newest()).items()
    }
    found = {key: cells for key, cells in rows.items() if cells}
    if not found:
        raise ValueError(
            "plot: there must be a finished run with its ranks, but there is none; try `notellm sweep` first"
        )
    return found


def _hits(cell: Cell, column: str) -> FloatArray:
    hits = hits_of(cell, column)
    assert hits is not None
    return hits
