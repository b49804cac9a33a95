"""What each query contributes to every metric of ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from notellm.metrics import Ties, gains_at, hits_at, log_ranks, reciprocal_ranks, reciprocal_ranks_at
from notellm.metrics.arrays import BoolArray, FloatArray
from notellm.retrieval import Ranks


class QueryValues(NamedTuple):
    """Values of the ``Q`` queries that have a target; ``(Q, K)`` at the cut-offs, the last three ``(Q,)``.

    Attributes:
        recall: The share of a query's targets among the first ``k``.
        hit: Whether any of them is.
        ndcg: Discounted gains of all targets, as a share of the best that any order could have.
        ap: Average precision: the mean over all targets of the precision at their rank, 0 for those beyond ``k``.
        reciprocal: 1 / rank of the best target.
        log_rank: Natural logarithm of the rank of the best target.
        tied: The share of targets that tie with other notes.
    """

    recall: FloatArray
    hit: FloatArray
    ndcg: FloatArray
    ap: FloatArray
    reciprocal: FloatArray
    log_rank: FloatArray
    tied: FloatArray

    def part(self, chosen: BoolArray) -> QueryValues:
        """Those of some of the queries: ``chosen`` has shape ``(Q,)``."""
        return QueryValues(*(values[chosen] for values in self))


def with_target(ranks: Ranks) -> BoolArray:
    """Shape ``(Q,)``: whether a query has a target."""
    greater = np.asarray(ranks.greater, dtype=np.int64)
    return np.asarray(np.any(greater.reshape(len(greater), -1) >= 0, axis=1))


def query_values(ranks: Ranks, ks: Sequence[int], ties: Ties = "mean") -> QueryValues:
    """All metrics of each query that has a target.

    Args:
        ranks: Counts from `notellm.target_ranks`, shape ``(Q,)``, or ``(Q, T)`` with -1 where a query has fewer than
            ``T`` targets.
        ks: ``K`` cut-offs, each at least 1.
        ties: Where a target stands among notes of its score. With several targets of a query and ``"mean"``, values of
            its best target are those of its most likely one.

    Raises:
        ValueError: If a cut-off is below 1 or ``ties`` is unknown.

    Example:
        >>> ranks = Ranks(greater=torch.tensor([[0, 2], [3, -1]]), equal=torch.tensor([[0, 0], [0, -1]]))
        >>> query_values(ranks, [2, 10]).ap.round(3).tolist()
        [[0.5, 0.833], [0.0, 0.25]]
    """
    targets, of_query, group = _targets(ranks, ties)
    count = np.bincount(of_query)  # of each query's targets
    first = np.flatnonzero(np.diff(of_query, prepend=-1))
    hits, gains = hits_at(targets, ks, ties=ties), gains_at(targets, ks, ties=ties)
    precisions = group.precisions(targets, hits, reciprocal_ranks_at(targets, ks, ties=ties))
    best = np.cumsum(1 / np.log2(np.arange(2, count.max(initial=1) + 2)))
    ideal = best[np.minimum(count[:, None], np.asarray(ks)[None, :]) - 1]  # (Q, K)
    return QueryValues(
        recall=np.add.reduceat(hits, first) / count[:, None],
        hit=np.maximum.reduceat(hits, first),
        ndcg=np.add.reduceat(gains, first) / ideal,
        ap=np.add.reduceat(precisions, first) / count[:, None],
        reciprocal=np.maximum.reduceat(reciprocal_ranks(targets, ties=ties), first),
        log_rank=np.minimum.reduceat(log_ranks(targets, ties=ties), first),
        tied=np.add.reduceat(group.is_tied.astype(np.float64), first) / count,
    )


class _Groups(NamedTuple):
    """Targets of one query and one score, shape ``(T,)`` over the targets of all queries.

    Attributes:
        before: How many of the query's targets score higher.
        size: How many have this score.
        is_tied: Whether any note has it, too.
    """

    before: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]
    is_tied: BoolArray

    def precisions(self, targets: Ranks, hits: FloatArray, reciprocal: FloatArray) -> FloatArray:
        """The expected precision at each target's rank, if it is among the first ``k``: ``(T, K)``.

        At rank ``r`` of a tie that begins behind ``g`` notes and has ``n`` notes, ``m`` of them targets, there are
        ``before + 1 + (r - g - 1) (m - 1) / (n - 1)`` targets among the first ``r`` on average, if one is there.
        """
        greater, equal = (np.asarray(counts, dtype=np.float64) for counts in targets)
        share = np.where(equal > 0, (self.size - 1) / np.maximum(equal, 1), 0)
        return np.asarray(
            (self.before + 1 - share * (greater + 1))[:, None] * reciprocal + share[:, None] * hits
        )


def _targets(ranks: Ranks, ties: Ties) -> tuple[Ranks, npt.NDArray[np.int64], _Groups]:
    """The targets of all queries in one row, those of a query together and best first; their queries; their groups.

    Where ties are not averaged, targets of one query and one score stand one behind the other.
    """
    greater, equal = (np.asarray(counts, dtype=np.int64) for counts in ranks)
    rows, columns = np.nonzero(greater.reshape(len(greater), -1) >= 0)
    greater, equal = (counts.reshape(len(counts), -1)[rows, columns] for counts in (greater, equal))
    order = np.lexsort((greater, rows))
    rows, greater, equal = rows[order], greater[order], equal[order]
    of_query = np.unique(rows, return_inverse=True)[1].astype(np.int64)
    is_first = (np.diff(of_query, prepend=-1) != 0) | (np.diff(greater, prepend=-1) != 0)
    begin = np.flatnonzero(is_first)
    number = np.cumsum(is_first) - 1
    size = np.diff(np.append(begin, len(rows)))[number]
    query_begin = np.searchsorted(of_query, of_query)
    inside = np.arange(len(rows)) - begin[number]
    groups = _Groups(begin[number] - query_begin, size, equal > 0)
    if ties == "optimistic":
        greater, equal = greater + inside, equal - inside
    elif ties == "pessimistic":
        equal = equal - (size - 1 - inside)
    if ties != "mean":
        groups = groups._replace(before=groups.before + inside, size=np.ones_like(size))
    return Ranks(torch.from_numpy(greater), torch.from_numpy(equal)), of_query, groups
