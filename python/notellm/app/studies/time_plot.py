"""A metric by how long training took, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

import numpy as np

from notellm.app.studies.cell import TRAINED, Cell
from notellm.app.studies.figures import draw, logarithmic, tidy
from notellm.app.studies.finished import finished_cells, title_of
from notellm.app.studies.ledger import Entry
from notellm.app.studies.study import Study
from notellm.app.studies.table import column_name
from notellm.app.studies.values import measured


def plot_time(study: Study, path: str | Path, *, column: str | None = None) -> Path:
    """Draws a column of the study's table over the minutes that each row's training took; means over seeds.

    Bars are standard deviations over seeds. Rows that differ in nothing but their number of steps are joined: what more
    of the same training gives. What is not trained is a line across.

    Args:
        study: Rows without a finished run, or that do not measure this, are left out, and seeds that not all others
            have.
        path: The file: ``.svg``, ``.png`` or ``.pdf``.
        column: Such as ``"macro.recall@10"``; by default the study's first.

    Returns:
        ``path``.

    Raises:
        ValueError: If the file has another ending, the study has no such column, no row has ranks or measures this,
            rows share no seed, or a trained row is from before times were kept.
        NotSupportedError: If matplotlib is not installed.
    """
    shown = study.columns[0] if column is None else column
    if shown not in study.columns:
        raise ValueError(f"plot_time: column must be one of {', '.join(study.columns)}, but is {shown!r}")
    entries, finished = study.ledger.newest(), finished_cells(study)
    rows = [own for cells in finished.values() if (own := _percent(cells, entries, shown))]
    if not rows:
        raise ValueError(
            f"plot_time: a finished run must have measured {shown}, but none has; try another column"
        )
    curves = _curves(rows, entries)
    lines = {
        own[0][0].row.name: float(np.mean([percent for _, percent in own]))
        for own in rows
        if own[0][0].row.system not in TRAINED
    }

    def paint(figure: Any) -> None:
        axes = figure.subplots()
        for place, curve in enumerate(curves):
            color = f"C{place % 10}"
            points = sorted((point.minutes, point.percent) for point in curve)
            axes.plot(*zip(*points, strict=True), color=color)
            for marker, point in enumerate(curve, place // 10):
                style = {"color": color, "fmt": "os^Dv"[marker % 5], "markersize": 5, "capsize": 2}
                axes.errorbar(point.minutes, point.percent, point.deviation, label=point.name, **style)
        for place, (name, percent) in enumerate(lines.items(), len(curves)):
            style = {"color": f"C{place % 10}", "linestyle": ("--", ":", "-.")[place // 10 % 3]}
            axes.axhline(percent, label=f"{name} (not trained)", **style)
        axes.set(xlabel="minutes of training", ylabel=f"{column_name(shown)}, in percent")
        logarithmic(axes)
        tidy(axes)
        axes.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))

    return draw(path, title_of(study, finished), (9, 4.5), paint)


@dataclass(frozen=True)
class _Point:
    """A trained row: means over seeds, and the standard deviation of its metric (NaN for one seed, no bar)."""

    name: str
    minutes: float
    percent: float
    deviation: float


def _percent(cells: Sequence[Cell], entries: Mapping[str, Entry], column: str) -> list[tuple[Cell, float]]:
    """The cells that measure this, each with what it measured."""
    found = ((cell, measured(cell, entries[cell.key], column)) for cell in cells)
    return [(cell, 100 * value) for cell, value in found if value is not None]


def _curves(rows: Sequence[Sequence[tuple[Cell, float]]], entries: Mapping[str, Entry]) -> list[list[_Point]]:
    """The trained rows; together those that differ in nothing but their number of steps."""
    curves: dict[str, list[_Point]] = {}
    for own in rows:
        first = own[0][0]
        if first.row.system not in TRAINED:
            continue
        minutes = [entries[cell.key]["training_seconds"] / 60 for cell, _ in own]
        if not all(minutes):
            raise ValueError(
                f"plot_time: runs must say how long they trained, but row {first.row.key} has an older one; try "
                f"`notellm sweep --again {first.row.key}`"
            )
        values = [percent for _, percent in own]
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else nan
        point = _Point(first.row.name, float(np.mean(minutes)), float(np.mean(values)), deviation)
        curves.setdefault(first.without("train.max_steps"), []).append(point)
    return list(curves.values())
