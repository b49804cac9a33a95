"""Metrics of ranks against their definitions, written down once more over full orders."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from notellm.evaluation import evaluate_ranks, shares, to_table
from notellm.retrieval import Ranks, target_ranks

KS = [1, 2, 5, 20]


@st.composite
def rankings(draw):
    """Scores without ties of some queries, and up to three targets of each."""
    random = np.random.default_rng(draw(st.integers(0, 2**31)))
    queries, notes = draw(st.integers(1, 6)), draw(st.integers(3, 30))
    scores = np.stack([random.permutation(notes) for _ in range(queries)]).astype(np.float64)
    targets = np.stack([random.permutation(notes)[:3] for _ in range(queries)])
    targets[random.random(targets.shape) < 0.3] = -1
    targets[:, 0] = np.where((targets < 0).all(1), 0, targets[:, 0])
    return scores, targets


def by_definition(order, targets, k):
    """Recall, hit, NDCG and 1 / rank of one query, from the order of its notes."""
    gains = [1 / math.log2(place + 2) for place, note in enumerate(order[:k]) if note in targets]
    ideal = sum(1 / math.log2(place + 2) for place in range(min(k, len(targets))))
    first = min(list(order).index(note) for note in targets)
    return len(gains) / len(targets), float(bool(gains)), sum(gains) / ideal, 1 / (first + 1)


@settings(max_examples=100, deadline=None)
@given(rankings())
def test_metrics_equal_their_definitions(ranking):
    scores, targets = ranking
    ranks = target_ranks(
        torch.from_numpy(scores), torch.eye(scores.shape[1], dtype=torch.float64), torch.from_numpy(targets)
    )
    (row,) = evaluate_ranks(ranks, KS)
    orders = np.argsort(-scores, axis=1)
    for k in KS:
        own = [
            by_definition(order, [t for t in mine if t >= 0], k)
            for order, mine in zip(orders, targets, strict=True)
        ]
        expected = np.mean(own, axis=0)
        found = (row.recall[k], row.hit_rate[k], row.ndcg[k], row.mrr)
        assert [each.value for each in found] == pytest.approx(list(expected))
    assert row.tied == 0


def test_ties_are_averaged_over_all_orders():
    (row,) = evaluate_ranks(Ranks(torch.tensor([1]), torch.tensor([2])), [1, 3])
    assert row.recall[3].value == pytest.approx(2 / 3)
    assert row.ndcg[3].value == pytest.approx((1 / math.log2(3) + 1 / math.log2(4)) / 3)
    assert row.tied == 1


def test_parts_have_their_own_queries():
    ranks = Ranks(torch.tensor([0, 9, 0, -1]), torch.tensor([0, 0, 0, -1]))
    rows = evaluate_ranks(ranks, [1], splits={"category": ["tea", "tea", None, "craft"]})
    assert [(row.split, row.part, row.queries, row.recall[1].value) for row in rows] == [
        ("all", "all", 3, pytest.approx(2 / 3)),
        ("category", "tea", 2, 0.5),
    ]
    table = to_table(rows).to_pylist()
    assert {"split": "category", "part": "tea", "queries": 2, "metric": "recall", "k": 1}.items() <= table[
        5
    ].items()
    assert table[4]["metric"] == "tied"
    assert table[4]["low"] is None


def test_equal_values_are_in_one_part():
    assert shares([1, 1, 7], [1, 1, 1, 1, 7], {"low": 0.3, "middle": 0.7, "high": 1.0}) == ["middle"] * 2 + [
        "high"
    ]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: evaluate_ranks(Ranks(torch.tensor([-1]), torch.tensor([-1])), [1]), "have none"),
        (
            lambda: evaluate_ranks(Ranks(torch.tensor([1]), torch.tensor([0])), [1], splits={"c": []}),
            "evaluate_ranks: c must name a part for each of 1 queries, but has 0",
        ),
        (lambda: evaluate_ranks(Ranks(torch.tensor([1]), torch.tensor([0])), [0]), "ks must be at least 1"),
        (lambda: shares([1], [], {"all": 1.0}), "the pool must not be empty"),
        (lambda: shares([1], [1], {"low": 0.5}), r"must ascend from above 0 to 1, but are \[0.5\]"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
