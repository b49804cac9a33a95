"""Numbers about texts: BLEU, ROUGE, and hashtags as sets. What cut a text into tokens stands in every result."""

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from notellm._core import metrics as _core
from notellm.metrics.arrays import named
from notellm.metrics.bootstrap import RESAMPLES, Interval

Text = str | Sequence[str]
"""A text, or its tokens."""


def _alphanumeric_lower(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def _whitespace(text: str) -> list[str]:
    return text.split()


def _whitespace_lower(text: str) -> list[str]:
    return text.lower().split()


def _characters(text: str) -> list[str]:
    return [character for character in text if not character.isspace()]


def _mteval_13a(text: str) -> list[str]:
    text = text.rstrip().replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for entity, character in (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")):
        text = text.replace(entity, character)
    text = f" {text} "
    text = re.sub(r"([ -&(-+/:-@\[-`{-~])", r" \1 ", text)  # ASCII punctuation but ' , - .
    text = re.sub(r"([^0-9])([.,])", r"\1 \2 ", text)
    text = re.sub(r"([.,])([^0-9])", r" \1 \2", text)
    return re.sub(r"([0-9])(-)", r"\1 \2 ", text).split()


def _jieba_words(text: str) -> list[str]:
    try:
        import jieba
    except ImportError:
        raise ModuleNotFoundError(
            "metrics: the tokenizer 'jieba' must have the package jieba, but it is not there; "
            "try pip install jieba, or tokenizer='characters'"
        ) from None
    return [word for word in jieba.cut(text) if not word.isspace()]


TOKENIZERS: Mapping[str, Callable[[str], list[str]]] = MappingProxyType(
    {
        "alphanumeric-lower": _alphanumeric_lower,
        "13a": _mteval_13a,
        "whitespace": _whitespace,
        "whitespace-lower": _whitespace_lower,
        "characters": _characters,
        "jieba": _jieba_words,
    }
)
"""How a text may be cut: lower-case runs of a-z and 0-9 (what the package rouge-score does without its stemmer);
the words of NIST's mteval-v13a, as sacreBLEU cuts them; words between white space, as they are or in lower case; single
characters other than white space, or the words of the package jieba (for Chinese)."""


def _tokens(
    prediction: Text, reference: Text, tokenizer: str, where: str
) -> tuple[list[str], list[str], str]:
    """Both cut, and by what: ``"given"`` if they were tokens already."""
    if isinstance(prediction, str) != isinstance(reference, str):
        raise ValueError(
            f"{where}: prediction and reference must be two texts or two lists of tokens, but are mixed"
        )
    if isinstance(prediction, str) and isinstance(reference, str):
        cut = named(TOKENIZERS, tokenizer, f"{where}: tokenizer")
        return cut(prediction), cut(reference), tokenizer
    return list(prediction), list(reference), "given"


def _refuse_a_text(where: str, *lists: Sequence[object]) -> None:
    """A text is a sequence of texts, too, but nobody means its letters."""
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
        rouge1: Shared tokens.
        rouge2: Shared pairs of neighbouring tokens.
        rougeL: The longest common subsequence of tokens.
        tokenizer: What cut the texts into tokens: a name of `TOKENIZERS`, or ``"given"``.
    """

    rouge1: Overlap
    rouge2: Overlap
    rougeL: Overlap  # noqa: N815 - its name everywhere
    tokenizer: str


def rouge(prediction: Text, reference: Text, *, tokenizer: str = "alphanumeric-lower") -> Rouge:
    """ROUGE-1, ROUGE-2 and ROUGE-L of a prediction against a reference.

    Args:
        prediction: A text, or its tokens.
        reference: A text, or its tokens.
        tokenizer: Name of the tokenizer for texts, see `TOKENIZERS`. Tokens are taken as they are.

    Returns:
        Fractions in 0..1; 0 where a text has no tokens (or, for ROUGE-2, no pair of them).

    Raises:
        ValueError: If the tokenizer is unknown, or one argument is a text and the other tokens.

    Example:
        >>> rouge("mail, web server", "web server; mail").rouge1.f1
        1.0
        >>> rouge("mail, web server", "web server; mail").rougeL
        Overlap(precision=0.666..., recall=0.666..., f1=0.666...)
    """
    mine, truth, cut_by = _tokens(prediction, reference, tokenizer, "rouge")
    return Rouge(
        Overlap(*_core.rouge_1(mine, truth)),
        Overlap(*_core.rouge_2(mine, truth)),
        Overlap(*_core.rouge_l(mine, truth)),
        cut_by,
    )


def hashtag_overlap(prediction: Sequence[str], reference: Sequence[str], at: int | None = None) -> Overlap:
    """Precision, recall and F1 of hashtags as sets.

    Args:
        prediction: Hashtags in the order written; repeats do not count.
        reference: The note's own hashtags.
        at: Only so many first ones of the prediction count (F1@j). Default: all.

    Returns:
        Fractions in 0..1; 0 where a side is empty.

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
    mine, truth = list(dict.fromkeys(prediction))[:at], list(dict.fromkeys(reference))
    return Overlap(*_core.rouge_1(mine, truth))


_SMOOTHINGS: Mapping[str, _core.BleuSmoothing] = {
    "none": _core.BleuSmoothing.none,
    "floor": _core.BleuSmoothing.floor,
    "add-1": _core.BleuSmoothing.add_one,
    "exp": _core.BleuSmoothing.exp,
}


class Bleu(NamedTuple):
    """BLEU of a text or of a corpus (Papineni et al., 2002).

    Attributes:
        score: In 0..1.
        order: The longest n-grams: 4 for BLEU-4.
        tokenizer: What cut the texts into tokens: a name of `TOKENIZERS`, or ``"given"``.
        smoothing: What stood for a precision of 0.
    """

    score: float
    order: int
    tokenizer: str
    smoothing: str


def bleu(
    prediction: Text, reference: Text, *, order: int = 4, tokenizer: str = "13a", smoothing: str = "exp"
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
    tokenizer: str = "13a",
    smoothing: str = "exp",
) -> Bleu:
    """BLEU of many texts together, one reference each.

    Args:
        predictions: Texts, or lists of tokens.
        references: As many, in the same order.
        order: The longest n-grams, from 1 to 4. Where the predictions have none of some n, that n and longer ones are
            left out (sacreBLEU's ``effective_order``), so that a text of one word can be perfect.
        tokenizer: Name of the tokenizer for texts, see `TOKENIZERS`.
        smoothing: For an n-gram precision of 0: ``"none"`` (BLEU is 0), ``"floor"`` (0.1 matches), ``"add-1"`` (for n >
            1, whatever the precision) or ``"exp"`` (1/2, 1/4, ... matches): sacreBLEU's, with its defaults.

    Returns:
        The score in 0..1; 0 where nothing matches.

    Raises:
        ValueError: If lengths differ, or an option is unknown.
    """
    counts, cut_by = bleu_counts(predictions, references, tokenizer=tokenizer)
    how = named(_SMOOTHINGS, smoothing, "bleu: smoothing")
    return Bleu(_core.bleu(counts, order, how), order, cut_by, smoothing)


def bleu_counts(
    predictions: Sequence[Text], references: Sequence[Text], *, tokenizer: str = "13a"
) -> tuple[npt.NDArray[np.int64], str]:
    """What BLEU is computed from, text by text: its sum over texts is the corpus's.

    Returns:
        Shape ``(n, 10)``: matching n-grams for n = 1..4, all n-grams of the prediction for n = 1..4, and the tokens of
        prediction and reference; and what cut the texts.

    Raises:
        ValueError: If lengths differ, or the tokenizer is unknown.
    """
    _refuse_a_text("bleu", predictions, references)
    named(TOKENIZERS, tokenizer, "bleu: tokenizer")
    if len(predictions) != len(references):
        raise ValueError(
            f"bleu_counts: predictions and references must be equally many, but are {len(predictions)} and "
            f"{len(references)}"
        )
    rows, cut_by = np.zeros((len(predictions), 10), dtype=np.int64), set()
    for row, prediction, reference in zip(rows, predictions, references, strict=True):
        mine, truth, by = _tokens(prediction, reference, tokenizer, "bleu")
        row[:] = _core.bleu_counts(mine, [truth])
        cut_by.add(by)
    if len(cut_by) > 1:
        raise ValueError("bleu: all must be texts, or all lists of tokens, but are mixed")
    return rows, cut_by.pop() if cut_by else tokenizer


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
        samples: Resamples.
        seed: The same seed gives the same interval.
        level: Share of resampled scores inside the interval.

    Raises:
        ValueError: If there is no text, or an option is out of range.
    """
    how = named(_SMOOTHINGS, smoothing, "bleu: smoothing")
    return Interval(*_core.bootstrap_bleu(counts, order, how, samples, seed, level))


def bleu_as_released(prediction: Text, reference: Text, *, tokenizer: str = "whitespace") -> Bleu:
    """BLEU-4 of one text as the paper's public code computes it: only to compare with its numbers.

    That code hands the reference's words over where a list of references is wanted, so that every word is taken for a
    reference of its own and its characters for words. Words of more than one character then match nothing, and a
    perfect prediction made of them scores 0.

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
    mine, truth, cut_by = _tokens(prediction, reference, tokenizer, "bleu")
    counts = np.array([_core.bleu_counts(mine, [list(word) for word in truth] or [[]])], dtype=np.int64)
    has_all = bool(np.all(counts[0, 4:8] > 0))  # without n-grams of some n, that code's score is 0
    score = _core.bleu(counts, 4, _core.BleuSmoothing.none) if has_all else 0.0
    return Bleu(score, 4, cut_by, "none")
