"""Metrics of texts: BLEU, ROUGE, and hashtags as sets. Every result names the tokenizer that was used.

A metric that is undefined for a reference (for example recall of an empty one) is ``None``, never 0.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from notellm._core import metrics as _core
from notellm.metrics.arrays import named
from notellm.metrics.bootstrap import RESAMPLES, Interval
from notellm.text import BLEU_TOKENS, OVERLAP_TOKENS, TOKENIZERS, bleu_cut_by, cut_by, hashtag_key, together
from notellm.text.tokenizers import Tokenizer

Text = str | Sequence[str]
"""A text, or its tokens."""

_FOR_ROUGE: Mapping[str, Tokenizer] = {**TOKENIZERS, **OVERLAP_TOKENS}
_FOR_BLEU: Mapping[str, Tokenizer] = {**TOKENIZERS, **BLEU_TOKENS}


class _Cut(NamedTuple):
    """A prediction and its reference as tokens, and the tokenizer: ``"given"`` if they were tokens already."""

    prediction: list[str]
    reference: list[str]
    by: str


def _cut(prediction: Text, reference: Text, choices: Mapping[str, Tokenizer], name: str, where: str) -> _Cut:
    if isinstance(prediction, str) != isinstance(reference, str):
        raise ValueError(
            f"{where}: prediction and reference must be two texts or two lists of tokens, but are mixed"
        )
    if isinstance(prediction, str) and isinstance(reference, str):
        cut = named(choices, name, f"{where}: tokenizer")
        return _Cut(cut(prediction), cut(reference), name)
    return _Cut(list(prediction), list(reference), "given")


def _refuse_a_text(where: str, *lists: Sequence[object]) -> None:
    """Refuses a single text: it is a sequence of texts, too, but of its letters."""
    if any(isinstance(one, str) for one in lists):
        raise ValueError(f"{where}: must get lists, but got a text; try [text]")


class Overlap(NamedTuple):
    """Shared tokens as a share of the prediction, of the reference, and the harmonic mean of both."""

    precision: float
    recall: float
    f1: float


class Rouge(NamedTuple):
    """ROUGE of one text against another (Lin, 2004).

    Attributes:
        rouge1: Shared tokens; ``None`` if the reference has none.
        rouge2: Shared pairs of neighbouring tokens; ``None`` if the reference has none, for example one word only.
        rougeL: The longest common subsequence of tokens; ``None`` if the reference has none.
        tokenizer: The tokenizer used: for ``"auto"`` the one it chose (``"words"``, ``"characters"`` or
            ``"words and characters"``), otherwise the tokenizer's name; ``"given"`` for tokens.
    """

    rouge1: Overlap | None
    rouge2: Overlap | None
    rougeL: Overlap | None  # noqa: N815 - its name everywhere
    tokenizer: str


def rouge(prediction: Text, reference: Text, *, tokenizer: str = "auto") -> Rouge:
    """ROUGE-1, ROUGE-2 and ROUGE-L of a prediction against a reference.

    Args:
        prediction: A text, or its tokens.
        reference: A text, or its tokens.
        tokenizer: An analyzer of `notellm.text.ANALYZERS` or another name of `TOKENIZERS` (``"alphanumeric-lower"`` is
            that of the package rouge-score); by default chosen by script. Tokens are used as they are.

    Returns:
        Fractions in 0..1; 0 if only the prediction has no tokens, ``None`` if the reference has none.

    Raises:
        ValueError: If the tokenizer is unknown, or one argument is a text and the other tokens.
        NotSupportedError: If the tokenizer needs a package that is not installed.

    Example:
        >>> rouge("mail, web server", "web server; mail").rouge1.f1
        1.0
        >>> rouge("mail, web server", "web server; mail").rougeL
        Overlap(precision=0.666..., recall=0.666..., f1=0.666...)
        >>> rouge("\u7f8e\u98df", "\u7f8e\u98df, \u65c5\u884c")[0], rouge("mail", "mail").rouge2
        (Overlap(precision=1.0, recall=0.5, f1=0.666...), None)
    """
    mine, truth, by = _cut(prediction, reference, _FOR_ROUGE, tokenizer, "rouge")
    return Rouge(
        Overlap(*_core.rouge_1(mine, truth)) if truth else None,
        Overlap(*_core.rouge_2(mine, truth)) if len(truth) > 1 else None,
        Overlap(*_core.rouge_l(mine, truth)) if truth else None,
        cut_by(by, (*mine, *truth)),
    )


def hashtag_overlap(
    prediction: Sequence[str], reference: Sequence[str], at: int | None = None
) -> Overlap | None:
    """Precision, recall and F1 of hashtags as sets.

    Two hashtags are the same if they look the same (`notellm.text.hashtag_key`): Unicode normal form and surrounding
    white space do not matter, case does.

    Args:
        prediction: Hashtags in the order written; repeats do not count.
        reference: The note's own hashtags.
        at: Only the first ``at`` hashtags of the prediction count (F1@j). Default: all.

    Returns:
        Fractions in 0..1; 0 if nothing was predicted, ``None`` if the reference has no hashtag.

    Raises:
        ValueError: If ``at`` is below 1.

    Example:
        >>> hashtag_overlap(["web", "mail", "web", "lisp"], ["mail", "web"])
        Overlap(precision=0.666..., recall=1.0, f1=0.8)
        >>> hashtag_overlap(["web", "mail", "web", "lisp"], ["mail", "web"], at=2).f1
        1.0
    """
    _refuse_a_text("hashtag_overlap", prediction, reference)
    if at is not None and at < 1:
        raise ValueError(f"hashtag_overlap: at must be at least 1, but is {at}")
    mine, truth = _distinct(prediction)[:at], _distinct(reference)
    return Overlap(*_core.rouge_1(mine, truth)) if truth else None


def _distinct(hashtags: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(key for key in map(hashtag_key, hashtags) if key))


_REFERENCE_TOKENS = 9
"""Column of `bleu_counts` with the reference's number of tokens."""

_SMOOTHINGS: Mapping[str, _core.BleuSmoothing] = {
    "none": _core.BleuSmoothing.none,
    "floor": _core.BleuSmoothing.floor,
    "add-1": _core.BleuSmoothing.add_one,
    "exp": _core.BleuSmoothing.exp,
}


class Bleu(NamedTuple):
    """BLEU of a text or of a corpus (Papineni et al., 2002).

    Attributes:
        score: In 0..1; ``None`` if the references have no tokens.
        order: The longest n-grams: 4 for BLEU-4.
        tokenizer: The tokenizer used: for ``"auto"`` the one it chose (``"13a"`` or ``"13a and characters"``),
            otherwise the tokenizer's name; ``"given"`` for tokens.
        smoothing: How a precision of 0 was smoothed.
    """

    score: float | None
    order: int
    tokenizer: str
    smoothing: str


def bleu(
    prediction: Text, reference: Text, *, order: int = 4, tokenizer: str = "auto", smoothing: str = "exp"
) -> Bleu:
    """BLEU of one text; see `corpus_bleu`.

    Example:
        >>> bleu("web server", "web server").score
        1.0
        >>> bleu("the web server", "a web server", smoothing="none").score
        0.0
    """
    return corpus_bleu([prediction], [reference], order=order, tokenizer=tokenizer, smoothing=smoothing)


def corpus_bleu(
    predictions: Sequence[Text],
    references: Sequence[Text],
    *,
    order: int = 4,
    tokenizer: str = "auto",
    smoothing: str = "exp",
) -> Bleu:
    """BLEU of a corpus of texts, with one reference each.

    Args:
        predictions: Texts, or lists of tokens.
        references: As many, in the same order.
        order: The longest n-grams, from 1 to 4. If the predictions have no n-grams of some n, that n and larger ones
            are left out (sacreBLEU's ``effective_order``), so that a text of one word can be perfect.
        tokenizer: An analyzer of `notellm.text.ANALYZERS` or another name of `TOKENIZERS`. By default chosen by script:
            the words and punctuation of ``"13a"``, and characters in scripts without spaces between words.
        smoothing: For an n-gram precision of 0: ``"none"`` (BLEU is 0), ``"floor"`` (0.1 matches), ``"add-1"`` (for
            n > 1, at any precision) or ``"exp"`` (1/2, 1/4, ... matches): those of sacreBLEU, with its defaults.

    Returns:
        The score in 0..1; 0 if nothing matches, ``None`` if the references have no tokens.

    Raises:
        ValueError: If lengths differ, or an option is unknown.
        NotSupportedError: If the tokenizer needs a package that is not installed.
    """
    counts, by = bleu_counts(predictions, references, tokenizer=tokenizer)
    how = named(_SMOOTHINGS, smoothing, "bleu: smoothing")
    score = _core.bleu(counts, order, how)  # also called to refuse a wrong order, for any counts
    return Bleu(score if counts[:, _REFERENCE_TOKENS].any() else None, order, by, smoothing)


def bleu_counts(
    predictions: Sequence[Text], references: Sequence[Text], *, tokenizer: str = "auto"
) -> tuple[npt.NDArray[np.int64], str]:
    """The counts from which BLEU is computed, text by text; their sum over texts gives the BLEU of the corpus.

    Returns:
        Shape ``(n, 10)``: matching n-grams for n = 1..4, all n-grams of the prediction for n = 1..4, and the numbers of
        tokens of prediction and reference; and the tokenizer used.

    Raises:
        ValueError: If lengths differ, or the tokenizer is unknown.
    """
    _refuse_a_text("bleu", predictions, references)
    named(_FOR_BLEU, tokenizer, "bleu: tokenizer")
    if len(predictions) != len(references):
        raise ValueError(
            f"bleu_counts: predictions and references must be equally many, but are {len(predictions)} and "
            f"{len(references)}"
        )
    rows, names = np.zeros((len(predictions), 10), dtype=np.int64), set()
    for row, prediction, reference in zip(rows, predictions, references, strict=True):
        mine, truth, by = _cut(prediction, reference, _FOR_BLEU, tokenizer, "bleu")
        row[:] = _core.bleu_counts(mine, [truth])
        names.add(bleu_cut_by(by, (*mine, *truth)))
    if "given" in names and len(names) > 1:
        raise ValueError("bleu: all must be texts, or all lists of tokens, but are mixed")
    return rows, together(names or {tokenizer})


def bootstrap_bleu(
    counts: npt.NDArray[np.int64],
    *,
    order: int = 4,
    smoothing: str = "exp",
    samples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Corpus BLEU with its percentile bootstrap interval over texts.

    Args:
        counts: Shape ``(n, 10)``, from `bleu_counts`.
        order: As in `corpus_bleu`.
        smoothing: As in `corpus_bleu`.
        samples: Number of resamples.
        seed: The same seed gives the same interval.
        level: Share of resampled scores inside the interval.

    Raises:
        ValueError: If there is no text, or an option is out of range.
    """
    how = named(_SMOOTHINGS, smoothing, "bleu: smoothing")
    return Interval(*_core.bootstrap_bleu(counts, order, how, samples, seed, level))


def bleu_as_released(prediction: Text, reference: Text, *, tokenizer: str = "whitespace") -> Bleu:
    """BLEU-4 of one text as the paper's public code computes it: only to compare with its numbers.

    That code passes the words of the reference as if they were a list of references: every word becomes a reference,
    and its characters become words. Words of more than one character then match nothing, and a perfect prediction made
    of them scores 0.

    Args:
        prediction: A text, or its tokens.
        reference: A text, or its tokens.
        tokenizer: Name of the tokenizer for texts, see `TOKENIZERS`.

    Example:
        >>> bleu_as_released("a perfect prediction of words", "a perfect prediction of words").score
        0.0
        >>> bleu("a perfect prediction of words", "a perfect prediction of words").score
        1.0
    """
    mine, truth, by = _cut(prediction, reference, TOKENIZERS, tokenizer, "bleu")
    counts = np.array([_core.bleu_counts(mine, [list(word) for word in truth] or [[]])], dtype=np.int64)
    has_all = bool(np.all(counts[0, 4:8] > 0))  # if some n has no n-grams, that code's score is 0
    score = _core.bleu(counts, 4, _core.BleuSmoothing.none) if has_all else 0.0
    return Bleu(score, 4, by, "none")
