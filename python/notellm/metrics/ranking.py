"""Metrics of ranks: recall, reciprocal ranks, and splits of queries by the exposure of their targets."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from notellm._core import metrics as _core
from notellm.metrics.arrays import BoolArray, FloatArray, named
from notellm.retrieval import Ranks

Ties = Literal["mean", "optimistic", "pessimistic"]
"""Where a target is placed among notes with exactly its score: anywhere with equal chance (the expected value),
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


def gains_at(ranks: Ranks, ks: Sequence[int], *, ties: Ties = "mean") -> FloatArray:
    """The discounted gain of each query's target: ``1 / log2(rank + 1)`` if it is among the first ``k``, else 0.

    With one target for each query their mean is NDCG@k, since the best possible gain is 1.

    Args:
        ranks: Counts of ``Q`` queries from `notellm.target_ranks`.
        ks: ``K`` cut-offs, each at least 1.
        ties: Where a target stands among notes of its score.

    Returns:
        Shape ``(Q, K)``, in 0..1; with ``"mean"`` the expected values.

    Raises:
        ValueError: If a cut-off is below 1 or ``ties`` is unknown.

    Example:
        >>> import torch
        >>> gains_at(Ranks(greater=torch.tensor([0, 2, 2]), equal=torch.tensor([0, 0, 0])), [1, 3]).tolist()
        [[1.0, 1.0], [0.0, 0.5], [0.0, 0.5]]
    """
    greater, equal = _counts(ranks)
    return _core.gains_at(greater, equal, np.asarray(ks, dtype=np.int64), _ties(ties))


def reciprocal_ranks(ranks: Ranks, *, ties: Ties = "mean") -> FloatArray:
    """1 / rank of each query's target (ranks start at 1); with ``ties="mean"`` the expected value.

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


def reciprocal_ranks_at(ranks: Ranks, ks: Sequence[int], *, ties: Ties = "mean") -> FloatArray:
    """1 / rank of each query's target if it is among the first ``k``, else 0.

    With one target for each query their mean is MRR@k, and MAP@k too.

    Args:
        ranks: Counts of ``Q`` queries from `notellm.target_ranks`.
        ks: ``K`` cut-offs, each at least 1.
        ties: Where a target stands among notes of its score.

    Returns:
        Shape ``(Q, K)``, in 0..1; with ``"mean"`` the expected values.

    Raises:
        ValueError: If a cut-off is below 1 or ``ties`` is unknown.

    Example:
        >>> import torch
        >>> ranks = Ranks(greater=torch.tensor([0, 2]), equal=torch.tensor([0, 1]))
        >>> reciprocal_ranks_at(ranks, [1, 3]).round(3).tolist()
        [[1.0, 1.0], [0.0, 0.167]]
    """
    cutoffs = np.asarray(ks, dtype=np.int64)
    if (cutoffs < 1).any():
        raise ValueError(f"reciprocal_ranks_at: ks must be at least 1, but hold {cutoffs.min()}")
    first, last = (places[:, None] for places in _places(ranks, ties))  # (Q, 1)
    sums = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, cutoffs.max(initial=0) + 1))])  # of 1 / rank
    begin, end = np.minimum(first - 1, cutoffs), np.minimum(last, cutoffs)  # (Q, K)
    return np.asarray((sums[end] - sums[begin]) / (last - first + 1))


def log_ranks(ranks: Ranks, *, ties: Ties = "mean") -> FloatArray:
    """Natural logarithm of each target's rank; less is better, and no cut-off decides.

    A note found at rank 20 instead of 40 counts as much as one at rank 2 instead of 4: so their mean sees changes that
    a recall does not, and is not ruled by the worst queries, as a mean rank is.

    Args:
        ranks: Counts of ``Q`` queries from `notellm.target_ranks`.
        ties: Where a target stands among notes of its score.

    Returns:
        Shape ``(Q,)``, at least 0; with ``"mean"`` the expected values.

    Raises:
        ValueError: If ``ties`` is unknown.

    Example:
        >>> import torch
        >>> log_ranks(Ranks(greater=torch.tensor([0, 2]), equal=torch.tensor([0, 1]))).round(3).tolist()
        [0.0, 1.242]
    """
    first, last = (torch.from_numpy(places).double() for places in _places(ranks, ties))
    sums = torch.lgamma(last + 1) - torch.lgamma(first)  # of ln(rank), from the first to the last place
    return np.where(first == last, torch.log(first), sums / (last - first + 1))


def _places(ranks: Ranks, ties: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The first and the last rank, from 1, that each target can have; it has any between with equal chance."""
    greater, equal = _counts(ranks)
    _ties(ties)
    first = greater + 1 if ties != "pessimistic" else greater + equal + 1
    last = greater + equal + 1 if ties != "optimistic" else greater + 1
    return first, last


LOW, HIGH = 0.3, 0.1
"""Fractions of a pool that are called its least and its most exposed notes."""


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
    exposure_of_targets: npt.ArrayLike, pool_exposure: npt.ArrayLike, low: float = LOW, high: float = HIGH
) -> ExposureSplit:
    """Splits queries by the exposure of their ground truth, at quantiles of the pool's exposures.

    Notes with the same exposure as the last one inside a share are inside, too, so ties can make it larger. A note
    that would be in both shares (because many exposures are equal) is in neither.

    Args:
        exposure_of_targets: Shape ``(Q,)``, how often each query's ground truth was shown.
        pool_exposure: Shape ``(N,)``, the same for all notes of the pool.
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


def mid_ranks(values: npt.ArrayLike) -> FloatArray:
    """For each value the share of values that are smaller; equal ones count half.

    Args:
        values: Shape ``(N,)``.

    Returns:
        Shape ``(N,)``, in (0, 1).

    Example:
        >>> mid_ranks([5, 1, 1, 9]).tolist()
        [0.625, 0.25, 0.25, 0.875]
    """
    own = np.asarray(values)
    ordered = np.sort(own)
    twice = np.searchsorted(ordered, own, "left") + np.searchsorted(ordered, own, "right")
    return np.asarray(twice / (2 * len(own)))


def _counts(ranks: Ranks) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    return np.asarray(ranks.greater, dtype=np.int64), np.asarray(ranks.equal, dtype=np.int64)


def _ties(ties: str) -> _core.Ties:
    return named(_TIES, ties, "ties")


def _mean(values: FloatArray, where: str) -> FloatArray:
    if not len(values):
        raise ValueError(f"{where}: ranks must hold at least one query, but are empty")
    return np.asarray(values.mean(axis=0))


def _share_of(count: int, share: float) -> int:
    return max(1, int(np.ceil(share * count - 1e-9)))  # 0.3 * 10 is not quite 3
