"""Numbers about results: recall, categories, text overlap, and how far chance could have moved them."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from notellm._core import metrics as _core
from notellm.retrieval import Ranks

__all__ = [
    "TOKENIZERS",
    "CategoryScores",
    "ExposureSplit",
    "Interval",
    "Overlap",
    "Rouge",
    "Ties",
    "bootstrap_difference",
    "bootstrap_mean",
    "category_scores",
    "exposure_split",
    "hits_at",
    "mrr",
    "recall_at",
    "reciprocal_ranks",
    "rouge",
]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
T = TypeVar("T")

Ties = Literal["mean", "optimistic", "pessimistic"]
"""Where a target stands among notes of exactly its score: anywhere with equal chance (the expected value),
before them, or after them."""

_TIES: Mapping[str, _core.Ties] = {
    "mean": _core.Ties.mean,
    "optimistic": _core.Ties.optimistic,
    "pessimistic": _core.Ties.pessimistic,
}


def hits_at(ranks: Ranks, ks: Sequence[int], *, ties: Ties = "mean") -> FloatArray:
    """Whether each query's target is among the first ``k``.

    Args:
        ranks: Counts of ``Q`` queries from `notellm.target_ranks`.
        ks: ``K`` cut-offs, each at least 1.
        ties: Where a target stands among notes of its score.

    Returns:
        Shape ``(Q, K)``: 0 or 1, or with ``"mean"`` the chance of a hit.

    Raises:
        ValueError: If a cut-off is below 1 or ``ties`` is unknown.
    """
    greater, equal = _counts(ranks)
    return _core.hits_at(greater, equal, np.asarray(ks, dtype=np.int64), _ties(ties))


def recall_at(ranks: Ranks, ks: Sequence[int], *, ties: Ties = "mean") -> FloatArray:
    """Recall@k: the share of queries whose target is among the first ``k``.

    Args:
        ranks: Counts of ``Q`` queries from `notellm.target_ranks`.
        ks: ``K`` cut-offs, each at least 1.
        ties: Where a target stands among notes of its score.

    Returns:
        Shape ``(K,)``, fractions in 0..1.

    Raises:
        ValueError: If there are no queries, a cut-off is below 1 or ``ties`` is unknown.

    Example:
        >>> import torch
        >>> ranks = Ranks(greater=torch.tensor([0, 1, 9]), equal=torch.tensor([1, 0, 0]))
        >>> recall_at(ranks, [1, 10])
        array([0.16666667, 1.        ])
        >>> recall_at(ranks, [1, 10], ties="optimistic")
        array([0.33333333, 1.        ])
    """
    return _mean(hits_at(ranks, ks, ties=ties), "recall_at")


def reciprocal_ranks(ranks: Ranks, *, ties: Ties = "mean") -> FloatArray:
    """1 / rank of each query's target, ranks from 1; with ``ties="mean"`` the expected value.

    Returns:
        Shape ``(Q,)``.
    """
    greater, equal = _counts(ranks)
    return _core.reciprocal_ranks(greater, equal, _ties(ties))


def mrr(ranks: Ranks, *, ties: Ties = "mean") -> float:
    """Mean reciprocal rank of the targets.

    Raises:
        ValueError: If there are no queries or ``ties`` is unknown.

    Example:
        >>> import torch
        >>> mrr(Ranks(greater=torch.tensor([0, 3]), equal=torch.tensor([0, 0])))
        0.625
    """
    return float(_mean(reciprocal_ranks(ranks, ties=ties), "mrr"))


class ExposureSplit(NamedTuple):
    """Queries by how often their ground truth was shown.

    Attributes:
        low: Shape ``(Q,)`` bool, targets among the least exposed notes.
        high: Shape ``(Q,)`` bool, targets among the most exposed.
        low_at_most: The largest exposure that counts as low.
        high_at_least: The smallest exposure that counts as high.
    """

    low: BoolArray
    high: BoolArray
    low_at_most: float
    high_at_least: float


def exposure_split(
    exposure_of_targets: npt.ArrayLike, pool_exposure: npt.ArrayLike, low: float = 0.3, high: float = 0.1
) -> ExposureSplit:
    """Splits queries by the exposure of their ground truth, at quantiles of the pool's exposures.

    Notes as exposed as the last one inside a share are inside too, so ties can make it larger. Where
    exposures are so equal that a note would be in both shares, it is in neither.

    Args:
        exposure_of_targets: Shape ``(Q,)``, how often each query's ground truth was shown.
        pool_exposure: Shape ``(N,)``, the same of all notes of the pool.
        low: The least exposed share of the pool, in 0..1.
        high: The most exposed share of the pool, in 0..1.

    Raises:
        ValueError: If a share is outside 0..1 or the pool is empty.

    Example:
        >>> split = exposure_split([1, 5, 100], [1, 1, 2, 3, 4, 5, 6, 7, 8, 100])
        >>> split.low, split.high
        (array([ True, False, False]), array([False, False,  True]))
        >>> split.low_at_most, split.high_at_least
        (2.0, 100.0)
    """
    if not (0 < low <= 1 and 0 < high <= 1):
        raise ValueError(f"exposure_split: shares must be above 0 and at most 1, but are {low} and {high}")
    pool = np.sort(np.asarray(pool_exposure, dtype=np.float64))
    if not len(pool):
        raise ValueError("exposure_split: pool_exposure must not be empty, but is")
    targets = np.asarray(exposure_of_targets, dtype=np.float64)
    low_at_most = float(pool[_share_of(len(pool), low) - 1])
    high_at_least = float(pool[-_share_of(len(pool), high)])
    is_low, is_high = targets <= low_at_most, targets >= high_at_least
    return ExposureSplit(is_low & ~is_high, is_high & ~is_low, low_at_most, high_at_least)


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


class Overlap(NamedTuple):
    """Shared tokens as a share of the prediction, of the reference, and the harmonic mean of both."""

    precision: float
    recall: float
    f1: float


class Rouge(NamedTuple):
    """ROUGE of one text against another (Lin, 2004).

    Attributes:
        rouge1: Shared tokens.
        rougeL: The longest common subsequence of tokens.
        tokenizer: What cut the texts into tokens: a name of `TOKENIZERS`, or ``"given"``.
    """

    rouge1: Overlap
    rougeL: Overlap  # noqa: N815 - its name everywhere
    tokenizer: str


def _alphanumeric_lower(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def _whitespace_lower(text: str) -> list[str]:
    return text.lower().split()


def _characters(text: str) -> list[str]:
    return [character for character in text if not character.isspace()]


TOKENIZERS: Mapping[str, Callable[[str], list[str]]] = MappingProxyType(
    {
        "alphanumeric-lower": _alphanumeric_lower,
        "whitespace-lower": _whitespace_lower,
        "characters": _characters,
    }
)
"""How `rouge` may cut a text: lower-case runs of a-z and 0-9 (what the package rouge-score does without its
stemmer), lower-case words between white space, or single characters other than white space (for Chinese)."""


def rouge(
    prediction: str | Sequence[str],
    reference: str | Sequence[str],
    *,
    tokenizer: str = "alphanumeric-lower",
) -> Rouge:
    """ROUGE-1 and ROUGE-L of a prediction against a reference.

    Args:
        prediction: A text, or its tokens.
        reference: A text, or its tokens.
        tokenizer: Name of the tokenizer for texts, see `TOKENIZERS`. Tokens are taken as they are.

    Returns:
        Fractions in 0..1; 0 where a text has no tokens.

    Raises:
        ValueError: If the tokenizer is unknown, or one argument is a text and the other tokens.

    Example:
        >>> rouge("mail, web server", "web server; mail").rouge1.f1
        1.0
        >>> rouge("mail, web server", "web server; mail").rougeL
        Overlap(precision=0.666..., recall=0.666..., f1=0.666...)
    """
    if isinstance(prediction, str) != isinstance(reference, str):
        raise ValueError(
            "rouge: prediction and reference must be two texts or two lists of tokens, but are mixed"
        )
    if isinstance(prediction, str) and isinstance(reference, str):
        cut = _named(TOKENIZERS, tokenizer, "rouge: tokenizer")
        prediction, reference = cut(prediction), cut(reference)
    else:
        tokenizer = "given"
    return Rouge(
        Overlap(*_core.rouge_1(prediction, reference)),
        Overlap(*_core.rouge_l(prediction, reference)),
        tokenizer,
    )


class Interval(NamedTuple):
    """A mean with the ends of its bootstrap interval."""

    value: float
    low: float
    high: float


def bootstrap_mean(
    values: npt.ArrayLike, *, samples: int = 2000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Percentile bootstrap of a mean: how far another draw of the same queries could have moved it.

    Args:
        values: Shape ``(n,)``, one finite number for each independent query or note.
        samples: Resamples.
        seed: The same seed gives the same interval on any machine and number of threads.
        level: Share of resampled means inside the interval.

    Raises:
        ValueError: If there is no value, one is not finite, or an option is out of range.

    Example:
        >>> bootstrap_mean([0.0, 1.0, 1.0, 1.0], seed=1)
        Interval(value=0.75, low=0.25, high=1.0)
    """
    return Interval(*_core.bootstrap_mean(_floats(values), samples, seed, level))


def bootstrap_difference(
    a: npt.ArrayLike, b: npt.ArrayLike, *, samples: int = 2000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Paired bootstrap of the mean of ``a - b``, two systems measured on the same queries.

    An interval that excludes 0 says that the difference is more than the luck of the queries.

    Args:
        a: Shape ``(n,)``, one system's values.
        b: Shape ``(n,)``, the other's, in the same order.
        samples: Resamples.
        seed: As in `bootstrap_mean`.
        level: Share of resampled means inside the interval.

    Raises:
        ValueError: If lengths differ, or as `bootstrap_mean`.

    Example:
        >>> bootstrap_difference([1.0, 1.0, 0.0], [0.0, 0.0, 0.0])
        Interval(value=0.666..., low=0.0, high=1.0)
    """
    return Interval(*_core.bootstrap_difference(_floats(a), _floats(b), samples, seed, level))


def _counts(ranks: Ranks) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    return np.asarray(ranks.greater, dtype=np.int64), np.asarray(ranks.equal, dtype=np.int64)


def _ties(ties: str) -> _core.Ties:
    return _named(_TIES, ties, "ties")


def _named(choices: Mapping[str, T], name: str, where: str) -> T:
    if name not in choices:
        raise ValueError(f"{where} must be one of {', '.join(choices)}, but is {name!r}")
    return choices[name]


def _mean(values: FloatArray, where: str) -> FloatArray:
    if not len(values):
        raise ValueError(f"{where}: ranks must hold at least one query, but are empty")
    return np.asarray(values.mean(axis=0))


def _share_of(count: int, share: float) -> int:
    return max(1, int(np.ceil(share * count - 1e-9)))  # 0.3 * 10 is not quite 3


def _floats(values: npt.ArrayLike) -> FloatArray:
    return np.asarray(values, dtype=np.float64)
