"""Every metric of ranks at every cut-off, for all queries and for parts of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from notellm.evaluation.intervals import Bootstrap
from notellm.evaluation.means import Means, Over
from notellm.evaluation.query_values import QueryValues, query_values, with_target
from notellm.metrics import Interval, Ties
from notellm.retrieval import Ranks


@dataclass(frozen=True)
class RankRow:
    """What some queries' ranks come to; fractions in 0..1 with 95 % bootstrap intervals.

    Attributes:
        split: By what queries were divided, such as ``"exposure"``; ``"all"`` for all of them.
        part: Which of them these are, such as ``"low"``.
        queries: How many these are.
        recall: By cut-off: the share of a query's targets among the first ``k``.
        hit_rate: By cut-off: whether any target of a query is; equal to ``recall`` if each query has one target.
        ndcg: By cut-off: discounted gains of all targets, as a share of the best that any order could have.
        map: By cut-off: average precision, divided by the number of a query's targets.
        mrr: 1 / rank of a query's best target.
        log_rank: Natural logarithm of that rank; less is better.
        tied: The share of targets that tie with other notes: on these, the answer to ``ties`` decides.
        over: What weighs the same in the means: ``"queries"``, or ``"targets"`` (the macro average).
    """

    split: str
    part: str
    queries: int
    recall: dict[int, Interval]
    hit_rate: dict[int, Interval]
    ndcg: dict[int, Interval]
    map: dict[int, Interval]
    mrr: Interval
    log_rank: Interval
    tied: float
    over: Over = "queries"


def evaluate_ranks(
    ranks: Ranks,
    ks: Sequence[int],
    *,
    targets: npt.ArrayLike | None = None,
    splits: Mapping[str, Sequence[object]] | None = None,
    ties: Ties = "mean",
    bootstrap: Bootstrap | None = None,
) -> list[RankRow]:
    """Recall, hit rate, NDCG, MAP and reciprocal ranks at all cut-offs, for all queries and each part of each split.

    With one target for each query, recall and hit rate are the same, and MAP@k is MRR@k.

    Args:
        ranks: Counts from `notellm.target_ranks`, shape ``(Q,)``, or ``(Q, T)`` with -1 where a query has fewer than
            ``T`` targets. A query without any target is left out.
        ks: ``K`` cut-offs, each at least 1.
        targets: Shape ``(Q,)``, a name or number for each query's target. Then intervals know that queries share
            targets, and each row is followed by one in which every target weighs the same.
        splits: By name, the part that each query is in, shape ``(Q,)``: a category, ``"cold"`` or ``"warm"``, or what
            `shares` says of an exposure or a length. A query whose part is None, or NaN, is in none.
        ties: Where a target stands among notes of its score. With several targets of a query and ``"mean"``, the hit
            rate is that of its most likely target.
        bootstrap: How intervals are computed.

    Returns:
        A row for all queries, then one for each part, in the order in which parts first occur.

    Raises:
        ValueError: If no query has a target, a split or ``targets`` has another length, or a cut-off is below 1.

    Example:
        >>> import torch
        >>> ranks = Ranks(greater=torch.tensor([0, 2, 30]), equal=torch.tensor([0, 0, 1]))
        >>> rows = evaluate_ranks(ranks, [1, 10], splits={"note": ["warm", "warm", "cold"]})
        >>> [(row.split, row.part, row.queries, round(row.ndcg[10].value, 2)) for row in rows]
        [('all', 'all', 3, 0.5), ('note', 'warm', 2, 0.75), ('note', 'cold', 1, 0.0)]
        >>> rows = evaluate_ranks(ranks, [1, 10], targets=["tea", "tea", "gcc"])
        >>> [(row.over, round(row.recall[1].value, 2)) for row in rows]
        [('queries', 0.33), ('targets', 0.25)]
    """
    has_target = with_target(ranks)
    if not has_target.any():
        raise ValueError("evaluate_ranks: ranks must have a query with a target, but have none")
    values = query_values(ranks, ks, ties)
    labels = None if targets is None else np.asarray(targets)
    if labels is not None and labels.shape != has_target.shape:
        raise ValueError(
            f"evaluate_ranks: targets must name one for each of {len(has_target)} queries, but are {labels.shape}"
        )
    means = Means(ks, bootstrap or Bootstrap(), None if labels is None else labels[has_target])
    found = _rows("all", "all", values, means)
    for split, parts in (splits or {}).items():
        if len(parts) != len(has_target):
            raise ValueError(
                f"evaluate_ranks: {split} must name a part for each of {len(has_target)} queries, but has {len(parts)}"
            )
        numbers, of_query = _numbered(
            [part for part, is_there in zip(parts, has_target, strict=True) if is_there]
        )
        for part, number in numbers.items():
            chosen = of_query == number
            found += _rows(split, str(part), values.part(chosen), means.part(chosen))
    return found


def _numbered(parts: Sequence[object]) -> tuple[dict[object, int], npt.NDArray[np.int64]]:
    """A number for each part, in the order in which they first occur; and that of each query, -1 for none."""
    numbers: dict[object, int] = {}
    for part in parts:
        if part is not None and part == part:  # noqa: PLR0124  NaN, as tables have it where nothing is, is no part
            numbers.setdefault(part, len(numbers))
    return numbers, np.array([numbers.get(part, -1) for part in parts], dtype=np.int64)


def _rows(split: str, part: str, values: QueryValues, means: Means) -> list[RankRow]:
    """A row of some queries, and where their targets are known, one in which every target weighs the same."""
    every = [means] if means.targets is None else [means, means.by_target()]
    return [_row(split, part, values, one) for one in every]


def _row(split: str, part: str, values: QueryValues, means: Means) -> RankRow:
    return RankRow(
        split,
        part,
        len(values.tied),
        means.at_cutoffs(values.recall),
        means.at_cutoffs(values.hit),
        means.at_cutoffs(values.ndcg),
        means.at_cutoffs(values.ap),
        means.of(values.reciprocal),
        means.of(values.log_rank, within=(0.0, math.inf)),
        float(values.tied.mean()),
        means.over,
    )


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

    Columns: split, part, queries, over, metric, k, value, low, high. The share of ties has no interval.
    """
    lines: list[dict[str, object]] = []
    for row in rows:
        found = [
            ("recall", row.recall),
            ("hit_rate", row.hit_rate),
            ("ndcg", row.ndcg),
            ("map", row.map),
            ("mrr", {0: row.mrr}),
            ("log_rank", {0: row.log_rank}),
        ]
        about = {"split": row.split, "part": row.part, "queries": row.queries, "over": row.over}
        for metric, by_cutoff in found:
            lines += [about | {"metric": metric, "k": k} | each._asdict() for k, each in by_cutoff.items()]
        lines.append(about | {"metric": "tied", "k": 0, "value": row.tied, "low": None, "high": None})
    return pa.Table.from_pylist(lines)
