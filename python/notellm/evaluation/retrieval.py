"""Recall and mean reciprocal rank of systems, and the differences between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import numpy.typing as npt

from notellm.evaluation.intervals import Bootstrap, Values
from notellm.evaluation.options import NAMES, EvaluationOptions
from notellm.evaluation.results import Difference, Evaluation, Exposure, RetrievalResult
from notellm.metrics import Interval, Ties, exposure_split, hits_at, reciprocal_ranks
from notellm.retrieval import Ranks

STANDARD = EvaluationOptions()
TIES = cast(Ties, STANDARD.ties)

COMPARED_WITH = ("zero_shot_prompt", "tfidf", "tfidf_full")
"""The systems that the trained model is compared with, query by query."""


def evaluate_retrieval(
    systems: Mapping[str, Ranks],
    targets: npt.ArrayLike,
    exposure: npt.ArrayLike,
    *,
    ks: Sequence[int] = STANDARD.ks,
    ties: Ties = TIES,
    low_fraction: float = STANDARD.low_fraction,
    high_fraction: float = STANDARD.high_fraction,
    bootstrap: Bootstrap | None = None,
    names: Mapping[str, str] | None = None,
    analyzers: Mapping[str, str] | None = None,
) -> Evaluation:
    """Recall and mean reciprocal rank of each system, also by exposure, and the paired differences.

    Args:
        systems: Key of each system and the ranks of its ``Q`` targets, for the same queries.
        targets: Shape ``(Q,)``; the ground truth of each query, as positions in the pool.
        exposure: Shape ``(N,)``; how often each note of the pool was shown.
        ks: Cut-offs; one that every target reaches in this pool says nothing, and is left out (`cutoffs_within`).
        ties: How a target with the same score as other notes is ranked: as the mean over all possible
            orders, as the first, or as the last of them.
        low_fraction: Low-exposure queries are those whose target is in this least exposed share of the pool.
        high_fraction: High-exposure queries are those whose target is in this most exposed share.
        bootstrap: How intervals are computed.
        names: Names of systems that are not in ``NAMES``, or that are to have another name.
        analyzers: How the texts of systems that compare words were tokenised, by key; kept with their results.

    Returns:
        The evaluation, without the fields for model and generation; fractions in 0..1. The low or high side of
        exposure is left out if it has no queries.

    Raises:
        ValueError: If there is no system, query or cut-off, a cut-off is given twice, or the systems have different
            numbers of queries.

    Example:
        >>> import torch
        >>> ranks = Ranks(greater=torch.tensor([0, 7]), equal=torch.tensor([0, 0]))
        >>> found = evaluate_retrieval({"tfidf": ranks}, [3, 5], np.arange(10), ks=[1, 10])
        >>> found.systems[0].recall[1].value
        0.5
    """
    target, seen = np.asarray(targets, dtype=np.int64), np.asarray(exposure, dtype=np.float64)
    if not len(ks) or len(set(ks)) < len(ks):
        raise ValueError(f"evaluate_retrieval: ks must be one or more, each once, but are {list(ks)}")
    asked, ks = ks, cutoffs_within(ks, len(seen))
    _check_systems(systems, len(target))
    bootstrap, names = bootstrap or Bootstrap(), {**NAMES, **(names or {})}
    split = exposure_split(seen[target], seen, low=low_fraction, high=high_fraction)
    sides = {"low": split.low, "high": split.high}  # (Q,) bool each
    hits = {key: hits_at(ranks, ks, ties=ties) for key, ranks in systems.items()}  # (Q, len(ks)) each

    rows = []
    for key, ranks in systems.items():
        exposed = {
            side: Exposure(int(chosen.sum()), _recalls(hits[key][chosen], ks, bootstrap))
            for side, chosen in sides.items()
            if chosen.any()
        }
        mrr = bootstrap.mean(reciprocal_ranks(ranks, ties=ties))
        recall = _recalls(hits[key], ks, bootstrap)
        cut_by = (analyzers or {}).get(key, "")
        rows.append(RetrievalResult(key, names.get(key, key), recall, mrr, exposed, cut_by))
    return Evaluation(
        pool=len(seen),
        queries=len(target),
        ks=ks,
        ks_left_out=[int(k) for k in asked if k not in ks],
        ties=ties,
        exposure_fractions={"low": low_fraction, "high": high_fraction},
        systems=rows,
        differences=_differences(hits, ks, bootstrap),
    )


def cutoffs_within(ks: Sequence[int], pool: int) -> list[int]:
    """The cut-offs that say something in a pool: a query can find all its notes but itself.

    If none does, as in a pool of very few notes, the smallest is kept.

    Example:
        >>> cutoffs_within([1, 10, 100, 1000], 572), cutoffs_within([10, 100], 5)
        ([1, 10, 100], [10])
    """
    return [int(k) for k in ks if k < pool - 1] or [int(min(ks))]


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


def _recalls(hits: Values, ks: Sequence[int], bootstrap: Bootstrap) -> dict[int, Interval]:
    return {int(k): bootstrap.mean(hits[:, column]) for column, k in enumerate(ks)}


def _differences(hits: Mapping[str, Values], ks: Sequence[int], bootstrap: Bootstrap) -> list[Difference]:
    trained = hits.get("trained")
    if trained is None:
        return []
    return [
        Difference(
            "trained", other, int(k), *bootstrap.difference(trained[:, column], hits[other][:, column])
        )
        for other in COMPARED_WITH
        if other in hits
        for column, k in enumerate(ks)
    ]
