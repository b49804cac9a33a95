"""Recall by how long training took, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

import numpy as np

from notellm.app.studies.cell import TRAINED, Cell
from notellm.app.studies.figures import draw, logarithmic, tidy
from notellm.app.studies.finished import finished_cells, recall_of, title_of
from notellm.app.studies.study import Study


def plot_time(study: Study, path: str | Path, *, k: int = 10) -> Path:
    """Draws Recall@k of every row over the minutes that its training took; means over seeds.

    Bars are standard deviations over seeds. Rows that differ in nothing but their number of steps are joined: what more
    of the same training gives. What is not trained is a line across.

    Args:
        study: Rows without a finished run are left out, and seeds that not all others have.
        path: The file: ``.svg``, ``.png`` or ``.pdf``.
        k: The cut-off.

    Returns:
        ``path``.

    Raises:
        ValueError: If the file has another ending, no row has ranks, rows share no seed, or a trained row is from
            before times were kept.
        NotSupportedError: If matplotlib is not installed.
    """
    finished = finished_cells(study)
    curves = _curves(study, finished, k)
    lines = {
        cells[0].row.name: float(np.mean([recall_of(cell, k) for cell in cells]))
        for cells in finished.values()
        if cells[0].row.system not in TRAINED
    }

    def paint(figure: Any) -> None:
        axes = figure.subplots()
        for place, curve in enumerate(curves):
            color = f"C{place % 10}"
            points = sorted((point.minutes, point.recall) for point in curve)
            axes.plot(*zip(*points, strict=True), color=color)
            for marker, point in enumerate(curve, place // 10):
                style = {"color": color, "fmt": "os^Dv"[marker % 5], "markersize": 5, "capsize": 2}
                axes.errorbar(point.minutes, point.recall, point.deviation, label=point.name, **style)
        for place, (name, recall) in enumerate(lines.items(), len(curves)):
            style = {"color": f"C{place % 10}", "linestyle": ("--", ":", "-.")[place // 10 % 3]}
            axes.axhline(recall, label=f"{name} (not trained)", **style)
        axes.set(xlabel="minutes of training", ylabel=f"Recall@{k}, percent")
        logarithmic(axes)
        tidy(axes)
        axes.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))

    return draw(path, title_of(study, finished), (9, 4.5), paint)


@dataclass(frozen=True)
class _Point:
    """A trained row: means over seeds, and the standard deviation of its recall (NaN for one seed, no bar)."""

    name: str
    minutes: float
    recall: float
    deviation: float


def _curves(study: Study, finished: Mapping[str, Sequence[Cell]], k: int) -> list[list[_Point]]:
    """The trained rows; together those that differ in nothing but their number of steps."""
    entries = study.ledger.newest()
    curves: dict[str, list[_Point]] = {}
    for key, cells in finished.items():
        if cells[0].row.system not in TRAINED:
            continue
        minutes = [entries[cell.key]["training_seconds"] / 60 for cell in cells]
        if not all(minutes):
            raise ValueError(
                f"plot_time: runs must say how long they trained, but row {key} has an older one; try "
                f"`notellm sweep --again {key}`"
            )
        recalls = [recall_of(cell, k) for cell in cells]
        deviation = float(np.std(recalls, ddof=1)) if len(recalls) > 1 else nan
        point = _Point(cells[0].row.name, float(np.mean(minutes)), float(np.mean(recalls)), deviation)
        curves.setdefault(cells[0].without("train.max_steps"), []).append(point)
    return list(curves.values())
