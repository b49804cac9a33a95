"""Recall by cut-off, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from notellm.app.studies.figures import draw, logarithmic, tidy
from notellm.app.studies.finished import finished_cells, recall_of, title_of
from notellm.app.studies.study import Study


def plot_recall(study: Study, path: str | Path) -> Path:
    """Draws Recall@K of every row over K, from 1 to the largest of ``evaluation.ks``; means over seeds.

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
        cells[0].row.name: [float(np.mean([recall_of(cell, k) for cell in cells])) for k in ks]
        for cells in finished.values()
    }

    def paint(figure: Any) -> None:
        axes = figure.subplots()
        for place, (name, curve) in enumerate(curves.items()):
            axes.plot(ks, curve, label=name, linestyle=("-", "--", ":")[place // 10 % 3])
        axes.set(xlabel="K", ylabel="Recall@K, percent", xlim=(1, largest), ylim=(0, 100))
        logarithmic(axes)
        tidy(axes)
        axes.legend(frameon=False, fontsize="small")

    return draw(path, title_of(study, finished), (7, 4.5), paint)
