"""Every metric of ranks at every cut-off, for all queries and for parts of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from notellm.evaluation.intervals import Bootstrap, Values
from notellm.metrics import Interval, Ties, gains_at, hits_at, reciprocal_ranks
from notellm.retrieval import Ranks


@dataclass(frozen=True)
class RankRow:
    """What some queries' ranks come to; fractions in 0..1 with 95 % bootstrap intervals over the queries.

    Attributes:
        split: By what queries were divided, such as ``"exposure"``; ``"all"`` for all of them.
        part: Which of them these are, such as ``"low"``.
        queries: How many these are.
        recall: By cut-off: the share of a query's targets among the first ``k``.
        hit_rate: By cut-off: whether any target of a query is; equal to ``recall`` if each query has one target.
        ndcg: By cut-off: discounted gains of all targets, as a share of the best that any order could have.
        mrr: 1 / rank of a query's best target.
        tied: The share of targets that tie with other notes: on these, the answer to ``ties`` decides.
    """

    split: str
    part: str
    queries: int
    recall: dict[int, Interval]
    hit_rate: dict[int, Interval]
    ndcg: dict[int, Interval]
    mrr: Interval
    tied: float


class _PerQuery(NamedTuple):
    """Values of each query: ``(Q, K)`` three times, ``(Q,)`` twice."""

    recall: Values
    hit: Values
    ndcg: Values
    reciprocal: Values
    tied: Values


def evaluate_ranks(
    ranks: Ranks,
    ks: Sequence[int],
    *,
    splits: Mapping[str, Sequence[object]] | None = None,
    ties: Ties = "mean",
    bootstrap: Bootstrap | None = None,
) -> list[RankRow]:
    """Recall, hit rate, NDCG and reciprocal ranks at all cut-offs, for all queries and for each part of each split.

    Args:
        ranks: Counts from `notellm.target_ranks`, shape ``(Q,)``, or ``(Q, T)`` with -1 where a query has fewer than
            ``T`` targets. A query without any target is left out.
        ks: ``K`` cut-offs, each at least 1.
        splits: By name, the part that each query is in, shape ``(Q,)``: a category, ``"cold"`` or ``"warm"``, or what
            `shares` says of an exposure or a length. A query whose part is None is in none.
        ties: Where a target stands among notes of its score. With several targets of a query and ``"mean"``, the hit
            rate is that of its most likely target.
        bootstrap: How intervals are computed.

    Returns:
        A row for all queries, then one for each part, in the order in which parts first occur.

    Raises:
        ValueError: If no query has a target, a split has another length, or a cut-off is below 1.

    Example:
        >>> ranks = Ranks(greater=torch.tensor([0, 2, 30]), equal=torch.tensor([0, 0, 1]))
        >>> rows = evaluate_ranks(ranks, [1, 10], splits={"note": ["warm", "warm", "cold"]})
        >>> [(row.split, row.part, row.queries, round(row.ndcg[10].value, 2)) for row in rows]
        [('all', 'all', 3, 0.5), ('note', 'warm', 2, 0.75), ('note', 'cold', 1, 0.0)]
    """
    greater, equal = (np.asarray(counts, dtype=np.int64) for counts in ranks)
    if greater.ndim == 1:
        greater, equal = greater[:, None], equal[:, None]
    has_target: npt.NDArray[np.bool_] = np.any(greater >= 0, axis=1)
    if not has_target.any():
        raise ValueError("evaluate_ranks: ranks must have a query with a target, but have none")
    values = _per_query(greater[has_target], equal[has_target], ks, ties)
    bootstrap = bootstrap or Bootstrap()
    rows = [_row("all", "all", values, np.ones(has_target.sum(), np.bool_), ks, bootstrap)]
    for split, parts in (splits or {}).items():
        if len(parts) != len(greater):
            raise ValueError(
                f"evaluate_ranks: {split} must name a part for each of {len(greater)} queries, but has {len(parts)}"
            )
        own = [part for part, is_there in zip(parts, has_target, strict=True) if is_there]
        for part in dict.fromkeys(part for part in own if part is not None):
            chosen = np.array([other == part for other in own])
            rows.append(_row(split, str(part), values, chosen, ks, bootstrap))
    return rows


def shares(values: npt.ArrayLike, of: npt.ArrayLike, ends: Mapping[str, float]) -> list[str]:
    """Names the part of a pool that each value lies in, such as the least exposed 30 %.

    Args:
        values: Shape ``(Q,)``, for example the exposure of each query's target, or the length of its text.
        of: Shape ``(N,)``, the same of all notes of the pool.
        ends: Names of the parts, ascending, and the share of the pool at which each ends; the last one's is 1.

    Returns:
        A name for each value. Equal values are in one part: that of their middle one.

    Raises:
        ValueError: If the pool is empty, or the shares do not ascend to 1.

    Example:
        >>> shares([3, 90], [1, 2, 3, 4, 90], {"short": 0.5, "long": 1.0})
        ['short', 'long']
    """
    edges = np.array(list(ends.values()))
    if not len(edges) or edges[0] <= 0 or (np.diff(edges) <= 0).any() or edges[-1] != 1:
        raise ValueError(f"shares: ends must ascend from above 0 to 1, but are {edges.tolist()}")
    pool = np.sort(np.asarray(of, dtype=np.float64))
    if not len(pool):
        raise ValueError("shares: the pool must not be empty, but is")
    wanted = np.asarray(values, dtype=np.float64)
    twice = np.searchsorted(pool, wanted, "left") + np.searchsorted(pool, wanted, "right")
    names = list(ends)
    return [names[place] for place in np.searchsorted(edges, twice / (2 * len(pool)))]


def to_table(rows: Sequence[RankRow]) -> pa.Table:
    """The rows as an Arrow table: one line for each metric and cut-off (0 for metrics without one).

    Columns: split, part, queries, metric, k, value, low, high. The share of ties has no interval.
    """
    lines: list[dict[str, object]] = []
    for row in rows:
        found = [
            ("recall", row.recall),
            ("hit_rate", row.hit_rate),
            ("ndcg", row.ndcg),
            ("mrr", {0: row.mrr}),
        ]
        about = {"split": row.split, "part": row.part, "queries": row.queries}
        for metric, by_cutoff in found:
            lines += [about | {"metric": metric, "k": k} | each._asdict() for k, each in by_cutoff.items()]
        lines.append(about | {"metric": "tied", "k": 0, "value": row.tied, "low": None, "high": None})
    return pa.Table.from_pylist(lines)


def _per_query(
    greater: npt.NDArray[np.int64], equal: npt.NDArray[np.int64], ks: Sequence[int], ties: Ties
) -> _PerQuery:
    is_there = greater >= 0  # (Q, T)
    targets = Ranks(torch.from_numpy(greater[is_there]), torch.from_numpy(equal[is_there]))
    of_query, count = np.nonzero(is_there)[0], is_there.sum(axis=1)
    first = np.flatnonzero(np.diff(of_query, prepend=-1))  # of each query's targets
    hits, gains = hits_at(targets, ks, ties=ties), gains_at(targets, ks, ties=ties)
    best = np.cumsum(1 / np.log2(np.arange(2, count.max() + 2)))
    ideal = best[np.minimum(count[:, None], np.asarray(ks)[None, :]) - 1]  # (Q, K)
    return _PerQuery(
        recall=np.add.reduceat(hits, first) / count[:, None],
        hit=np.maximum.reduceat(hits, first),
        ndcg=np.add.reduceat(gains, first) / ideal,
        reciprocal=np.maximum.reduceat(reciprocal_ranks(targets, ties=ties), first),
        tied=np.add.reduceat((equal[is_there] > 0).astype(np.float64), first) / count,
    )


def _row(
    split: str,
    part: str,
    values: _PerQuery,
    chosen: npt.NDArray[np.bool_],
    ks: Sequence[int],
    bootstrap: Bootstrap,
) -> RankRow:
    def at_cutoffs(of_queries: Values) -> dict[int, Interval]:
        return {int(k): bootstrap.mean(of_queries[chosen, column]) for column, k in enumerate(ks)}

    return RankRow(
        split,
        part,
        int(chosen.sum()),
        at_cutoffs(values.recall),
        at_cutoffs(values.hit),
        at_cutoffs(values.ndcg),
        bootstrap.mean(values.reciprocal[chosen]),
        float(values.tied[chosen].mean()),
    )
