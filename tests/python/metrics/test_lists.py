"""Coverage, novelty and popularity against their definitions, written down note by note."""

import math

import numpy as np
import pytest

from notellm.evaluation.lists import Audience, evaluate_lists
from notellm.metrics import coverage, novelty, popularity


def test_metrics_of_lists_equal_their_definitions():
    random = np.random.default_rng(0)
    lists = np.stack([random.permutation(30)[:6] for _ in range(9)])
    lists[random.random(lists.shape) < 0.3] = -1
    lists[0], lists[1, 0] = -1, 3
    users_of = random.integers(0, 12, 30)
    shown = [[note for note in own if note >= 0] for own in lists.tolist()]
    assert coverage(lists, 30) == len({note for own in shown for note in own}) / 30
    for own, found, liked in zip(
        shown, novelty(lists, users_of, 20), popularity(lists, users_of), strict=True
    ):
        bits = [math.log2(20 / max(1, users_of[note])) for note in own]
        assert found == pytest.approx(np.mean(bits) if own else math.nan, nan_ok=True)
        assert liked == pytest.approx(np.mean([users_of[n] for n in own]) if own else math.nan, nan_ok=True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: coverage([0, 1], 3),
            r"coverage: lists must be \(Q, K\) with some note, but have shape \(2,\)",
        ),
        (lambda: coverage([[-1]], 3), "coverage: lists must be .* with some note"),
        (lambda: popularity([[3]], [1, 1, 1]), r"must hold positions in \[0, 3\), or -1, but hold 3 to 3"),
        (lambda: novelty([[0]], [9], 4), "no note must have more than the 4 users, but one has 9"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_empty_list_says_nothing_and_fails_nothing():
    """Such as that of a query whose whole pool is left out."""
    seen = np.array([9, 4, 1, 0])
    few, more = (
        evaluate_lists(lists, [2], Audience(seen, seen, 16))[2] for lists in ([[0, 1]], [[0, 1], [-1, -1]])
    )
    assert (more.novelty.value, more.popularity.value) == (few.novelty.value, few.popularity.value)
