"""Metrics of ranks against their definitions, written down once more over full orders."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from notellm.evaluation import evaluate_ranks, query_values, shares, to_table
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
    """Recall, hit, NDCG, average precision, 1 / rank and ln(rank) of one query, from the order of its notes."""
    gains = [1 / math.log2(place + 2) for place, note in enumerate(order[:k]) if note in targets]
    ideal = sum(1 / math.log2(place + 2) for place in range(min(k, len(targets))))
    first = min(list(order).index(note) for note in targets)
    found = [place for place, note in enumerate(order[:k]) if note in targets]
    precision = sum((number + 1) / (place + 1) for number, place in enumerate(found)) / len(targets)
    of_all = len(gains) / len(targets), float(bool(gains)), sum(gains) / ideal, precision
    return *of_all, 1 / (first + 1), math.log(first + 1)


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
        found = (row.recall[k], row.hit_rate[k], row.ndcg[k], row.map[k], row.mrr, row.log_rank)
        assert [each.value for each in found] == pytest.approx(list(expected))
    assert row.tied == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=2, max_size=6), st.integers(1, 3), st.integers(1, 6))
def test_tied_targets_are_averaged_over_all_orders_or_stand_one_behind_the_other(scores, count, k):
    """Every order that sorts the scores, and its best and its worst for the targets, the first notes."""
    notes, targets = range(len(scores)), list(range(min(count, len(scores))))
    orders = [
        order
        for order in itertools.permutations(notes)
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order))
    ]
    values = np.array([by_definition(order, targets, k)[:4] for order in orders])
    greater = [[sum(other > scores[t] for other in scores) for t in targets]]
    equal = [[sum(other == scores[t] for other in scores) - 1 for t in targets]]
    ranks = Ranks(torch.tensor(greater), torch.tensor(equal))
    for ties, expected in (
        ("mean", values.mean(axis=0)),
        ("optimistic", values.max(axis=0)),
        ("pessimistic", values.min(axis=0)),
    ):
        found = query_values(ranks, [k], ties)
        assert [found.recall[0, 0], found.ndcg[0, 0], found.ap[0, 0]] == pytest.approx(expected[[0, 2, 3]])


def test_ties_are_averaged_over_all_orders():
    (row,) = evaluate_ranks(Ranks(torch.tensor([1]), torch.tensor([2])), [1, 3])
    assert row.recall[3].value == pytest.approx(2 / 3)
    assert row.ndcg[3].value == pytest.approx((1 / math.log2(3) + 1 / math.log2(4)) / 3)
    assert row.tied == 1


def test_parts_have_their_own_queries():
    ranks = Ranks(torch.tensor([0, 9, 0, -1, 9]), torch.tensor([0, 0, 0, -1, 0]))
    rows = evaluate_ranks(ranks, [1], splits={"category": ["tea", "tea", None, "craft", float("nan")]})
    assert [(row.split, row.part, row.queries, row.recall[1].value) for row in rows] == [
        ("all", "all", 4, 0.5),
        ("category", "tea", 2, 0.5),
    ]
    table = to_table(rows).to_pylist()
    assert {"split": "category", "part": "tea", "queries": 2, "metric": "recall", "k": 1}.items() <= table[
        7
    ].items()
    assert table[6]["metric"] == "tied"
    assert table[6]["low"] is None


def test_the_macro_average_weighs_every_target_the_same():
    ranks = Ranks(torch.tensor([0, 0, 0, 9, 4, -1]), torch.tensor([0, 0, 0, 0, 0, -1]))
    targets = ["python3", "python3", "python3", "vim", "tea", "none"]
    micro, macro, *parts = evaluate_ranks(ranks, [1], targets=targets, splits={"part": ["a"] * 4 + ["b"] * 2})
    assert (micro.over, macro.over) == ("queries", "targets")
    assert (micro.recall[1].value, macro.recall[1].value) == (pytest.approx(3 / 5), pytest.approx(1 / 3))
    assert macro.log_rank.value == pytest.approx((math.log(10) + math.log(5)) / 3)
    assert [(row.part, row.over, row.recall[1].value) for row in parts] == [
        ("a", "queries", 0.75),
        ("a", "targets", 0.5),
        ("b", "queries", 0.0),
        ("b", "targets", 0.0),
    ]
    assert [line["over"] for line in to_table([macro]).to_pylist()] == ["targets"] * 7


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
        (
            lambda: evaluate_ranks(Ranks(torch.tensor([1]), torch.tensor([0])), [1], targets=["a", "b"]),
            r"targets must name one for each of 1 queries, but are \(2,\)",
        ),
        (lambda: shares([1], [], {"all": 1.0}), "the pool must not be empty"),
        (lambda: shares([1], [1], {"low": 0.5}), r"must ascend from above 0 to 1, but are \[0.5\]"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_intervals_stay_where_a_metric_can_be():
    """Few targets, of which some are shared: Student's width would reach beyond."""
    ranks = Ranks(torch.tensor([0] * 8 + [5]), torch.zeros(9, dtype=torch.int64))
    targets = [0, 0, 1, 2, 3, 4, 5, 6, 7]
    for row in evaluate_ranks(ranks, [1], targets=targets):
        for found in (row.recall[1], row.ndcg[1], row.mrr):
            assert 0 <= found.low <= found.value <= found.high <= 1
        assert row.log_rank.low >= 0
