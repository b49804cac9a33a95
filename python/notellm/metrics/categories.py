"""Metrics of categories: exact matches, unknown categories, F1, confusion and calibration."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from notellm._core import metrics as _core
from notellm.metrics.arrays import FloatArray


class CategoryScores(NamedTuple):
    """Scores of generated categories, note by note.

    Attributes:
        correct: Shape ``(n,)``, 1 where the text is exactly the note's category. The mean is Acc.
        illusory: Shape ``(n,)``, 1 where the text is not a known category. The mean is Ill.
    """

    correct: FloatArray
    illusory: FloatArray


def category_scores(generated: Sequence[str], truth: Sequence[str], known: Collection[str]) -> CategoryScores:
    """Exact matches and unknown ("illusory") categories among generated ones.

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
    """The confusion matrix of categories.

    Attributes:
        labels: ``C`` known categories, ascending.
        counts: Shape ``(C, C + 1)``: notes by true category (row) and generated category (column); the last column
            counts texts that are not a known category.
        f1: Shape ``(C,)``, each category's F1; nan if it is neither true nor generated for any note.
        macro_f1: The mean of the F1 values that are not nan.
    """

    labels: list[str]
    counts: npt.NDArray[np.int64]
    f1: FloatArray
    macro_f1: float


def confusion(generated: Sequence[str], truth: Sequence[str], known: Collection[str]) -> Confusion:
    """The confusion matrix of true and generated categories, and its macro F1.

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


class Calibration(NamedTuple):
    """How often a model is right at each level of confidence.

    Attributes:
        edges: Shape ``(bins + 1,)``: confidences in ``(edges[b], edges[b + 1]]`` are bin ``b``; the first includes 0.
        counts: Shape ``(bins,)``: number of notes in each bin.
        confidence: Shape ``(bins,)``: their mean confidence; nan if the bin is empty.
        accuracy: Shape ``(bins,)``: the share of them that is right; nan if the bin is empty.
        error: Expected calibration error: the mean over all notes of the difference between their bin's confidence
            and accuracy (Naeini et al., 2015).
    """

    edges: FloatArray
    counts: npt.NDArray[np.int64]
    confidence: FloatArray
    accuracy: FloatArray
    error: float


def calibration(confidence: npt.ArrayLike, correct: npt.ArrayLike, *, bins: int = 10) -> Calibration:
    """Compares confidences with how often the answers were right.

    Args:
        confidence: Shape ``(n,)``; the model's probabilities of its answers.
        correct: Shape ``(n,)``; 1 where the answer was right, otherwise 0.
        bins: Number of bins, of equal width.

    Raises:
        ValueError: If lengths differ, there is no answer, a confidence is not in [0, 1], or there is no bin.

    Example:
        >>> found = calibration([0.9, 0.8, 0.3], [1, 0, 0], bins=2)
        >>> found.counts.tolist(), found.accuracy.tolist()
        ([1, 2], [0.0, 0.5])
        >>> round(found.error, 3)
        0.333
    """
    sure, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if sure.shape != right.shape or sure.ndim != 1 or not len(sure):
        raise ValueError(
            f"calibration: must get a confidence and an outcome for each answer, but got shapes {sure.shape} and "
            f"{right.shape}"
        )
    if bins < 1 or not np.all((sure >= 0) & (sure <= 1 + 1e-9)):
        raise ValueError(
            f"calibration: confidences must be in [0, 1] and bins at least 1, but are in "
            f"[{sure.min()}, {sure.max()}] and {bins}"
        )
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.ceil(sure * bins).astype(np.int64) - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    sums = np.bincount(place, sure, bins), np.bincount(place, right, bins)
    mean_sure, mean_right = (
        np.divide(total, counts, out=np.full(bins, np.nan), where=counts > 0) for total in sums
    )
    error = float(np.abs(sums[0] - sums[1]).sum() / len(sure))
    return Calibration(edges, counts, mean_sure, mean_right, error)
