"""What each note contributes to every metric of written words; generated for it, and its truth."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from notellm.metrics import category_scores, hashtag_overlap, rouge
from notellm.metrics.arrays import FloatArray
from notellm.text import normalized


@dataclass(frozen=True)
class Generated:
    """What one system wrote for the notes evaluated.

    Attributes:
        categories: The category of each note, generated freely.
        hashtags: The hashtags of each note.
        best_categories: The known category with the best score for each note, if they were scored.
        confidence: Shape ``(n,)``; the probabilities of ``best_categories``.
    """

    categories: Sequence[str]
    hashtags: Sequence[Sequence[str]]
    best_categories: Sequence[str] | None = None
    confidence: npt.ArrayLike | None = None


class WordValues(NamedTuple):
    """Values of ``n`` notes, shape ``(n,)`` each; NaN where a note does not count.

    A note counts in metrics of categories if it has one, and in those of hashtags if it has any; not in a metric that
    is undefined for its hashtags.

    Attributes:
        accuracy: 1 where the category is the note's own.
        illusory: 1 where it is not a known category.
        closed_set: 1 where the best-scored known category is right; NaN everywhere if none were scored.
        rouge1: F-measure of the hashtags, joined to one text as in the prompt.
        rouge2: The same, of pairs of tokens.
        rougeL: The same, of the longest common subsequence.
        hashtag_precision: Of the hashtags as sets.
        hashtag_recall: Likewise.
        hashtag_f1: Likewise.
    """

    accuracy: FloatArray
    illusory: FloatArray
    closed_set: FloatArray
    rouge1: FloatArray
    rouge2: FloatArray
    rougeL: FloatArray  # noqa: N815 - as in tables
    hashtag_precision: FloatArray
    hashtag_recall: FloatArray
    hashtag_f1: FloatArray


def word_values(
    written: Generated,
    categories: Sequence[str],
    hashtags: Sequence[Sequence[str]],
    *,
    known_categories: Collection[str],
    tokenizer: str = "auto",
    hashtag_count: int | None = None,
) -> tuple[WordValues, set[str]]:
    """All metrics of each note.

    Args:
        written: What a system wrote for ``n`` notes.
        categories: The true category of each; ``""`` if it has none.
        hashtags: The true hashtags of each.
        known_categories: The categories that notes have.
        tokenizer: Of ROUGE.
        hashtag_count: j in the sets' metrics at j. Default: all hashtags that were generated.

    Returns:
        The values, and the names of the tokenizers that were chosen.

    Raises:
        ValueError: If the tokenizer is unknown.
        NotSupportedError: If it needs a package that is not installed.

    Example:
        >>> written = Generated(["web", "wob", "web"], [["a"], ["a", "b"], []])
        >>> own, _ = word_values(written, ["web", "mail", ""], [["a"], ["a"], []], known_categories={"web", "mail"})
        >>> own.accuracy.tolist(), own.hashtag_f1.round(2).tolist()
        ([1.0, 0.0, nan], [1.0, 0.67, nan])
    """
    overlaps = [
        hashtag_overlap(*pair, at=hashtag_count) for pair in zip(written.hashtags, hashtags, strict=True)
    ]
    texts = [[", ".join(tags) for tags in pair] for pair in zip(written.hashtags, hashtags, strict=True)]
    scores = [
        None if overlap is None else rouge(*pair, tokenizer=tokenizer)
        for overlap, pair in zip(overlaps, texts, strict=True)
    ]
    f1 = ((score and (part := getattr(score, name)) and part.f1 for score in scores) for name in _ROUGE)
    sets = ((overlap and overlap[part] for overlap in overlaps) for part in range(3))
    by_category = _by_category(written, categories, known_categories)
    names = {score.tokenizer for score in scores if score is not None}
    return WordValues(*by_category, *map(_array, f1), *map(_array, sets)), names


_ROUGE = ("rouge1", "rouge2", "rougeL")


def _by_category(
    written: Generated, categories: Sequence[str], known: Collection[str]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Accuracy, illusory categories, and accuracy of the closed set: ``(n,)`` each."""
    found = tuple(np.full(len(categories), np.nan) for _ in range(3))
    having = [number for number, category in enumerate(categories) if category]
    if having:
        true, known = normal(categories, having), set(map(normalized, known))
        found[0][having], found[1][having] = category_scores(normal(written.categories, having), true, known)
        if written.best_categories is not None:
            found[2][having] = category_scores(normal(written.best_categories, having), true, known).correct
    return found[0], found[1], found[2]


def normal(categories: Sequence[str], notes: Iterable[int]) -> list[str]:
    """The categories of some notes, in Unicode normal form: a model may write an accent as a separate code point."""
    return [normalized(categories[note]) for note in notes]


def _array(values: Iterable[float | None]) -> FloatArray:
    return np.array([np.nan if value is None else value for value in values], np.float64)
