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
from notellm.indexes.found import Neighbours
from notellm.indexes.index import NeighbourIndex
from notellm.pools import search
from notellm.pools.embeddings import Embeddings
from notellm.processes import Processes
from notellm.progress import ProgressFn

__all__ = ["NeighbourIndex", "Neighbours", "Ranks", "neighbours", "ranks_in_part", "target_ranks"]


class Ranks(NamedTuple):
    """The counts from which each query's target gets its rank in the pool.

    Attributes:
        greater: Shape ``(Q,)`` (or ``(Q, T)``) int64, notes that score higher than the target.
        equal: The same shape, other notes with exactly the target's score.
    """

    greater: Tensor
    equal: Tensor


def target_ranks(
    queries: Tensor,
    pool: Tensor | Embeddings,
    targets: Tensor,
    *,
    exclude: Tensor | None = None,
    on_device: bool | None = None,
    processes: Processes | None = None,
    progress: ProgressFn | None = None,
) -> Ranks:
    """Ranks by counting: how many notes of the pool score higher than each query's target.

    Matrix products only filter; notes within their rounding bound of the target's score are compared by an
    exact sum. Memory grows with ``Q + N``, not with ``Q * N``. On processors with AMX the products are of bf16 tiles,
    whose rounding bound counts, too: the result is the same, and several times as fast.

    Args:
        queries: Shape ``(Q, d)``, floating point, on any device.
        pool: Shape ``(N, d)``, of the same dtype and device; or `Embeddings`, of which one shard at a time is copied,
            to the queries' device.
        targets: Shape ``(Q,)`` int64, the pool index of each query's ground truth; or ``(Q, T)``, several of each
            query, -1 where it has fewer. The others of its targets then count as notes like any other.
        exclude: Shape ``(Q,)`` or ``(Q, E)`` int64, pool indices to leave out for each query (for example the
            query itself); -1 for none. Excluding a target is an error.
        on_device: Whether scores stay on the vectors' device and are compared there, by operations of that device;
            by default on all but the CPU. The result is the same to the bit.
        processes: Those that share the shards of `Embeddings`, usually ``Processes.current()`` under ``torchrun``. All
            of them must make the same call; each goes through some shards and gets the counts of all. Not for a tensor.
        progress: Called with ``(query-note pairs done, Q * N)``, where a query counts once for each of several
            targets; one of several processes says how far in the pool it is.

    Returns:
        Counts on the CPU in the shape of ``targets``; neither includes the target itself. -1 where there is none.

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
        sharing = processes or Processes()
        return Ranks(*search.target_ranks(queries, pool, targets, exclude, on_device, progress, sharing))
    _check_alone("target_ranks", processes)
    return Ranks(*_core.target_ranks(queries, pool, targets, exclude, on_device=on_device, progress=progress))


def ranks_in_part(
    queries: Tensor,
    targets: Tensor,
    part: Tensor,
    *,
    exclude: Tensor | None = None,
    on_device: bool | None = None,
    progress: ProgressFn | None = None,
) -> Ranks:
    """`target_ranks` for a pool that comes in parts, for example the shards of a pool that memory cannot hold.

    Added up over all parts, the counts are the ranks in the whole pool.

    Args:
        queries: Shape ``(Q, d)``, floating point, on any device.
        targets: Shape ``(Q, d)``, the vectors of the queries' targets, of the same dtype and device.
        part: Shape ``(n, d)``, some notes of the pool.
        exclude: Shape ``(Q,)`` or ``(Q, E)`` int64, rows of ``part`` to leave out for each query; -1 for none. The
            target itself must be left out of the part that has it: it would count as a note that ties.
        on_device: Whether scores stay on the vectors' device and are compared there, by operations of that device;
            by default on all but the CPU. The result is the same to the bit.
        progress: Called with ``(query-note pairs done, Q * n)``.

    Returns:
        Counts on the CPU, shape ``(Q,)``.

    Raises:
        ValueError: If shapes, dtypes or indices do not fit, or a value is not finite.

    Example:
        >>> import torch
        >>> pool = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.8, 0.6], [0.0, 1.0]])
        >>> first = ranks_in_part(pool[:1], pool[2:3], pool[:2], exclude=torch.tensor([0]))
        >>> second = ranks_in_part(pool[:1], pool[2:3], pool[2:], exclude=torch.tensor([0]))
        >>> first.equal + second.equal  # as target_ranks finds them
        tensor([1])

    Shapes: ``Q`` queries, ``n`` notes of the part, ``d`` embedding width.
    """
    return Ranks(
        *_core.ranks_in_part(queries, targets, part, exclude, on_device=on_device, progress=progress)
    )


def neighbours(
    queries: Tensor,
    pool: Tensor | Embeddings,
    k: int,
    *,
    exclude: Tensor | None = None,
    index: str | None = None,
    on_device: bool | None = None,
    processes: Processes | None = None,
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
        on_device: Whether scores stay on the vectors' device and are compared there, by operations of that device;
            by default on all but the CPU. The result is the same to the bit.
        processes: Those that share the shards of `Embeddings` in an exact search, as in `target_ranks`.
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
        sharing = processes or Processes()
        return Neighbours(*search.neighbours(queries, pool, k, exclude, on_device, progress, sharing))
    _check_alone("neighbours", processes)
    if isinstance(pool, Embeddings):
        pool = pool.rows(0, len(pool)).to(queries.device)
    if index is not None:
        return NeighbourIndex(pool, index).search(queries, k, exclude=exclude)
    return Neighbours(*_core.neighbours(queries, pool, k, exclude, on_device=on_device, progress=progress))


def _check_alone(where: str, processes: Processes | None) -> None:
    """Only shards can be shared."""
    if processes is not None and processes.count > 1:
        raise ValueError(
            f"{where}: several processes must share a pool of Embeddings in an exact search, but there are "
            f"{processes.count} and the pool is one tensor; try Embeddings.open, or leave processes out"
        )
