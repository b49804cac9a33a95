"""Retrieval by words: TF-IDF and BM25."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from notellm.baselines.sparse import SparseIndex
from notellm.errors import NotSupportedError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


class TfidfIndex(SparseIndex):
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


class Bm25Index(SparseIndex):
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
