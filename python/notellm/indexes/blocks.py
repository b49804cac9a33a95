"""Pools that come in pieces, such as the shards of a folder, and samples of them."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Block", "Vectors", "as_tensor", "draw", "rows_of"]

Block = tuple[Sequence[str] | None, Tensor | NDArray[Any]]
"""Ids, or None, and as many rows, shape ``(n, d)``: a piece of a pool, such as one shard of a folder."""


class Takes(Protocol):
    """Vectors of which some are taken, such as a folder of shards."""

    def take(self, rows: Tensor, /) -> Tensor:
        """Shape ``(n, d)``: the vectors of rows, shape ``(n,)`` int64."""


Vectors = Tensor | NDArray[Any] | Takes
"""The vectors of a pool, shape ``(N, d)``, in memory or not."""


def as_tensor(rows: Tensor | NDArray[Any]) -> Tensor:
    """Rows as a tensor; arrays are copied, for those mapped from files may be read-only."""
    return rows if isinstance(rows, Tensor) else torch.from_numpy(np.array(rows))


def rows_of(vectors: Vectors, rows: Tensor) -> Tensor:
    """Shape ``(n, d)``: some vectors of a pool, by rows of shape ``(n,)``.

    Raises:
        ValueError: If there are fewer vectors than the rows say.
    """
    if not isinstance(vectors, Tensor | np.ndarray):
        return vectors.take(rows)
    if len(rows) and int(rows.max()) >= len(vectors):
        raise ValueError(
            f"NeighbourIndex: there must be a vector for every row, but there are {len(vectors)}, and row "
            f"{int(rows.max())} is found"
        )
    return vectors[rows] if isinstance(vectors, Tensor) else torch.from_numpy(vectors[rows.numpy()])


def draw(blocks: Iterable[Block], size: int, seed: int) -> tuple[Tensor, int]:
    """A uniform sample of the rows of a pool, in the pool's order; how it is cut into blocks changes nothing.

    Every row draws a number, and the rows with the smallest numbers are the sample.

    Args:
        blocks: Read once here, and to be read again by the caller.
        size: How many rows are drawn; all where there are fewer.
        seed: Of the numbers.

    Returns:
        The sample, shape ``(min(size, N), d)`` float32, and ``N``.

    Raises:
        ValueError: If blocks are there once only, there are none, or they do not fit together.

    Example:
        >>> pool = torch.arange(10.0)[:, None]
        >>> sample, count = draw([(None, pool[:4]), (None, pool[4:])], 3, seed=0)
        >>> sample.flatten().tolist() == draw([(None, pool)], 3, seed=0)[0].flatten().tolist(), count
        (True, 10)
    """
    if iter(blocks) is blocks:
        raise ValueError("NeighbourIndex: blocks must be readable twice, such as a list, but are a generator")
    for name, value in (("sample", size), ("seed", seed)):
        if value < 0:
            raise ValueError(f"NeighbourIndex: {name} must be at least 0, but is {value}")
    random = np.random.default_rng(seed)
    keys, kept, count = np.empty(0), None, 0
    for _, rows in blocks:
        keys = np.concatenate([keys, random.random(len(rows))])
        count += len(rows)
        best = np.sort(np.argsort(keys, kind="stable")[:size])  # places in what was kept, and in this block
        kept = _chosen(kept, as_tensor(rows), torch.from_numpy(best))
        keys = keys[best]
    if kept is None:
        raise ValueError("NeighbourIndex: there must be at least one block of rows, but there is none")
    return kept, count


def _chosen(kept: Tensor | None, rows: Tensor, best: Tensor) -> Tensor:
    """Rows by their places among those kept and, behind them, those of a block; float32."""
    if rows.dim() != 2 or (kept is not None and rows.shape[1] != kept.shape[1]):
        raise ValueError(
            f"NeighbourIndex: blocks must be matrices of one width, but one is {tuple(rows.shape)}"
            + ("" if kept is None else f", and those before it have {kept.shape[1]} columns")
        )
    old = 0 if kept is None else len(kept)
    new = rows[best[best >= old] - old].float()
    return new if kept is None else torch.cat([kept[best[best < old]], new])
