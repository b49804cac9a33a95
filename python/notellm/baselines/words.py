"""The baselines to beat: retrieval by words, ranked under the same rules as the embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from notellm.errors import NotSupportedError
from notellm.progress import ProgressFn
from notellm.retrieval import Ranks

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Indices = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]

BLOCK_ENTRIES = 1 << 23
"""Scores held at a time while ranking: 8 Mi doubles, 64 MiB."""


class WordIndex:
    """Texts of a pool as weighted words: the score of a text for a query is the inner product of their weights.

    It is summed in the order of the query's vocabulary, so equal texts tie exactly.

    Args:
        queries: ``(N, V)``, each text's weights as a query.
        documents: ``(N, V)``, its weights as what is looked for.
    """

    def __init__(self, queries: csr_matrix, documents: csr_matrix) -> None:
        self._queries = queries
        self._transposed = documents.T.tocsr()  # (V, N)

    def __len__(self) -> int:
        return int(self._queries.shape[0])

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
            exclude: Shape ``(Q,)`` or ``(Q, E)``; positions left out of the pool of each query, -1 = none.
                By default the query itself.
            progress: Called as ``(queries done, queries)``.

        Returns:
            Counts in which neither the target nor what is excluded appears.

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

    def nearest(self, query: int, count: int = 10) -> tuple[Indices, Scores]:
        """The texts most like one of the pool, best first, without itself; ties by position.

        Args:
            query: Position in the pool.
            count: How many; fewer come back from a smaller pool.

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
        outside = positions[(positions < lowest) | (positions >= len(self))]
        if outside.size:
            raise IndexError(
                f"{type(self).__name__}: {name} must be in [{lowest}, {len(self)}), but hold {outside[0]}"
            )
        return positions


class TfidfIndex(WordIndex):
    """TF-IDF vectors of a pool of texts: scikit-learn's, lower-cased, sublinear tf, smoothed idf, L2 norm.

    The inverse document frequencies come from the pool itself. Scores are in 0..1.

    Args:
        texts: The ``N`` texts of the pool; queries and targets are positions in it.
        analyzer: ``"word"`` takes runs of two or more word characters; ``"char"`` takes characters and
            pairs of them, for languages written without spaces.
        stop_words: ``"english"`` leaves out scikit-learn's English list; by default nothing is left out
            (the idf weighs common words down).

    Raises:
        ValueError: If no text holds a single term.
        NotSupportedError: If scikit-learn is not installed.

    Example:
        >>> index = TfidfIndex(["a chess engine", "play chess online", "mail server", "chess engine"])
        >>> index.ranks([0, 0], [3, 1])
        Ranks(greater=tensor([0, 1]), equal=tensor([0, 0]))
        >>> index.nearest(0, 2)[0].tolist()
        [3, 1]
    """

    def __init__(
        self,
        texts: Sequence[str],
        *,
        analyzer: Literal["word", "char"] = "word",
        stop_words: Literal["english"] | None = None,
    ) -> None:
        vectors = _vectorise(texts, analyzer, stop_words)  # (N, V) float64
        super().__init__(vectors, vectors)


class Bm25Index(WordIndex):
    """BM25 (Robertson and Zaragoza 2009) over a pool of texts, with the inverse document frequencies of Lucene.

    A query's words count as often as they come in it.

    Args:
        texts: The ``N`` texts of the pool; queries and targets are positions in it.
        k1: How soon a repeated word stops to count.
        b: How much a long text is punished: 0 not at all, 1 in proportion to its length.
        analyzer: As in `TfidfIndex`.

    Raises:
        ValueError: If no text holds a single term, or an option is out of its range.
        NotSupportedError: If scikit-learn is not installed.

    Example:
        >>> index = Bm25Index(["a chess engine", "play chess online", "mail server", "chess engine"])
        >>> index.nearest(0, 2)[0].tolist()
        [3, 1]
    """

    def __init__(
        self,
        texts: Sequence[str],
        *,
        k1: float = 1.2,
        b: float = 0.75,
        analyzer: Literal["word", "char"] = "word",
    ) -> None:
        if k1 < 0 or not 0 <= b <= 1:
            raise ValueError(f"Bm25Index: k1 must be at least 0 and b in [0, 1], but are {k1} and {b}")
        counts = _count_terms(texts, analyzer)  # (N, V) float64
        having = np.bincount(counts.indices, minlength=counts.shape[1])
        idf = np.log1p((len(texts) - having + 0.5) / (having + 0.5))
        lengths = np.asarray(counts.sum(axis=1)).ravel()
        damping = k1 * (1 - b + b * lengths / max(lengths.mean(), 1e-12))  # (N)
        documents = counts.copy()
        by_entry = np.repeat(damping, np.diff(counts.indptr))
        documents.data = idf[counts.indices] * counts.data * (k1 + 1) / (counts.data + by_entry)
        super().__init__(counts, documents)


def _vectorise(texts: Sequence[str], analyzer: str, stop_words: str | None) -> csr_matrix:
    options = {"stop_words": stop_words, "sublinear_tf": True, "norm": "l2"}
    return _fit("TfidfIndex", "TfidfVectorizer", texts, analyzer, options)


def _count_terms(texts: Sequence[str], analyzer: str) -> csr_matrix:
    return _fit("Bm25Index", "CountVectorizer", texts, analyzer, {"dtype": np.float64})


def _fit(
    where: str, vectorizer: str, texts: Sequence[str], analyzer: str, options: Mapping[str, Any]
) -> csr_matrix:
    try:
        from sklearn.feature_extraction import text as sklearn_text
    except ImportError as error:
        raise NotSupportedError(
            f"{where}: scikit-learn must be installed, but is not; try `pip install scikit-learn`"
        ) from error
    ngrams = (1, 2) if analyzer == "char" else (1, 1)
    make = getattr(sklearn_text, vectorizer)
    try:
        return make(analyzer=analyzer, ngram_range=ngrams, **options).fit_transform(texts).tocsr()
    except ValueError as error:  # scikit-learn: empty vocabulary
        raise ValueError(f"{where}: at least one text must hold a term, but {error}") from error


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
    """Counts, row by row, what scores above and level with the target."""
    aim = np.take_along_axis(scores, target[:, None], axis=1)  # (Q, 1)
    row, column = np.nonzero(left_out >= 0)
    scores[row, left_out[row, column]] = -np.inf
    greater = (scores > aim).sum(axis=1, dtype=np.int64)
    equal = (scores == aim).sum(axis=1, dtype=np.int64) - 1  # the target itself
    return greater, equal
