"""Metrics of the ranks of systems, and the differences between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import numpy.typing as npt

from notellm.evaluation.intervals import Bootstrap, Values
from notellm.evaluation.means import Means
from notellm.evaluation.options import NAMES, EvaluationOptions
from notellm.evaluation.query_values import QueryValues, query_values
from notellm.evaluation.results import Evaluation
from notellm.evaluation.retrieval_results import ByTarget, Difference, Exposure, ListResult, RetrievalResult
from notellm.evaluation.significance import compare
from notellm.metrics import Ties, exposure_split
from notellm.metrics.arrays import BoolArray
from notellm.retrieval import Ranks

STANDARD = EvaluationOptions()
TIES = cast(Ties, STANDARD.ties)

COMPARED_WITH = ("zero_shot_prompt", "tfidf", "tfidf_full", "popularity", "cooccurrence")
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
    lists: Mapping[str, Mapping[int, ListResult]] | None = None,
    candidates: npt.ArrayLike | None = None,
) -> Evaluation:
    """Recall, NDCG, MAP and reciprocal ranks of each system, also by exposure and by target; paired differences.

    Queries may share targets: intervals and tests draw whole targets.

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
        lists: By system, from `evaluate_lists`; kept with their results.
        candidates: Shape ``(Q,)``: among how many notes each query's target has its rank; by default a query chooses
            from all notes of the pool but one, itself.

    Returns:
        The evaluation, without the fields for model and generation; fractions in 0..1. The low or high side of
        exposure is left out if it has no queries.

    Raises:
        ValueError: If there is no system, query or cut-off, a cut-off is given twice, or the systems or ``candidates``
            have different numbers of queries.

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
    _check_systems(systems, len(target))
    among = np.full(len(target), len(seen) - 1) if candidates is None else np.asarray(candidates, np.int64)
    if among.shape != target.shape:
        raise ValueError(
            f"evaluate_retrieval: candidates must be given for each of {len(target)} queries, but are {among.shape}"
        )
    asked, ks = ks, cutoffs_within(ks, int(among.max()))
    split = exposure_split(seen[target], seen, low=low_fraction, high=high_fraction)
    sides = {"low": split.low, "high": split.high}  # (Q,) bool each
    means = Means(ks, bootstrap or Bootstrap(), target)
    values = {key: query_values(ranks, ks, ties) for key, ranks in systems.items()}
    rows = [
        _result(key, own, means, sides, among, names or {}, analyzers or {}, lists or {})
        for key, own in values.items()
    ]
    _, repeated = np.unique(target, return_counts=True)
    return Evaluation(
        pool=len(seen),
        queries=len(target),
        ks=ks,
        ks_left_out=[int(k) for k in asked if k not in ks],
        ties=ties,
        exposure_fractions={"low": low_fraction, "high": high_fraction},
        systems=rows,
        differences=_differences(values, means, target),
        targets=len(repeated),
        effective_targets=float(len(target) ** 2 / (repeated**2).sum()),
    )


def _result(
    key: str,
    own: QueryValues,
    means: Means,
    sides: Mapping[str, BoolArray],
    candidates: npt.NDArray[np.int64],
    names: Mapping[str, str],
    analyzers: Mapping[str, str],
    lists: Mapping[str, Mapping[int, ListResult]],
) -> RetrievalResult:
    """What one system has found."""
    exposed = {
        side: Exposure(int(chosen.sum()), means.part(chosen).at_cutoffs(own.recall[chosen]))
        for side, chosen in sides.items()
        if chosen.any()
    }
    score, by_target = log_scores(own.log_rank, candidates), means.by_target()
    return RetrievalResult(
        key,
        {**NAMES, **names}.get(key, key),
        means.at_cutoffs(own.recall),
        means.of(own.reciprocal),
        exposed,
        analyzers.get(key, ""),
        means.at_cutoffs(own.ndcg),
        means.at_cutoffs(own.ap),
        means.of(score),
        ByTarget(
            by_target.at_cutoffs(own.recall),
            by_target.at_cutoffs(own.ndcg),
            by_target.of(own.reciprocal),
            by_target.of(score),
        ),
        dict(lists.get(key, {})),
    )


def log_scores(log_ranks: Values, candidates: npt.ArrayLike) -> Values:
    """``1 - ln(rank) / ln(candidates)``: 1 for the first place, 0 for the last one.

    A mean of logarithms sees a move from rank 400 to 200 as well as one from 4 to 2, which no single cut-off does.

    Args:
        log_ranks: Shape ``(Q,)``, natural logarithms of ranks.
        candidates: Shape ``(Q,)``, or one number: among how many notes a rank is.

    Example:
        >>> log_scores(np.log([1, 10, 100]), 100).tolist()
        [1.0, 0.5, 0.0]
    """
    last = np.log(np.maximum(candidates, 2))  # a single candidate has rank 1, and so the score 1
    return np.asarray(1 - log_ranks / last)


def cutoffs_within(ks: Sequence[int], candidates: int) -> list[int]:
    """The cut-offs that say something where a query chooses from so many notes, which is the pool without itself.

    If none does, as in a pool of very few notes, the smallest is kept.

    Example:
        >>> cutoffs_within([1, 10, 100, 1000], 571), cutoffs_within([10, 100], 4)
        ([1, 10, 100], [10])
    """
    return [int(k) for k in ks if k < candidates] or [int(min(ks))]


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


def _differences(
    values: Mapping[str, QueryValues], means: Means, targets: npt.NDArray[np.int64]
) -> list[Difference]:
    """The trained model's recall minus that of each system it is compared with, tested together."""
    trained = values.get("trained")
    if trained is None:
        return []
    pairs = [
        (other, int(k), trained.recall[:, column] - values[other].recall[:, column])
        for other in COMPARED_WITH
        if other in values
        for column, k in enumerate(means.ks)
    ]
    found = compare([means.bootstrap.resample(of, targets) for _, _, of in pairs])
    return [
        Difference(
            "trained",
            other,
            k,
            *one.difference,
            one.p,
            one.smallest if np.isfinite(one.smallest) else None,
            one.verdict.value,
        )
        for (other, k, _), one in zip(pairs, found, strict=True)
    ]
