"""Retrieval by words: TF-IDF and BM25."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from notellm.baselines.sparse import SparseIndex
from notellm.optional import importing
from notellm.text import TERMS, check_analyzer, cut_by
from notellm.text.tokenizers import Tokenizer

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


class TfidfIndex(SparseIndex):
    """TF-IDF vectors of a pool of texts by scikit-learn: sublinear tf, smoothed idf, L2 norm; case is ignored.

    The inverse document frequencies come from the pool itself. Scores are in 0..1.

    Args:
        texts: The ``N`` texts of the pool; queries and targets are positions in it.
        analyzer: How texts are cut into terms, a name of `notellm.text.ANALYZERS`. By default chosen by script: words
            of two or more characters, or, in scripts without spaces, characters and pairs of them. The index's
            ``analyzer`` names what was found.
        stop_words: ``"english"`` leaves out scikit-learn's English list; by default nothing is left out
            (the idf gives common words a low weight).

    Raises:
        ValueError: If no text has a term, or the analyzer is unknown.
        NotSupportedError: If scikit-learn, or a package that the analyzer needs, is not installed.

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
        analyzer: str = "auto",
        stop_words: Literal["english"] | None = None,
    ) -> None:
        options = {"sublinear_tf": True, "norm": "l2"}
        fitted = _fit("TfidfIndex", "TfidfVectorizer", texts, analyzer, options, stop_words)
        super().__init__(fitted.matrix, fitted.matrix, analyzer=fitted.analyzer)


class Bm25Index(SparseIndex):
    """BM25 (Robertson and Zaragoza 2009) over a pool of texts, with the inverse document frequencies of Lucene.

    A word counts as often as it occurs in the query.

    Args:
        texts: The ``N`` texts of the pool; queries and targets are positions in it.
        k1: Saturation of repeated words: the smaller, the sooner a repetition stops counting.
        b: Penalty for long texts: 0 none, 1 in proportion to their length.
        analyzer: As in `TfidfIndex`.

    Raises:
        ValueError: If no text has a term, or an option is out of its range or unknown.
        NotSupportedError: If scikit-learn, or a package that the analyzer needs, is not installed.

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
        analyzer: str = "auto",
    ) -> None:
        if k1 < 0 or not 0 <= b <= 1:
            raise ValueError(f"Bm25Index: k1 must be at least 0 and b in [0, 1], but are {k1} and {b}")
        fitted = _fit("Bm25Index", "CountVectorizer", texts, analyzer, {"dtype": np.float64})
        counts = fitted.matrix
        having = np.bincount(counts.indices, minlength=counts.shape[1])
        idf = np.log1p((len(texts) - having + 0.5) / (having + 0.5))
        lengths = np.asarray(counts.sum(axis=1)).ravel()
        damping = k1 * (1 - b + b * lengths / max(lengths.mean(), 1e-12))  # (N)
        documents = counts.copy()
        by_entry = np.repeat(damping, np.diff(counts.indptr))
        documents.data = idf[counts.indices] * counts.data * (k1 + 1) / (counts.data + by_entry)
        super().__init__(counts, documents, analyzer=fitted.analyzer)


class _Fitted(NamedTuple):
    matrix: csr_matrix
    """``(N, V)`` float64."""
    analyzer: str
    """How the texts were tokenised."""


def _fit(
    where: str,
    vectorizer: str,
    texts: Sequence[str],
    analyzer: str,
    options: Mapping[str, Any],
    stop_words: str | None = None,
) -> _Fitted:
    with importing(where, "scikit-learn", module="sklearn"):
        from sklearn.feature_extraction import text as sklearn_text
    check_analyzer(analyzer, where)
    cut = TERMS[analyzer]
    if stop_words not in (None, "english"):
        raise ValueError(f"{where}: stop_words must be 'english' or None, but is {stop_words!r}")
    if stop_words is not None:
        cut = _without(sklearn_text.ENGLISH_STOP_WORDS, cut)
    made = getattr(sklearn_text, vectorizer)(analyzer=cut, **options)
    try:
        matrix = made.fit_transform(texts).tocsr()
    except ValueError as error:  # scikit-learn: empty vocabulary
        raise ValueError(f"{where}: at least one text must hold a term, but {error}") from error
    return _Fitted(matrix, cut_by(analyzer, made.vocabulary_))


def _without(words: frozenset[str], cut: Tokenizer) -> Tokenizer:
    return lambda text: [term for term in cut(text) if term not in words]
