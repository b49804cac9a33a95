"""Recall by cut-off, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from notellm.app.studies.cell import Cell
from notellm.app.studies.columns import Column
from notellm.app.studies.figures import draw, logarithmic, tidy
from notellm.app.studies.finished import finished_cells, title_of
from notellm.app.studies.ranks import ranked_values
from notellm.app.studies.study import Study


def plot_recall(study: Study, path: str | Path) -> Path:
    """Draws Recall@K of every row over K, from 1 to the largest of ``evaluation.ks``; means over seeds.

    One panel has means over queries and another one means over targets, if all runs say which queries share one.

    Args:
        study: Rows without a finished run are left out, and seeds that not all others have.
        path: The file: ``.svg``, ``.png`` or ``.pdf``.

    Returns:
        ``path``.

    Raises:
        ValueError: If the file has another ending, no row has ranks, or rows share no seed.
        NotSupportedError: If matplotlib is not installed.
    """
    largest = max(study.cells[0].config.evaluation.ks)
    ks = np.unique(np.geomspace(1, largest, 60).round().astype(int))
    finished = finished_cells(study)
    curves = {
        cells[0].row.name: list(zip(*(_recalls(cells, k) for k in ks), strict=True))
        for cells in finished.values()
    }
    panels = ["by query", "by target"][: min(map(len, curves.values()))]

    def paint(figure: Any) -> None:
        areas = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for panel, (axes, title) in enumerate(zip(areas, panels, strict=True)):
            for place, (name, means) in enumerate(curves.items()):
                axes.plot(ks, means[panel], label=name, linestyle=("-", "--", ":")[place // 10 % 3])
            axes.set(xlabel=f"K, {title}", xlim=(1, largest), ylim=(0, 100))
            logarithmic(axes)
            tidy(axes)
        areas[0].set_ylabel("Recall@K, percent")
        areas[0].legend(frameon=False, fontsize="small")

    return draw(path, title_of(study, finished), (1 + 6 * len(panels), 4.5), paint)


def _recalls(cells: Sequence[Cell], k: int) -> list[float]:
    """In percent, means over cells: by query and, if all of them say which queries share a target, by target."""
    column = Column(f"recall@{k}", "", is_macro=False)
    found = [values for cell in cells if (values := ranked_values(cell, column))]  # a finished cell has them
    means = ([values.mean for values in found], [values.macro_mean for values in found])
    return [100 * float(np.mean(of)) for of in means if None not in of]  # type: ignore[arg-type]
