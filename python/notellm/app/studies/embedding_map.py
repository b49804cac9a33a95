"""The embeddings of a finished run in two dimensions, coloured by category."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from notellm.app.pipeline import load_data
from notellm.app.pipeline.systems import as_stored, kept_vectors, variants
from notellm.app.plane import on_a_plane
from notellm.app.studies.cell import TRAINED, Cell
from notellm.app.studies.figures import draw
from notellm.app.studies.runs import runs_of
from notellm.app.studies.study import Study
from notellm.data.coding import numbered

SHOWN = 9
"""How many categories have their own colour: the most frequent ones."""


def plot_map(study: Study, row: str, path: str | Path) -> Path:
    """Draws the pool's embeddings in two dimensions, see `notellm.app.plane`; equal embeddings give the same picture.

    Args:
        study: The study.
        row: Key of a row whose system has embeddings; its first finished run is shown.
        path: The file: ``.svg``, ``.png`` or ``.pdf``.

    Returns:
        ``path``.

    Raises:
        ValueError: If there is no such row, or it has no embeddings in its run folder; or the file has another ending.
        NotSupportedError: If matplotlib or scikit-learn is not installed.
    """
    runs = runs_of(study, study.ledger.newest())
    if row not in runs:
        raise ValueError(f"plot_map: the row must be one of {', '.join(runs)}, but is {row!r}")
    cells = [run.cell for run in runs[row] if run.is_done]
    if not cells:
        raise ValueError(f"plot_map: {row} must have a finished run, but has none; try `notellm sweep` first")
    ids, vectors = _embeddings_of(cells[0])
    notes = load_data(cells[0].config).notes
    category_of = dict(zip(notes.ids, notes.categories, strict=True))
    names, category = numbered([category_of.get(note, "") for note in ids])
    points = on_a_plane(vectors, where="plot_map")
    by_number = np.argsort(-np.bincount(category), kind="stable").tolist()
    shown = [code for code in by_number if names[code]][:SHOWN]

    def paint(figure: Any) -> None:
        axes = figure.subplots()
        others = ~np.isin(category, shown)
        axes.scatter(*points[others].T, s=4, color="0.8", label="others", linewidths=0)
        for code in shown:
            axes.scatter(*points[category == code].T, s=7, label=names[code], linewidths=0)
        axes.set_axis_off()
        axes.legend(
            frameon=False, fontsize="small", markerscale=2, loc="center left", bbox_to_anchor=(1, 0.5)
        )

    title = f"{cells[0].row.name}: {len(ids):,} notes, by t-SNE (scale: {study.scale})"
    return draw(path, title, (8, 6), paint)


def _embeddings_of(cell: Cell) -> tuple[list[str], Tensor]:
    """Ids and vectors, as the row measures them: what is kept is whole."""
    kept = kept_vectors(cell.folder, cell.row.system)
    if kept is None:
        raise ValueError(
            f"plot_map: {cell.row.key} must have embeddings in {cell.folder / 'embeddings'}, but has none; try "
            f"`notellm sweep --again {cell.row.key}`, or a row whose system is not one of words"
        )
    if cell.row.system != TRAINED[0]:
        return kept
    asked = cell.config.embed.dim, cell.config.embed.storage
    width, storage = {"": asked, **variants(cell.config.evaluation.dims)}[cell.row.variant]
    return kept[0], as_stored(kept[1], width, storage)
