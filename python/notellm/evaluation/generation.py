"""Evaluates generated categories and hashtags."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from notellm.evaluation.generation_results import (
    CalibrationBin,
    ClosedSetResult,
    Confusion,
    Generation,
    GenerationResult,
    HashtagSets,
)
from notellm.evaluation.intervals import Bootstrap
from notellm.evaluation.options import NAMES
from notellm.metrics import (
    bleu_counts,
    calibration,
    category_scores,
    confusion,
    hashtag_overlap,
    rouge,
)
from notellm.text import check_analyzer, normalized, together

SHOWN_CONFUSIONS = 10


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


def evaluate_generation(
    systems: Mapping[str, Generated],
    categories: Sequence[str],
    hashtags: Sequence[Sequence[str]],
    *,
    known_categories: Collection[str],
    known_hashtags: Collection[str] = (),
    analyzer: str = "auto",
    tokenizer: str | None = None,
    bleu_tokenizer: str | None = None,
    hashtag_count: int | None = None,
    bootstrap: Bootstrap | None = None,
    names: Mapping[str, str] | None = None,
) -> Generation:
    """Accuracy, unknown categories and confusions, and the quality of hashtags, for each system.

    Args:
        systems: Key of each system and what it wrote for the notes.
        categories: The true category of each note; ``""`` if it has none: such a note does not count in metrics of
            categories.
        hashtags: The true hashtags of each note; notes without any do not count in metrics of hashtags.
        known_categories: The categories that notes have; others are illusory.
        known_hashtags: The hashtags that notes have; kept for the report.
        analyzer: How hashtags are tokenised for ROUGE and BLEU: a name of ``notellm.text.ANALYZERS``; by default
            chosen by the script of each text.
        tokenizer: Another tokenizer for ROUGE only: a name of ``notellm.metrics.TOKENIZERS``. Default: the analyzer.
        bleu_tokenizer: The same for BLEU.
        hashtag_count: j in the sets' precision, recall and F1 at j. Default: all hashtags that were generated.
        bootstrap: How intervals are computed.
        names: Names of systems that are not in ``NAMES``, or that are to have another name.

    Returns:
        The ``generation`` part of an `Evaluation`: fractions in 0..1, ``None`` if no note counts. A note for whose
        hashtags a metric is undefined does not count in it; such notes are counted in ``undefined``.

    Raises:
        ValueError: If a system has no output for some note, or the analyzer or a tokenizer is unknown.
        NotSupportedError: If one of these needs a package that is not installed.
    """
    check_analyzer(analyzer, "evaluate_generation")
    bootstrap, names = bootstrap or Bootstrap(), {**NAMES, **(names or {})}
    cut = _Cutting(tokenizer or analyzer, bleu_tokenizer or analyzer)
    rows = []
    for key, written in systems.items():
        _check_complete(key, written, len(categories), len(hashtags))
        scores = _score_categories(written, categories, known_categories, bootstrap)
        scores |= _score_hashtags(written.hashtags, hashtags, cut, hashtag_count, bootstrap)
        rows.append(GenerationResult(key, names.get(key, key), **scores))
    return Generation(
        notes=len(categories),
        tokenizer=together(cut.rouge_names or {cut.rouge}),
        bleu_tokenizer=together(cut.bleu_names or {cut.bleu}),
        hashtag_count=hashtag_count,
        systems=rows,
        known_categories=set(known_categories),
        known_hashtags=set(known_hashtags),
    )


@dataclass(frozen=True)
class _Cutting:
    """How texts are tokenised, and the names of the tokenizers that were chosen."""

    rouge: str
    bleu: str
    rouge_names: set[str] = field(default_factory=set)
    bleu_names: set[str] = field(default_factory=set)


def _check_complete(key: str, written: Generated, categories: int, hashtags: int) -> None:
    if not len(written.categories) == len(written.hashtags) == categories == hashtags:
        raise ValueError(
            f"evaluate_generation: {key} must have written for all {categories} notes, but wrote "
            f"{len(written.categories)} categories and {len(written.hashtags)} lists of hashtags"
        )
    best, sure = written.best_categories, written.confidence
    lengths = [] if best is None else [len(best), 0 if sure is None else np.size(sure)]
    if any(length != categories for length in lengths):
        raise ValueError(
            f"evaluate_generation: {key} must have a best category and a confidence for all {categories} notes"
        )


def _score_categories(
    written: Generated, truth: Sequence[str], known: Collection[str], bootstrap: Bootstrap
) -> dict[str, Any]:
    having = [number for number, category in enumerate(truth) if category]
    if not having:
        return {}
    mine, true = _at(written.categories, having), _at(truth, having)
    known = set(map(normalized, known))
    scores = category_scores(mine, true, known)
    mistaken = Counter((t, m) for t, m in zip(true, mine, strict=True) if t != m)
    return {
        "category_accuracy": bootstrap.mean(scores.correct),
        "illusory": bootstrap.mean(scores.illusory),
        "macro_f1": confusion(mine, true, {*known, *true}).macro_f1,
        "confusions": [
            Confusion(*pair, count)
            for pair, count in sorted(mistaken.items(), key=lambda item: (-item[1], item[0]))[
                :SHOWN_CONFUSIONS
            ]
        ],
        "closed_set": _score_closed_set(written, having, true, known, bootstrap),
    }


def _at(categories: Sequence[str], notes: Sequence[int]) -> list[str]:
    """The categories of some notes, in Unicode normal form: a model may write an accent as a separate code point."""
    return [normalized(categories[note]) for note in notes]


def _score_closed_set(
    written: Generated,
    having: Sequence[int],
    true: Sequence[str],
    known: Collection[str],
    bootstrap: Bootstrap,
) -> ClosedSetResult | None:
    if written.best_categories is None:
        return None
    correct = category_scores(_at(written.best_categories, having), true, known).correct
    found = calibration(np.asarray(written.confidence, dtype=np.float64)[list(having)], correct)
    bins = zip(found.edges, found.edges[1:], found.counts, found.confidence, found.accuracy, strict=False)
    drawn = [
        CalibrationBin(float(low), float(high), int(count), float(sure), float(right))
        for low, high, count, sure, right in bins
        if count
    ]
    return ClosedSetResult(bootstrap.mean(correct), found.error, drawn)


def _score_hashtags(
    written: Sequence[Sequence[str]],
    truth: Sequence[Sequence[str]],
    cut: _Cutting,
    count: int | None,
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """BLEU and ROUGE (F-measure) of the hashtags, joined to one text as in the prompt; and metrics of sets."""
    pairs = list(zip(written, truth, strict=True))
    overlaps = [hashtag_overlap(mine, tags, at=count) for mine, tags in pairs]
    sets = np.array([overlap for overlap in overlaps if overlap is not None])  # (n, 3)
    if not len(sets):
        return {}
    having = [pair for pair, overlap in zip(pairs, overlaps, strict=True) if overlap is not None]
    texts = [(", ".join(mine), ", ".join(tags)) for mine, tags in having]
    rouges = [rouge(mine, tags, tokenizer=cut.rouge) for mine, tags in texts]
    cut.rouge_names.update(score.tokenizer for score in rouges)
    counts, bleu_name = bleu_counts(*zip(*texts, strict=True), tokenizer=cut.bleu)
    cut.bleu_names.add(bleu_name)
    counts = counts[counts[:, -1] > 0]  # references with tokens
    f1 = {
        "rouge1": [score.rouge1.f1 for score in rouges if score.rouge1 is not None],
        "rouge2": [score.rouge2.f1 for score in rouges if score.rouge2 is not None],
        "rougeL": [score.rougeL.f1 for score in rouges if score.rougeL is not None],
    }
    means = {name: bootstrap.mean(np.array(values)) if values else None for name, values in f1.items()}
    defined = {"bleu4": len(counts)} | {name: len(values) for name, values in f1.items()}
    return {
        "bleu4": bootstrap.bleu(counts) if len(counts) else None,
        "rouge1": means["rouge1"],
        "rouge2": means["rouge2"],
        "rouge_l": means["rougeL"],
        "hashtags": HashtagSets(*(bootstrap.mean(np.ascontiguousarray(sets[:, i])) for i in range(3))),
        "hashtag_notes": len(sets),
        "undefined": {name: len(sets) - notes for name, notes in defined.items() if notes < len(sets)},
    }
