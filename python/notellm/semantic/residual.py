"""Residual quantisation: a vector is nearly the sum of one centroid of each level's codebook."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from notellm.progress import ProgressFn
from notellm.semantic.kmeans import Rows, kmeans, nearest

__all__ = ["Codebooks", "Codes", "fit_codebooks", "last_codes"]

Codes = npt.NDArray[np.int64]

_BLOCK = 16_384
"""Rows that are encoded at once, at most."""

_BLOCK_BYTES = 64 << 20
"""About the most bytes of what all lengthened beginnings of a block's rows leave; one row may have more."""


@dataclass(frozen=True)
class Codebooks:
    """Centroids, level by level.

    Attributes:
        levels: L arrays of shape ``(K, d)``; K is smaller on a level on which fewer rows differ.
    """

    levels: list[Rows]

    def encode(self, vectors: Tensor, *, beam: int = 1) -> Codes:
        """The codes of vectors.

        With ``beam=1`` each level takes the centroid nearest to what is left, as training does. With more, that many
        beginnings are kept at each level (Babenko and Lempitsky 2014, as FAISS's residual quantiser does), and the sum
        that comes nearest to the vector wins.

        Args:
            vectors: Shape ``(N, d)``.
            beam: Beginnings that are kept.

        Returns:
            Shape ``(N, L)``.

        Raises:
            ValueError: If the shape does not fit, or the beam is below 1.
        """
        rows = _rows("Codebooks.encode", vectors)
        width = self.levels[0].shape[1]
        if rows.shape[1] != width or beam < 1:
            raise ValueError(
                f"Codebooks.encode: vectors must be of width {width} and beam at least 1, but are "
                f"{rows.shape[1]} and {beam}"
            )
        tried = beam * min(beam, max(map(len, self.levels)))  # of each row, on each level
        size = max(1, min(_BLOCK, _BLOCK_BYTES // max(1, rows.itemsize * width * tried)))
        blocks = [rows[first : first + size] for first in range(0, len(rows), size)]
        none = np.zeros((0, len(self.levels)), np.int64)
        return np.concatenate([none, *(self._encode(block, beam) for block in blocks)])

    def _encode(self, rows: Rows, beam: int) -> Codes:
        count = len(rows)
        codes = np.zeros((count, 1, 0), np.int64)  # (n, beginnings, levels so far)
        left = rows[:, None]  # (n, beginnings, d)
        for centroids in self.levels:
            kept = left.shape[1]
            best = nearest(
                left.reshape(count * kept, -1), centroids, min(beam, len(centroids))
            )  # (n * kept, b)
            tried = (left.reshape(count * kept, 1, -1) - centroids[best]).reshape(count, -1, rows.shape[1])
            lengthened = np.concatenate(
                [codes.repeat(best.shape[1], 1), best.reshape(count, -1, 1)], axis=2
            )  # (n, kept * b, levels + 1)
            order = np.argsort(np.einsum("nbd,nbd->nb", tried, tried), axis=1, kind="stable")[:, :beam]
            codes = np.take_along_axis(lengthened, order[:, :, None], 1)
            left = np.take_along_axis(tried, order[:, :, None], 1)
        return codes[:, 0]

    def decode(self, codes: Codes) -> Rows:
        """The sums of the centroids of codes, shape ``(N, l)`` with ``l <= L``: the first ``l`` levels; ``(N, d)``."""
        sums = np.zeros((len(codes), self.levels[0].shape[1]))
        for level in range(codes.shape[1]):
            sums += self.levels[level][codes[:, level]]
        return sums


def fit_codebooks(
    vectors: Tensor,
    *,
    levels: int = 3,
    codes: int = 256,
    iterations: int = 25,
    sample: int = 65_536,
    seed: int = 0,
    progress: ProgressFn | None = None,
) -> Codebooks:
    """Residual k-means: each level's centroids are the k-means of what the levels before it leave of the vectors.

    The result is the same for any number of threads.

    Args:
        vectors: Shape ``(N, d)``, finite, at least one.
        levels: L.
        codes: Centroids of a level.
        iterations: Of each k-means, at most.
        sample: At most so many vectors are trained on; of more, so many are drawn.
        seed: Decides which, and how each k-means begins.
        progress: Called with (levels done, L).

    Returns:
        The centroids.

    Raises:
        ValueError: If there are no vectors, or a number is below 1 (the seed: below 0).

    Example:
        >>> import torch
        >>> books = fit_codebooks(torch.tensor([[0.0], [1.0], [10.0], [11.0]]), levels=2, codes=2)
        >>> books.encode(torch.tensor([[0.9], [10.1]])).shape
        (2, 2)
    """
    rows = _rows("fit_codebooks", vectors)
    numbers = {"levels": levels, "codes": codes, "iterations": iterations, "sample": sample, "seed": seed + 1}
    for name, number in ({"vectors": len(rows)} | numbers).items():
        if number < 1:
            least = 0 if name == "seed" else 1
            shown = number - 1 if name == "seed" else number
            raise ValueError(f"fit_codebooks: {name} must be at least {least}, but is {shown}")
    if len(rows) > sample:
        rows = rows[np.sort(np.random.default_rng(seed).permutation(len(rows))[:sample])]
    found: list[Rows] = []
    for level in range(levels):
        if progress is not None:
            progress(level, levels)
        found.append(kmeans(rows, codes, iterations=iterations, seed=seed + level))
        rows = rows - found[-1][nearest(rows, found[-1])[:, 0]]
    if progress is not None:
        progress(levels, levels)
    return Codebooks(found)


def last_codes(codes: Codes, *, first: int = 0) -> Codes:
    """One more code for each row, which tells rows with equal codes apart (TIGER, Rajput et al. 2023).

    Args:
        codes: Shape ``(N, L)``.
        first: The code of the first of several equal rows; a row that has no equal has 0.

    Returns:
        Shape ``(N,)``: rows with equal codes are numbered in their order.

    Example:
        >>> last_codes(np.array([[5, 1], [5, 2], [5, 1]])).tolist()
        [0, 0, 1]
        >>> last_codes(np.array([[5, 1], [5, 2], [5, 1]]), first=1).tolist()
        [1, 0, 2]
    """
    _, group, sizes = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
    group = group.reshape(-1)
    order = np.argsort(group, kind="stable")
    begins = np.cumsum(sizes) - sizes
    place = np.empty(len(codes), np.int64)
    place[order] = np.arange(len(codes)) - begins[group[order]]
    return np.where(sizes[group] > 1, place + first, 0)


def _rows(where: str, vectors: Tensor) -> Rows:
    if vectors.dim() != 2 or not vectors.is_floating_point():
        raise ValueError(
            f"{where}: vectors must be a matrix of floating-point numbers, but are {vectors.shape}"
        )
    rows: Rows = vectors.detach().cpu().double().numpy()
    if not np.isfinite(rows).all():
        raise ValueError(
            f"{where}: vectors must be finite, but row {int(np.isfinite(rows).all(1).argmin())} is not"
        )
    return rows
