"""Exact ranks and neighbours in embeddings of several shards; the documented functions are in `notellm.retrieval`."""

from collections.abc import Iterator

import torch
from torch import Tensor

from notellm._core import retrieval as _core
from notellm.pools.embeddings import Embeddings
from notellm.progress import ProgressFn


def neighbours(
    queries: Tensor,
    pool: Embeddings,
    k: int,
    exclude: Tensor | None,
    on_device: bool | None,
    progress: ProgressFn | None,
) -> tuple[Tensor, Tensor]:
    """See `notellm.retrieval.neighbours`: the best of all are among the best of each shard.

    Equal scores keep the order of the shards, which is that of the pool.
    """
    _check_within("neighbours", "exclude", exclude, len(pool), allows_none=True)
    best: tuple[Tensor, Tensor] | None = None
    for first, rows in _blocks(pool):
        own = _core.neighbours(
            queries,
            rows.to(queries.device),
            k,
            None if exclude is None else _local(exclude, first, len(rows)),
            on_device=on_device,
            progress=_of_block(progress, len(queries), first, len(pool)),
        )
        scores, indices = own[0], torch.where(own[1] >= 0, own[1] + first, -1)
        if best is not None:
            scores, indices = torch.cat([best[0], scores], 1), torch.cat([best[1], indices], 1)  # (Q, 2k)
        order = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
        best = scores.gather(1, order), indices.gather(1, order)
    assert best is not None  # there is always a shard
    return best


def target_ranks(
    queries: Tensor,
    pool: Embeddings,
    targets: Tensor,
    exclude: Tensor | None,
    on_device: bool | None,
    progress: ProgressFn | None,
) -> tuple[Tensor, Tensor]:
    """See `notellm.retrieval.target_ranks`: counts of notes add up over the shards."""
    targets, exclude = targets.cpu(), None if exclude is None else exclude.cpu()
    if targets.dim() == 2 and targets.dtype == torch.int64 and len(targets) == len(queries):
        return _ranks_of_several(queries, pool, targets, exclude, on_device, progress)
    _check_targets(targets, exclude, len(queries), len(pool))
    aims = pool.take(targets).to(queries.device)  # (Q, d)
    counts = torch.zeros(2, len(queries), dtype=torch.int64)  # greater, equal
    for first, rows in _blocks(pool):
        found = _core.ranks_in_part(
            queries,
            aims,
            rows.to(queries.device),
            _left_out(targets, exclude, first, len(rows)),
            on_device=on_device,
            progress=_of_block(progress, len(queries), first, len(pool)),
        )
        counts += torch.stack(found)
    return counts[0], counts[1]


def _ranks_of_several(
    queries: Tensor,
    pool: Embeddings,
    targets: Tensor,
    exclude: Tensor | None,
    on_device: bool | None,
    progress: ProgressFn | None,
) -> tuple[Tensor, Tensor]:
    """Several targets of a query, shape ``(Q, T)`` with -1 for none, are those of as many equal queries."""
    is_there = targets != -1
    query = is_there.nonzero()[:, 0]
    own = None if exclude is None else exclude[query]
    found = target_ranks(queries[query.to(queries.device)], pool, targets[is_there], own, on_device, progress)
    greater, equal = (torch.full_like(targets, -1).masked_scatter_(is_there, counts) for counts in found)
    return greater, equal


def _blocks(pool: Embeddings) -> Iterator[tuple[int, Tensor]]:
    """Pieces of the pool, shape ``(n, d)``, each with the number of its first row."""
    first = 0
    for _, rows in pool.blocks:
        yield first, rows
        first += len(rows)


def _left_out(targets: Tensor, exclude: Tensor | None, first: int, rows: int) -> Tensor:
    """What is not counted in a shard, shape ``(Q, E + 1)``: exclusions, and the targets, which are in one of them."""
    both = [targets.unsqueeze(1)] + ([] if exclude is None else [exclude.reshape(len(targets), -1)])
    return _local(torch.cat(both, 1), first, rows)


def _local(indices: Tensor, first: int, rows: int) -> Tensor:
    """Indices of the pool as indices of a shard; -1 for those of other shards."""
    is_own = (indices >= first) & (indices < first + rows)
    return torch.where(is_own, indices - first, -1)


def _check_targets(targets: Tensor, exclude: Tensor | None, queries: int, pool: int) -> None:
    """What the core cannot check shard by shard, in its words."""
    where = "target_ranks"
    if targets.dtype != torch.int64 or targets.shape != (queries,):
        raise ValueError(
            f"{where}: targets must be int64 of shape ({queries}), but is {targets.dtype} {tuple(targets.shape)}"
        )
    _check_within(where, "targets", targets, pool)
    _check_within(where, "exclude", exclude, pool, allows_none=True)
    if exclude is None:
        return
    if exclude.dtype != torch.int64 or exclude.dim() not in (1, 2) or len(exclude) != queries:
        raise ValueError(
            f"{where}: exclude must be int64 of shape (Q) or (Q, E) with Q = {queries}, but is {exclude.dtype} "
            f"{tuple(exclude.shape)}"
        )
    is_out = (exclude.reshape(queries, -1) == targets.unsqueeze(1)).any(1)
    if bool(is_out.any()):
        query = int(is_out.int().argmax())
        raise ValueError(
            f"{where}: the target of query {query} must not be excluded, but note {int(targets[query])} is"
        )


def _check_within(
    where: str, name: str, indices: Tensor | None, size: int, *, allows_none: bool = False
) -> None:
    """Refuses an index that is in no shard; the core sees only those of its shard."""
    if indices is None or indices.dtype != torch.int64:  # the core refuses another dtype
        return
    wrong = indices[(indices < (-1 if allows_none else 0)) | (indices >= size)]
    if wrong.numel():
        least = " or -1" if allows_none else ""
        raise ValueError(
            f"{where}: {name} must be in [0, {size}){least}, but one is {int(wrong.flatten()[0])}"
        )


def _of_block(progress: ProgressFn | None, queries: int, first: int, pool: int) -> ProgressFn:
    """The progress of a piece as part of the whole."""

    def report(done: int, _: int) -> None:
        if progress is not None:
            progress(queries * first + done, queries * pool)

    return report
