"""The HTML of the page: the data for its scripts, and the template."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from notellm.app.explore.views import Explored
from notellm.app.page_templates import environment
from notellm.app.plane import Points
from notellm.data.coding import numbered

__all__ = ["as_data", "render"]

EXCERPT = 280
"""Letters of a note's content that the page has."""

COLOURED = 9
"""How many categories have a colour of their own: the most frequent ones."""

MAPS = {"tsne": "t-SNE", "pca": "two principal axes"}


def render(explored: Explored) -> str:
    """The whole page: one HTML document that needs no other file."""
    runs = list(dict.fromkeys(view.run for view in explored.views))
    return (
        environment("notellm.app.explore")
        .get_template("page.html")
        .render(
            runs=runs,
            shown=len(explored.notes),
            of=explored.of,
            k=explored.options.k,
            map=MAPS[explored.options.map],
            first=_first_views(explored),
            views=[view.name if len(runs) == 1 else f"{view.run}, {view.name}" for view in explored.views],
            coloured=COLOURED,
            data=as_data(explored),
        )
    )


def _first_views(explored: Explored) -> tuple[int, int]:
    """What is on the left and on the right at first: before and after training, or the two runs' last views."""
    last = {view.run: number for number, view in enumerate(explored.views)}
    return (0 if len(last) == 1 else min(last.values())), max(last.values())


def as_data(explored: Explored) -> dict[str, Any]:
    """Everything as plain data, for the page's scripts: one list for each column, numbers as integers.

    Args:
        explored: What is shown.

    Returns:
        ``ids``, ``titles``, ``texts``, ``topics``; ``categories``, the most frequent one first, their ``counts``, and
        ``category``, each note's place in them; ``related``; ``k``, and ``views`` with ``run``, ``name``, ``points`` (x
        and y in turn, from 0 to 10,000), ``neighbours`` (k for each note), ``cosines`` (times 10,000).
    """
    notes = explored.notes
    names, codes = numbered(notes.categories)
    counts = np.bincount(codes)
    order = np.lexsort((-counts, np.array([not name for name in names])))  # notes without a category last
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return {
        "ids": notes.ids,
        "titles": notes.titles,
        "texts": [_beginning(text) for text in notes.contents],
        "topics": notes.topics,
        "categories": [names[i] for i in order],
        "counts": counts[order].tolist(),
        "category": place[codes].tolist(),
        "related": explored.related,
        "k": explored.views[0].neighbours.shape[1],
        "views": [
            {
                "run": view.run,
                "name": view.name,
                "points": _in_a_square(view.points).ravel().tolist(),
                "neighbours": view.neighbours.ravel().tolist(),
                "cosines": np.rint(view.cosines * 10_000).astype(int).ravel().tolist(),
            }
            for view in explored.views
        ],
    }


def _beginning(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= EXCERPT else flat[:EXCERPT].rstrip() + "\u2026"


def _in_a_square(points: Points) -> npt.NDArray[np.int64]:
    """Points from 0 to 10,000, both axes in one scale."""
    low, high = points.min(0), points.max(0)
    reach = float((high - low).max()) or 1.0
    return np.asarray(np.rint(((points - (low + high) / 2) / reach + 0.5) * 10_000), np.int64)
