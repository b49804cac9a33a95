"""From ranks and generated words to the tables of an ``evaluation.json``."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from notellm.files import atomic_write
from notellm.metrics import (
    Interval,
    Ties,
    bootstrap_difference,
    bootstrap_mean,
    category_scores,
    exposure_split,
    hits_at,
    reciprocal_ranks,
    rouge,
)
from notellm.retrieval import Ranks

__all__ = [
    "NAMES",
    "Bootstrap",
    "Generated",
    "evaluate_generation",
    "evaluate_retrieval",
    "write_evaluation",
]

Values = npt.NDArray[np.float64]

KS = (1, 10, 100, 1000)
NAMES = {
    "tfidf": "TF-IDF (same text)",
    "tfidf_full": "TF-IDF (full text)",
    "zero_shot_mean": "Zero-shot mean",
    "zero_shot_prompt": "Zero-shot prompt",
    "trained": "NoteLLM trained",
}
"""The systems we know, in the order of the tables, and what the tables call them."""

COMPARED_WITH = ("zero_shot_prompt", "tfidf", "tfidf_full")
"""The systems that the trained model is compared with, query by query."""


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made: 95 %, percentiles of the means of samples drawn with replacement."""

    samples: int = 2000
    seed: int = 0

    def mean(self, values: Values) -> dict[str, float]:
        """The mean of one value a query, with its interval."""
        return _tree(bootstrap_mean(values, samples=self.samples, seed=self.seed))

    def difference(self, a: Values, b: Values) -> dict[str, float]:
        """The mean of ``a - b`` over the same queries, with its interval."""
        return _tree(bootstrap_difference(a, b, samples=self.samples, seed=self.seed))


@dataclass(frozen=True)
class Generated:
    """What one system wrote: a category and hashtags for each of the notes evaluated."""

    categories: Sequence[str]
    hashtags: Sequence[Sequence[str]]


def evaluate_retrieval(
    systems: Mapping[str, Ranks],
    targets: npt.ArrayLike,
    exposure: npt.ArrayLike,
    *,
    ks: Sequence[int] = KS,
    ties: Ties = "mean",
    low_share: float = 0.3,
    high_share: float = 0.1,
    bootstrap: Bootstrap | None = None,
    names: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Recall and mean reciprocal rank of each system, by exposure too, and the paired differences.

    Args:
        systems: Key of each system and the ranks of its ``Q`` targets, for the same queries.
        targets: Shape ``(Q,)``; the ground truth of each query, as positions in the pool.
        exposure: Shape ``(N,)``; how often each note of the pool was seen.
        ks: Cut-offs.
        ties: How a target counts that scores the same as other notes: as the mean over the orders they
            could come in, as the first, or as the last of them.
        low_share: Low-exposure queries are those whose target is in this least exposed share of the pool.
        high_share: High-exposure queries are those whose target is in this most exposed share.
        bootstrap: How intervals are made.
        names: What to call systems that ``NAMES`` does not know, or to call otherwise.

    Returns:
        The tree of an ``evaluation.json`` without ``prompt``, ``truncation`` and ``generation``: shares
        in 0..1, ``{"value", "low", "high"}`` each. A side of the exposure without queries is left out.

    Raises:
        ValueError: If there is no system or query, or the systems have different numbers of queries.

    Example:
        >>> import torch
        >>> ranks = Ranks(greater=torch.tensor([0, 7]), equal=torch.tensor([0, 0]))
        >>> tree = evaluate_retrieval({"tfidf": ranks}, [3, 5], np.arange(10), ks=[1, 10])
        >>> tree["systems"][0]["recall"]["1"]["value"]
        0.5
    """
    target, seen = np.asarray(targets, dtype=np.int64), np.asarray(exposure, dtype=np.float64)
    _check_systems(systems, len(target))
    bootstrap, names = bootstrap or Bootstrap(), {**NAMES, **(names or {})}
    split = exposure_split(seen[target], seen, low=low_share, high=high_share)
    sides = {"low": split.low, "high": split.high}  # (Q,) bool each
    hits = {key: hits_at(ranks, ks, ties=ties) for key, ranks in systems.items()}  # (Q, len(ks)) each

    rows = []
    for key, ranks in systems.items():
        row = {"key": key, "name": names.get(key, key), "recall": _recalls(hits[key], ks, bootstrap)}
        row["mrr"] = bootstrap.mean(reciprocal_ranks(ranks, ties=ties))
        row["exposure"] = {
            side: {"queries": int(chosen.sum()), "recall": _recalls(hits[key][chosen], ks, bootstrap)}
            for side, chosen in sides.items()
            if chosen.any()
        }
        rows.append(row)
    return {
        "pool": len(seen),
        "queries": len(target),
        "ks": [int(k) for k in ks],
        "ties": ties,
        "exposure_shares": {"low": low_share, "high": high_share},
        "systems": rows,
        "differences": _differences(hits, ks, bootstrap),
    }


def evaluate_generation(
    systems: Mapping[str, Generated],
    categories: Sequence[str],
    hashtags: Sequence[Sequence[str]],
    *,
    known_categories: Collection[str],
    known_hashtags: Collection[str] = (),
    tokenizer: str = "alphanumeric-lower",
    bootstrap: Bootstrap | None = None,
    names: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Category accuracy and inventions, and the overlap of hashtags, of each system.

    Args:
        systems: Key of each system and what it wrote for the notes.
        categories: The true category of each note; ``""`` where it has none: such a note counts for
            neither accuracy nor inventions.
        hashtags: The true hashtags of each note; notes without any do not count for ROUGE.
        known_categories: The categories that notes have; others are illusory.
        known_hashtags: The hashtags that notes have; kept for the report.
        tokenizer: How ROUGE cuts hashtags into tokens: a name of ``notellm.metrics.TOKENIZERS``
            (``"characters"`` for Chinese).
        bootstrap: How intervals are made.
        names: What to call systems that ``NAMES`` does not know, or to call otherwise.

    Returns:
        The ``generation`` part of an ``evaluation.json``: shares in 0..1, ``None`` where no note counts.

    Raises:
        ValueError: If a system did not write for every note.
    """
    bootstrap, names = bootstrap or Bootstrap(), {**NAMES, **(names or {})}
    rows = []
    for key, written in systems.items():
        if not len(written.categories) == len(written.hashtags) == len(categories) == len(hashtags):
            raise ValueError(
                f"evaluate_generation: {key} must have written for all {len(categories)} notes, but wrote "
                f"{len(written.categories)} categories and {len(written.hashtags)} lists of hashtags"
            )
        row = {"key": key, "name": names.get(key, key)}
        row |= _score_categories(written.categories, categories, known_categories, bootstrap)
        row |= _score_hashtags(written.hashtags, hashtags, tokenizer, bootstrap)
        rows.append(row)
    return {
        "notes": len(categories),
        "tokenizer": tokenizer,
        "systems": rows,
        "known_categories": sorted(set(known_categories)),
        "known_hashtags": sorted(set(known_hashtags)),
    }


def write_evaluation(
    path: str | Path,
    retrieval: Mapping[str, Any],
    *,
    generation: Mapping[str, Any] | None = None,
    prompt: str = "",
    truncation: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Writes an ``evaluation.json``, complete or not at all.

    Args:
        path: The file to write.
        retrieval: From ``evaluate_retrieval``.
        generation: From ``evaluate_generation``, if there is one.
        prompt: Name of the prompt configuration.
        truncation: Tokens kept of each field, for example ``{"title": 20, "content": 80}``.

    Returns:
        The tree that was written.
    """
    document = {**retrieval, "prompt": prompt, "truncation": dict(truncation or {})}
    if generation is not None:
        document["generation"] = dict(generation)
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return document


def _check_systems(systems: Mapping[str, Ranks], queries: int) -> None:
    if not systems or queries == 0:
        raise ValueError(
            f"evaluate_retrieval: must have a system and a query, but has {len(systems)} and {queries}"
        )
    for key, ranks in systems.items():
        if len(ranks.greater) != queries:
            raise ValueError(
                f"evaluate_retrieval: {key} must have ranks for all {queries} queries, but has "
                f"{len(ranks.greater)}"
            )


def _tree(interval: Interval) -> dict[str, float]:
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def _recalls(hits: Values, ks: Sequence[int], bootstrap: Bootstrap) -> dict[str, dict[str, float]]:
    return {str(k): bootstrap.mean(hits[:, column]) for column, k in enumerate(ks)}


def _differences(hits: Mapping[str, Values], ks: Sequence[int], bootstrap: Bootstrap) -> list[dict[str, Any]]:
    trained = hits.get("trained")
    if trained is None:
        return []
    return [
        {"a": "trained", "b": other, "k": int(k)}
        | bootstrap.difference(trained[:, column], hits[other][:, column])
        for other in COMPARED_WITH
        if other in hits
        for column, k in enumerate(ks)
    ]


def _score_categories(
    written: Sequence[str], truth: Sequence[str], known: Collection[str], bootstrap: Bootstrap
) -> dict[str, Any]:
    having = [number for number, category in enumerate(truth) if category]
    if not having:
        return {"category_accuracy": None, "illusory": None}
    scores = category_scores([written[i] for i in having], [truth[i] for i in having], known)
    return {
        "category_accuracy": bootstrap.mean(scores.correct),
        "illusory": bootstrap.mean(scores.illusory),
    }


def _score_hashtags(
    written: Sequence[Sequence[str]],
    truth: Sequence[Sequence[str]],
    tokenizer: str,
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """ROUGE (F-measure) of the hashtags as one text, as the prompt joins them."""
    pairs = [(", ".join(mine), ", ".join(tags)) for mine, tags in zip(written, truth, strict=True) if tags]
    if not pairs:
        return {"rouge1": None, "rougeL": None, "hashtag_notes": 0}
    scores = [rouge(mine, tags, tokenizer=tokenizer) for mine, tags in pairs]
    return {
        "rouge1": bootstrap.mean(np.array([score.rouge1.f1 for score in scores])),
        "rougeL": bootstrap.mean(np.array([score.rougeL.f1 for score in scores])),
        "hashtag_notes": len(pairs),
    }
