"""Numbers about categories: exact matches, inventions, F1 and what is taken for what."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from notellm._core import metrics as _core
from notellm.metrics.arrays import FloatArray


class CategoryScores(NamedTuple):
    """How generated categories fare, note by note.

    Attributes:
        correct: Shape ``(n,)``, 1 where the text is exactly the note's category. The mean is Acc.
        illusory: Shape ``(n,)``, 1 where the text is no known category. The mean is Ill.
    """

    correct: FloatArray
    illusory: FloatArray


def category_scores(generated: Sequence[str], truth: Sequence[str], known: Collection[str]) -> CategoryScores:
    """Exact matches and inventions among generated categories.

    Args:
        generated: What the model wrote for each of ``n`` notes.
        truth: The notes' own categories.
        known: The closed set of categories.

    Raises:
        ValueError: If ``generated`` and ``truth`` differ in length.

    Example:
        >>> category_scores(["web", "mail", "wob"], ["web", "web", "web"], {"web", "mail"})
        CategoryScores(correct=array([1., 0., 0.]), illusory=array([0., 0., 1.]))
    """
    return CategoryScores(*_core.category_scores(list(generated), list(truth), list(known)))


class Confusion(NamedTuple):
    """What categories are taken for.

    Attributes:
        labels: ``C`` known categories, ascending.
        counts: Shape ``(C, C + 1)``: notes of one category (row) for which another was written (column); the last
            column counts texts that are no known category.
        f1: Shape ``(C,)``, each category's F1; nan where it is neither true nor written.
        macro_f1: The mean of those that are not nan.
    """

    labels: list[str]
    counts: npt.NDArray[np.int64]
    f1: FloatArray
    macro_f1: float


def confusion(generated: Sequence[str], truth: Sequence[str], known: Collection[str]) -> Confusion:
    """The table of true against generated categories, and its macro F1.

    Args:
        generated: What the model wrote for each of ``n`` notes.
        truth: The notes' own categories, all of them known.
        known: The closed set of categories.

    Raises:
        ValueError: If ``generated`` and ``truth`` differ in length, or a true category is not known.

    Example:
        >>> table = confusion(["web", "mail", "wob"], ["web", "web", "mail"], {"web", "mail"})
        >>> table.labels, table.counts.tolist()
        (['mail', 'web'], [[0, 0, 1], [1, 1, 0]])
        >>> table.macro_f1
        0.333...
    """
    labels = sorted(set(known))
    counts = np.array(_core.confusion(list(generated), list(truth), labels), dtype=np.int64)
    counts = counts.reshape(len(labels), len(labels) + 1)
    right = np.diagonal(counts).astype(np.float64)
    seen = counts.sum(1) + counts[:, :-1].sum(0)
    f1 = np.divide(2 * right, seen, out=np.full(len(labels), np.nan), where=seen > 0)
    return Confusion(labels, counts, f1, float(np.nanmean(f1)) if np.any(seen) else 0.0)
