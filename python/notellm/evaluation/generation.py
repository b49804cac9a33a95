"""Evaluates generated categories and hashtags."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

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
from notellm.evaluation.word_values import Generated, WordValues, normal, word_values
from notellm.metrics import Interval, bleu_counts, calibration, confusion
from notellm.metrics.arrays import FloatArray
from notellm.text import check_analyzer, normalized, together

SHOWN_CONFUSIONS = 10


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
        values, tokenizers = word_values(
            written,
            categories,
            hashtags,
            known_categories=known_categories,
            tokenizer=cut.rouge,
            hashtag_count=hashtag_count,
        )
        cut.rouge_names.update(tokenizers)
        scores = _score_categories(written, values, categories, known_categories, bootstrap)
        scores |= _score_hashtags(written.hashtags, values, hashtags, cut, bootstrap)
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


def _mean(values: FloatArray, bootstrap: Bootstrap) -> Interval | None:
    """Over the notes that count; None if none does."""
    counting = values[~np.isnan(values)]
    return bootstrap.mean(counting) if len(counting) else None


def _score_categories(
    written: Generated,
    values: WordValues,
    truth: Sequence[str],
    known: Collection[str],
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    having = np.flatnonzero(~np.isnan(values.accuracy))
    if not len(having):
        return {}
    mine, true = normal(written.categories, having), normal(truth, having)
    mistaken = Counter((t, m) for t, m in zip(true, mine, strict=True) if t != m)
    return {
        "category_accuracy": _mean(values.accuracy, bootstrap),
        "illusory": _mean(values.illusory, bootstrap),
        "macro_f1": confusion(mine, true, {*map(normalized, known), *true}).macro_f1,
        "confusions": [
            Confusion(*pair, count)
            for pair, count in sorted(mistaken.items(), key=lambda item: (-item[1], item[0]))[
                :SHOWN_CONFUSIONS
            ]
        ],
        "closed_set": _score_closed_set(written, values.closed_set, bootstrap),
    }


def _score_closed_set(written: Generated, values: FloatArray, bootstrap: Bootstrap) -> ClosedSetResult | None:
    accuracy, having = _mean(values, bootstrap), ~np.isnan(values)
    if accuracy is None:
        return None
    found = calibration(np.asarray(written.confidence, dtype=np.float64)[having], values[having])
    bins = zip(found.edges, found.edges[1:], found.counts, found.confidence, found.accuracy, strict=False)
    drawn = [
        CalibrationBin(float(low), float(high), int(count), float(sure), float(right))
        for low, high, count, sure, right in bins
        if count
    ]
    return ClosedSetResult(accuracy, found.error, drawn)


def _score_hashtags(
    written: Sequence[Sequence[str]],
    values: WordValues,
    truth: Sequence[Sequence[str]],
    cut: _Cutting,
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """BLEU and ROUGE (F-measure) of the hashtags, joined to one text as in the prompt; and metrics of sets."""
    having = np.flatnonzero(~np.isnan(values.hashtag_f1)).tolist()
    if not having:
        return {}
    texts = [(", ".join(written[note]), ", ".join(truth[note])) for note in having]
    counts, bleu_name = bleu_counts(*zip(*texts, strict=True), tokenizer=cut.bleu)
    cut.bleu_names.add(bleu_name)
    counts = counts[counts[:, -1] > 0]  # references with tokens
    rouges = {"rouge1": values.rouge1, "rouge2": values.rouge2, "rougeL": values.rougeL}
    defined = {"bleu4": len(counts)} | {name: int((~np.isnan(own)).sum()) for name, own in rouges.items()}
    sets = (values.hashtag_precision, values.hashtag_recall, values.hashtag_f1)
    return {
        "bleu4": bootstrap.bleu(counts) if len(counts) else None,
        "rouge1": _mean(values.rouge1, bootstrap),
        "rouge2": _mean(values.rouge2, bootstrap),
        "rouge_l": _mean(values.rougeL, bootstrap),
        "hashtags": HashtagSets(*(bootstrap.mean(own[having]) for own in sets)),
        "hashtag_notes": len(having),
        "undefined": {name: len(having) - notes for name, notes in defined.items() if notes < len(having)},
    }
