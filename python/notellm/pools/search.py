"""Exact ranks and neighbours in embeddings of several shards; the documented functions are in `notellm.retrieval`.

Several processes take consecutive shards each, as many as the others or one less. What they find is joined in the
order of their ranks, which is that of the shards, so it is what one process finds.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from notellm._core import retrieval as _core
from notellm.pools.embeddings import Embeddings
from notellm.processes import Processes
from notellm.progress import ProgressFn, part_of


def neighbours(
    queries: Tensor,
    pool: Embeddings,
    k: int,
    exclude: Tensor | None,
    on_device: bool | None,
    progress: ProgressFn | None,
    processes: Processes,
) -> tuple[Tensor, Tensor]:
    """See `notellm.retrieval.neighbours`: the best of all are among the best of each shard.

    Equal scores keep the order of the shards, which is that of the pool.
    """
    _check_within("neighbours", "exclude", exclude, len(pool), allows_none=True)
    best = None
    for first, rows in _blocks(pool, processes):
        own = _core.neighbours(
            queries,
            rows.to(queries.device),
            k,
            None if exclude is None else _local(exclude, first, len(rows)),
            on_device=on_device,
            progress=part_of(progress, len(queries) * first, len(queries) * len(pool)),
        )
        found = own[0], torch.where(own[1] >= 0, own[1] + first, -1)
        best = found if best is None else _best([best, found], k)
    assert best is not None  # there is always a block
    if processes.count > 1:
        scores, indices = (processes.joined(part.to(queries.device)) for part in best)
        best = _best(list(zip(scores, indices, strict=True)), k)
    return best[0].cpu(), best[1].cpu()


def _best(found: Sequence[tuple[Tensor, Tensor]], k: int) -> tuple[Tensor, Tensor]:
    """The best of what was found in several parts of a pool, scores and indices of shape ``(Q, k)`` each."""
    scores, indices = torch.cat([part[0] for part in found], 1), torch.cat([part[1] for part in found], 1)
    order = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
    return scores.gather(1, order), indices.gather(1, order)


def target_ranks(
    queries: Tensor,
    pool: Embeddings,
    targets: Tensor,
    exclude: Tensor | None,
    on_device: bool | None,
    progress: ProgressFn | None,
    processes: Processes,
) -> tuple[Tensor, Tensor]:
    """See `notellm.retrieval.target_ranks`: counts of notes add up over the shards."""
    targets, exclude = targets.cpu(), None if exclude is None else exclude.cpu()
    _check_targets(targets, exclude, len(queries), len(pool))
    is_there = targets != -1
    if targets.dim() == 2:  # several targets of a query are those of as many equal queries
        query = is_there.nonzero()[:, 0]
        queries = queries[query.to(queries.device)]
        exclude = None if exclude is None else exclude[query]
    sought = targets[is_there]  # (M), one for each query
    aims = pool.take(sought).to(queries.device)  # (M, d)
    counts = torch.zeros(2, len(queries), dtype=torch.int64)  # greater, equal
    for first, rows in _blocks(pool, processes):
        found = _core.ranks_in_part(
            queries,
            aims,
            rows.to(queries.device),
            _left_out(sought, exclude, first, len(rows)),
            on_device=on_device,
            progress=part_of(progress, len(queries) * first, len(queries) * len(pool)),
        )
        counts += torch.stack(found)
    counts = counts.to(queries.device)
    processes.sum_(counts)
    greater, equal = (torch.full_like(targets, -1).masked_scatter_(is_there, part) for part in counts.cpu())
    return greater, equal


def _blocks(pool: Embeddings, processes: Processes) -> Iterator[tuple[int, Tensor]]:
    """Pieces of this process's shards, shape ``(n, d)``, each with the number of its first row; at least one."""
    begin, end = processes.share(len(pool.shards))
    if begin == end:
        yield 0, pool.rows(0, 0)  # there are more processes than shards
    for shard in pool.shards[begin:end]:
        first = shard.first
        for _, rows in shard.blocks():
            yield first, rows
            first += len(rows)


def _left_out(targets: Tensor, exclude: Tensor | None, first: int, rows: int) -> Tensor:
    """What is not counted in a shard, shape ``(Q, E + 1)``: exclusions, and the targets, which are in one of them."""
    both = [targets] if exclude is None else [targets, exclude]
    return _local(torch.cat([_columns(part) for part in both], 1), first, rows)


def _columns(indices: Tensor) -> Tensor:
    """Indices for each query, of shape ``(Q)`` or ``(Q, E)``, as the latter."""
    return indices.unsqueeze(1) if indices.dim() == 1 else indices


def _local(indices: Tensor, first: int, rows: int) -> Tensor:
    """Indices of the pool as indices of a shard; -1 for those of other shards."""
    is_own = (indices >= first) & (indices < first + rows)
    return torch.where(is_own, indices - first, -1)


def _check_targets(targets: Tensor, exclude: Tensor | None, queries: int, pool: int) -> None:
    """What the core cannot check shard by shard, in its words."""
    where = "target_ranks"
    if targets.dtype != torch.int64 or targets.dim() not in (1, 2) or len(targets) != queries:
        raise ValueError(
            f"{where}: targets must be int64 of shape (Q) or (Q, T) with Q = {queries}, but is {targets.dtype} "
            f"{tuple(targets.shape)}"
        )
    if exclude is not None and (
        exclude.dtype != torch.int64 or exclude.dim() not in (1, 2) or len(exclude) != queries
    ):
        raise ValueError(
            f"{where}: exclude must be int64 of shape (Q) or (Q, E) with Q = {queries}, but is {exclude.dtype} "
            f"{tuple(exclude.shape)}"
        )
    _check_within(where, "exclude", exclude, pool, allows_none=True)
    are_several = targets.dim() == 2
    rows = _columns(targets)
    if place := _first((rows >= pool) | (rows < (-1 if are_several else 0))):
        raise ValueError(
            f"{where}: targets must be in [0, {pool}){' or -1' if are_several else ''}, but that of "
            f"{_named(place, are_several)} is {int(rows[place])}"
        )
    if exclude is None:
        return
    is_out = [(_columns(exclude) == some.unsqueeze(1)).any(1) & (some >= 0) for some in rows.unbind(1)]
    if place := _first(torch.stack(is_out, 1) if is_out else rows):
        raise ValueError(
            f"{where}: the target of {_named(place, are_several)} must not be excluded, but note "
            f"{int(rows[place])} is"
        )


def _first(holds: Tensor) -> tuple[int, int] | None:
    """The first row and column where something holds."""
    places = holds.nonzero()
    return (int(places[0, 0]), int(places[0, 1])) if len(places) else None


def _named(place: tuple[int, int], are_several: bool) -> str:
    query, column = place
    return f"query {query} in column {column}" if are_several else f"query {query}"


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
