"""k-means whose result is the same for any number of threads: exact nearest centroids, sums in a fixed order."""

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array

from notellm.retrieval import neighbours

__all__ = ["Rows", "kmeans", "nearest"]

Rows = npt.NDArray[np.float64]


def kmeans(rows: Rows, count: int, *, iterations: int, seed: int) -> Rows:
    """Centroids by Lloyd's iterations, begun by k-means++ (Arthur and Vassilvitskii 2007).

    A centroid that is nearest to no row moves to the row that is farthest from its own centroid.

    Args:
        rows: Shape ``(N, d)``, at least one.
        count: Centroids; there are fewer if fewer rows differ.
        iterations: At most so many; it ends when no row changes its centroid.
        seed: Of the beginning.

    Returns:
        Shape ``(K, d)``, ``1 <= K <= count``.
    """
    centroids = _beginning(rows, count, np.random.default_rng(seed))
    before = None
    for _ in range(iterations):
        codes = nearest(rows, centroids)[:, 0]
        if before is not None and np.array_equal(codes, before):
            break
        centroids, before = _means(rows, codes, centroids), codes
    return centroids


def nearest(rows: Rows, centroids: Rows, count: int = 1) -> npt.NDArray[np.int64]:
    """The nearest centroids of each row, nearest first; of equally near ones the one with the lower number.

    ``|x - c|^2`` is least where ``<(x, 1), (c, -|c|^2 / 2)>`` is greatest: `neighbours` finds them exactly.

    Args:
        rows: Shape ``(N, d)``.
        centroids: Shape ``(K, d)``.
        count: How many, up to K.

    Returns:
        Shape ``(N, count)``.
    """
    ones = np.ones((len(rows), 1))
    halves = -0.5 * np.einsum("kd,kd->k", centroids, centroids)[:, None]
    queries, pool = np.hstack([rows, ones]), np.hstack([centroids, halves])
    return neighbours(torch.from_numpy(queries), torch.from_numpy(pool), count).indices.numpy()


def _beginning(rows: Rows, count: int, draw: np.random.Generator) -> Rows:
    """Rows, each drawn with a probability that grows with its squared distance from those before it."""
    chosen = [int(draw.integers(len(rows)))]
    away = _squares(rows, rows[chosen[0]])
    while len(chosen) < min(count, len(rows)) and away.max() > 0:
        reached = np.cumsum(away)
        row = int(np.searchsorted(reached, draw.random() * reached[-1], side="right"))
        chosen.append(min(row, int(np.flatnonzero(away)[-1])))  # rounding may lead past the last one
        away = np.minimum(away, _squares(rows, rows[chosen[-1]]))
    return rows[chosen]


def _squares(rows: Rows, point: Rows) -> Rows:
    """Shape ``(N,)``: squared distances of rows from a point, or from a point each. Equal ones are exactly 0 apart."""
    apart = rows - point
    squares: Rows = np.einsum("nd,nd->n", apart, apart)
    return squares


def _means(rows: Rows, codes: npt.NDArray[np.int64], centroids: Rows) -> Rows:
    """The mean of each centroid's rows, summed in the order of the rows."""
    members = csr_array(
        (np.ones(len(rows)), (codes, np.arange(len(rows)))), shape=(len(centroids), len(rows))
    )
    counts = np.bincount(codes, minlength=len(centroids))
    means: Rows = (members @ rows) / np.maximum(counts, 1)[:, None]
    empty = np.flatnonzero(counts == 0)
    farthest = np.argsort(-_squares(rows, centroids[codes]), kind="stable")
    means[empty] = rows[farthest[: len(empty)]]
    return means
