"""Ranks and neighbours in a pool of embeddings, exact unless an approximate index is asked for.

Scores are inner products, which is the cosine for normalised embeddings. Each is one fixed-order sum in
float64 of the vectors as given, so equal vectors tie and neither batch sizes nor threads change a result.

A pool is a tensor, or `Embeddings` in a folder of shards. The latter are gone through shard by shard, with the same
result to the bit: scores do not depend on the rest of the pool, counts add up, and the best of all are among the best
of each shard.
"""

from typing import NamedTuple

from torch import Tensor

from notellm._core import retrieval as _core
from notellm.pools import search
from notellm.pools.embeddings import Embeddings
from notellm.progress import ProgressFn

__all__ = ["NeighbourIndex", "Neighbours", "Ranks", "neighbours", "target_ranks"]


class Ranks(NamedTuple):
    """The counts from which each query's target gets its rank in the pool.

    Attributes:
        greater: Shape ``(Q,)`` int64, notes that score higher than the target.
        equal: Shape ``(Q,)`` int64, other notes with exactly the target's score.
    """

    greater: Tensor
    equal: Tensor


class Neighbours(NamedTuple):
    """The best notes for each query, best first; ties are broken by pool index.

    Attributes:
        scores: Shape ``(Q, k)`` float64; ``-inf`` where the pool has no more notes.
        indices: Shape ``(Q, k)`` int64; -1 where the pool has no more notes.
    """

    scores: Tensor
    indices: Tensor


def target_ranks(
    queries: Tensor,
    pool: Tensor | Embeddings,
    targets: Tensor,
    *,
    exclude: Tensor | None = None,
    progress: ProgressFn | None = None,
) -> Ranks:
    """Ranks by counting: how many notes of the pool score higher than each query's target.

    Matrix products only filter; notes within their rounding bound of the target's score are compared by an
    exact sum. Memory grows with ``Q + N``, not with ``Q * N``.

    Args:
        queries: Shape ``(Q, d)``, floating point, on any device.
        pool: Shape ``(N, d)``, of the same dtype and device; or `Embeddings`, of which one shard at a time is copied,
            to the queries' device.
        targets: Shape ``(Q,)`` int64, the pool index of each query's ground truth.
        exclude: Shape ``(Q,)`` or ``(Q, E)`` int64, pool indices to leave out for each query (for example the
            query itself); -1 for none. Excluding a target is an error.
        progress: Called with ``(query-note pairs done, Q * N)``.

    Returns:
        Counts on the CPU; neither includes the target itself.

    Raises:
        ValueError: If shapes, dtypes or indices do not fit, a value is not finite, or a target is excluded.
        DataError: If a shard is missing or damaged.

    Example:
        >>> import torch
        >>> pool = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.8, 0.6], [0.0, 1.0]])
        >>> target_ranks(pool[:1], pool, torch.tensor([2]), exclude=torch.tensor([0]))
        Ranks(greater=tensor([0]), equal=tensor([1]))

    Shapes: ``Q`` queries, ``N`` notes, ``d`` embedding width.
    """
    if isinstance(pool, Embeddings):
        return Ranks(*search.target_ranks(queries, pool, targets, exclude, progress))
    return Ranks(*_core.target_ranks(queries, pool, targets, exclude, progress=progress))


class NeighbourIndex:
    """A FAISS index over a pool: faster than exact search, but some neighbours are missed.

    FAISS proposes candidates; they are then scored and ordered exactly as `neighbours` does without an index.

    Args:
        pool: Shape ``(N, d)``, floating point. Do not change it while the index is used.
        factory: FAISS description: ``"Flat"`` (exact up to float32 rounding), ``"IVF64,Flat"`` (64 clusters),
            ``"HNSW32"`` (a graph with 32 links per note), ...
        parameters: FAISS search parameters, for example ``"nprobe=8"`` (number of clusters searched) or
            ``"efSearch=64"``.

    Raises:
        NotSupportedError: If the build has no FAISS.
        ValueError: If FAISS refuses the description, the parameters or the pool.
    """

    def __init__(self, pool: Tensor, factory: str, *, parameters: str = "") -> None:
        self.factory = factory
        self._index = _core.NeighbourIndex(pool, factory, parameters)

    def __len__(self) -> int:
        return len(self._index)

    def search(self, queries: Tensor, k: int, *, exclude: Tensor | None = None) -> Neighbours:
        """The neighbours the index finds; arguments, result and errors as in `neighbours`."""
        return Neighbours(*self._index.search(queries, k, exclude))


def neighbours(
    queries: Tensor,
    pool: Tensor | Embeddings,
    k: int,
    *,
    exclude: Tensor | None = None,
    index: str | None = None,
    progress: ProgressFn | None = None,
) -> Neighbours:
    """The ``k`` notes of the pool with the highest scores for each query.

    Args:
        queries: Shape ``(Q, d)``, floating point.
        pool: Shape ``(N, d)``, of the same dtype and device; or `Embeddings`, whose shards are used where they are
            mapped, or copied one at a time to the queries' device.
        k: Neighbours of each query; may exceed ``N``.
        exclude: Shape ``(Q,)`` or ``(Q, E)`` int64, pool indices to leave out for each query; -1 for none. If
            the queries are notes of the pool, pass their own indices.
        index: FAISS description for an approximate search (see `NeighbourIndex`, which can be searched more
            than once); None searches exactly. An index needs all vectors in memory, those of all shards, too.
        progress: Called with ``(query-note pairs done, Q * N)`` by the exact search.

    Returns:
        Scores and pool indices, best first; ties are broken by pool index.

    Raises:
        ValueError: If shapes, dtypes or indices do not fit or a value is not finite.
        NotSupportedError: If an index is asked for and the build has no FAISS.
        DataError: If a shard is missing or damaged.

    Example:
        >>> import torch
        >>> pool = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]], dtype=torch.float64)
        >>> neighbours(pool, pool, 1, exclude=torch.arange(3)).indices
        tensor([[1],
                [2],
                [1]])

    Shapes: ``Q`` queries, ``N`` notes, ``d`` embedding width.
    """
    if isinstance(pool, Embeddings) and index is None:
        return Neighbours(*search.neighbours(queries, pool, k, exclude, progress))
    if isinstance(pool, Embeddings):
        pool = pool.rows(0, len(pool)).to(queries.device)
    if index is not None:
        return NeighbourIndex(pool, index).search(queries, k, exclude=exclude)
    return Neighbours(*_core.neighbours(queries, pool, k, exclude, progress=progress))
