"""What systems recommend, whether it is right or not: coverage, novelty and popularity of their lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from notellm.evaluation.intervals import Bootstrap
from notellm.evaluation.retrieval_results import ListResult
from notellm.metrics import Interval, coverage, novelty, popularity
from notellm.metrics.arrays import FloatArray
from notellm.metrics.ranking import mid_ranks

LONGEST = 100
"""Lists are looked at up to this length: nobody reads on, and to find more takes memory."""


class Audience(NamedTuple):
    """Who has seen what.

    Attributes:
        exposure: Shape ``(N,)``: events of each note of the pool.
        users_of_notes: Shape ``(N,)``: users of each.
        users: All users.
    """

    exposure: npt.NDArray[np.int64]
    users_of_notes: npt.NDArray[np.int64]
    users: int


def evaluate_lists(
    lists: npt.ArrayLike, ks: Sequence[int], audience: Audience, *, bootstrap: Bootstrap | None = None
) -> dict[int, ListResult]:
    """Coverage, novelty and popularity of the first ``k`` notes of each list.

    Args:
        lists: Shape ``(Q, K)`` int64: positions in the pool, best first; -1 where a list is shorter. Lists without a
            note say nothing of novelty and popularity.
        ks: Lengths; those above `LONGEST` are left out.
        audience: Of the pool.
        bootstrap: How intervals, over the queries, are computed.

    Raises:
        ValueError: If a list is shorter than a length, or names a note outside of the pool, or none has a note.

    Example:
        >>> seen = np.array([9, 4, 1, 0])
        >>> found = evaluate_lists([[0, 1], [0, 2]], [2], Audience(seen, seen, 16))
        >>> round(found[2].novelty.value, 3), found[2].coverage, found[2].popularity.value
        (1.915, 0.75, 0.6875)
    """
    shown, bootstrap = np.asarray(lists, dtype=np.int64), bootstrap or Bootstrap()
    wanted = [int(k) for k in ks if k <= LONGEST]
    if shown.ndim != 2 or max(wanted, default=0) > shown.shape[1]:
        raise ValueError(
            f"evaluate_lists: lists must be (Q, K) with K of at least {max(wanted, default=0)}, but are {shown.shape}"
        )
    places = mid_ranks(audience.exposure)
    return {
        k: ListResult(
            coverage(shown[:, :k], len(places)),
            _mean(novelty(shown[:, :k], audience.users_of_notes, audience.users), bootstrap),
            _mean(popularity(shown[:, :k], places), bootstrap),
        )
        for k in wanted
    }


def _mean(of_lists: FloatArray, bootstrap: Bootstrap) -> Interval:
    """The mean over the lists that have a note: of the others nothing is known."""
    return bootstrap.mean(of_lists[~np.isnan(of_lists)])
