"""Vectors on a plane: near points are similar notes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from notellm.optional import importing

__all__ = ["METHODS", "on_a_plane", "turned"]

Points = npt.NDArray[np.float64]

METHODS = ("tsne", "pca")


def on_a_plane(vectors: Tensor, method: str = "tsne", *, where: str) -> Points:
    """Points for vectors: by t-SNE (van der Maaten and Hinton 2008) of their cosines, or on two principal axes.

    By t-SNE, points that are near each other are similar notes, and distances between groups mean little. It begins at
    the principal axes and draws nothing at random, so equal vectors give the same points.

    Args:
        vectors: Shape ``(N, d)``.
        method: One of `METHODS`; t-SNE of fewer than four vectors is their principal axes.
        where: The calling function, for the message.

    Returns:
        Shape ``(N, 2)``.

    Raises:
        NotSupportedError: If scikit-learn, which t-SNE needs, is not installed.
    """
    rows = vectors.double().numpy()
    axes = _on_principal_axes(rows)
    if method == "pca" or len(rows) < 4:
        return axes
    with importing(where, "scikit-learn", module="sklearn", otherwise="a map by PCA"):
        from sklearn.manifold import TSNE
    spread = axes[:, 0].std() or 1.0
    begin = (axes / spread * 1e-4).astype(np.float32)  # small, as scikit-learn's own beginning is
    reducer = TSNE(metric="cosine", init=begin, perplexity=min(30.0, (len(rows) - 1) / 3), random_state=0)
    return np.asarray(reducer.fit_transform(rows.astype(np.float32)), np.float64)


def turned(points: Points, like: Points) -> Points:
    """Points turned, or mirrored, so that they lie as much like others as they can (Schoenemann 1966).

    Args:
        points: Shape ``(N, 2)``.
        like: Shape ``(N, 2)``, of the same notes.

    Returns:
        Shape ``(N, 2)``, around the origin; distances are as they were.

    Example:
        >>> square = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 2.0], [0.0, 2.0]])
        >>> turned(square[:, ::-1] + 7, square).round(6).tolist()
        [[-2.0, -1.0], [2.0, -1.0], [2.0, 1.0], [-2.0, 1.0]]
    """
    centred = points - points.mean(0)
    left, _, right = np.linalg.svd(centred.T @ (like - like.mean(0)))
    return np.asarray(centred @ (left @ right))


def _on_principal_axes(rows: npt.NDArray[Any]) -> Points:
    """Where rows are on the two axes along which they differ most, ``(N, 2)``; an axis points to its largest part."""
    centred = rows - rows.mean(0)
    _, axes = np.linalg.eigh(centred.T @ centred)  # ascending
    best = axes[:, : -min(2, axes.shape[1]) - 1 : -1]  # (d, 2), or (d, 1)
    best = best * np.sign(best[np.abs(best).argmax(0), np.arange(best.shape[1])])
    points = centred @ best
    return np.pad(points, ((0, 0), (0, 2 - points.shape[1])))
