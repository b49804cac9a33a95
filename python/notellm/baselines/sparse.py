"""Pools whose scores are inner products of sparse rows, ranked under the same rules as embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from notellm.progress import ProgressFn
from notellm.retrieval import Ranks

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Indices = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]

BLOCK_ENTRIES = 1 << 23
"""Scores kept at a time while ranking: 8 Mi doubles, 64 MiB."""


class SparseIndex:
    """Notes of a pool as sparse rows: the score of a note for a query is the inner product of their rows.

    It is summed in the order of the query's columns, so equal rows tie exactly.

    Args:
        queries: ``(N, V)``, each note's weights as a query; or ``(Q, V)``, those of queries that are no notes.
        documents: ``(N, V)``, each note's weights as a candidate.
        analyzer: How the notes' texts were cut into the terms of the columns; empty if columns are not terms.
    """

    def __init__(self, queries: csr_matrix, documents: csr_matrix, *, analyzer: str = "") -> None:
        self.analyzer = analyzer
        self._queries = queries
        self._transposed = documents.T.tocsr()  # (V, N)

    def __len__(self) -> int:
        """Notes of the pool."""
        return int(self._transposed.shape[1])

    def for_histories(self, histories: npt.ArrayLike, weights: npt.ArrayLike) -> SparseIndex:
        """The same pool for users: a query is the weighted sum of the queries of the notes that a user had.

        Its query number ``q`` is that of user ``q``, which is no note: say what to exclude, such as the history.

        Args:
            histories: Shape ``(Q, H)``; positions in the pool, -1 where there is none.
            weights: Shape ``(Q, H)``, see `notellm.evaluation.history_weights`.
        """
        from scipy.sparse import csr_matrix

        notes = self._positions("histories", histories, lowest=-1)
        row, place = np.nonzero(notes >= 0)
        chosen = np.asarray(weights, dtype=np.float64)[row, place]
        mixed = csr_matrix((chosen, (row, notes[row, place])), shape=(len(notes), len(self)))
        return SparseIndex(mixed @ self._queries, self._transposed.T.tocsr(), analyzer=self.analyzer)

    def scores(self, queries: npt.ArrayLike) -> Scores:
        """Scores of the whole pool for some queries.

        Args:
            queries: Shape ``(Q,)``; positions in the pool.

        Returns:
            Shape ``(Q, N)``; the column of the query itself is included.

        Raises:
            IndexError: If a query is not a position in the pool.
        """
        rows = self._positions("queries", queries)
        return np.asarray((self._queries[rows] @ self._transposed).toarray(), dtype=np.float64)

    def ranks(
        self,
        queries: npt.ArrayLike,
        targets: npt.ArrayLike,
        *,
        exclude: npt.ArrayLike | None = None,
        progress: ProgressFn | None = None,
    ) -> Ranks:
        """Ranks each query's target among the pool, by counting.

        Args:
            queries: Shape ``(Q,)``; positions in the pool.
            targets: Shape ``(Q,)``; positions in the pool.
            exclude: Shape ``(Q,)`` or ``(Q, E)``; positions to leave out of the pool for each query, -1 = none.
                By default the query itself.
            progress: Called as ``(queries done, queries)``.

        Returns:
            Counts without the target and the excluded notes.

        Raises:
            ValueError: If the lengths differ, or a target is excluded.
            IndexError: If an entry is not a position in the pool.
        """
        query = self._positions("queries", queries)
        target = self._positions("targets", targets)
        left_out = query if exclude is None else self._positions("exclude", exclude, lowest=-1)
        left_out = left_out.reshape(len(left_out), -1)  # (Q, E)
        _check_ranking(query, target, left_out)

        greater, equal = np.zeros_like(query), np.zeros_like(query)
        block = max(1, BLOCK_ENTRIES // max(len(self), 1))
        for begin in range(0, len(query), block):
            rows = slice(begin, min(begin + block, len(query)))
            greater[rows], equal[rows] = _count(self.scores(query[rows]), target[rows], left_out[rows])
            if progress is not None:
                progress(rows.stop, len(query))
        return Ranks(torch.from_numpy(greater), torch.from_numpy(equal))

    def lists(self, queries: npt.ArrayLike, count: int, *, exclude: npt.ArrayLike | None = None) -> Indices:
        """What is recommended to each query: the first notes, best first; ties by position.

        Args:
            queries: Shape ``(Q,)``; positions in the pool.
            count: Length of the lists, at most ``N``.
            exclude: As in `ranks`.

        Returns:
            Shape ``(Q, count)``; positions in the pool, -1 where all others are excluded.

        Raises:
            IndexError: If an entry is not a position in the pool.
        """
        query = self._positions("queries", queries)
        left_out = query if exclude is None else self._positions("exclude", exclude, lowest=-1)
        left_out = left_out.reshape(len(left_out), -1)  # (Q, E)
        found = np.empty((len(query), min(count, len(self))), np.int64)
        block = max(1, BLOCK_ENTRIES // max(len(self), 1))
        for begin in range(0, len(query), block):
            rows = slice(begin, begin + block)
            scores = _without(self.scores(query[rows]), left_out[rows])
            order = np.argsort(-scores, axis=1, kind="stable")[:, : found.shape[1]]
            found[rows] = np.where(np.take_along_axis(scores, order, axis=1) > -np.inf, order, -1)
        return found

    def nearest(self, query: int, count: int = 10) -> tuple[Indices, Scores]:
        """The notes most similar to one of the pool, best first, without itself; ties are broken by position.

        Args:
            query: Position in the pool.
            count: How many; a smaller pool gives fewer.

        Returns:
            Positions and scores, each of shape ``(min(count, N - 1),)``.

        Raises:
            IndexError: If the query is not a position in the pool.
        """
        scores = self.scores([query])[0]
        order = np.argsort(-scores, kind="stable")
        best = order[order != query][:count].astype(np.int64)
        return best, scores[best]

    def _positions(self, name: str, values: npt.ArrayLike, lowest: int = 0) -> Indices:
        positions = np.asarray(values, dtype=np.int64)
        limit = int(self._queries.shape[0]) if name == "queries" else len(self)
        outside = positions[(positions < lowest) | (positions >= limit)]
        if outside.size:
            raise IndexError(
                f"{type(self).__name__}: {name} must be in [{lowest}, {limit}), but hold {outside[0]}"
            )
        return positions


def _check_ranking(query: Indices, target: Indices, left_out: Indices) -> None:
    if not len(query) == len(target) == len(left_out):
        raise ValueError(
            "ranks: queries, targets and exclude must be of one length, "
            f"but are {len(query)}, {len(target)} and {len(left_out)}"
        )
    clash = np.flatnonzero((left_out == target[:, None]).any(axis=1))
    if clash.size:
        raise ValueError(
            f"ranks: a target must not be excluded, but that of query {clash[0]} "
            f"(position {target[clash[0]]}) is"
        )


def _count(scores: Scores, target: Indices, left_out: Indices) -> tuple[Indices, Indices]:
    """Counts, row by row, the scores above the target's and those equal to it."""
    aim = np.take_along_axis(scores, target[:, None], axis=1)  # (Q, 1)
    scores = _without(scores, left_out)
    greater = (scores > aim).sum(axis=1, dtype=np.int64)
    equal = (scores == aim).sum(axis=1, dtype=np.int64) - 1  # without the target itself
    return greater, equal


def _without(scores: Scores, left_out: Indices) -> Scores:
    """The scores, in place, with those of the notes that are left out below all others."""
    row, column = np.nonzero(left_out >= 0)
    scores[row, left_out[row, column]] = -np.inf
    return scores
