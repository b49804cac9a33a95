"""Hard negatives: near notes that are not related, found as a loop over all notes finds them."""

import tracemalloc

import numpy as np
import pytest
import torch

from notellm import hard_negatives
from notellm.errors import ConfigError
from notellm.hard_negatives import HardNegativeOptions, mine_hard_negatives

NOTES, PAIRS = 60, 90


def unit_rows(count=NOTES, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(count, 6, generator=draw, dtype=torch.float64), dim=1)


def some_pairs(seed=1):
    draw = np.random.default_rng(seed)
    return draw.integers(0, NOTES // 2, PAIRS), draw.integers(0, NOTES, PAIRS)


def by_hand(vectors, source, target, options, candidates, related, groups):
    """The definition, pair by pair."""
    known = {(a, b) for ends in ((source, target), related) for a, b in zip(*ends, strict=True)}
    known |= {(b, a) for a, b in known}
    scores, found = vectors @ vectors.T, []
    for a, b in zip(source, target, strict=True):
        unrelated = [
            note
            for note in sorted(candidates, key=lambda n, a=a: -scores[a, n])
            if note != a and (a, note) not in known and groups[note] != groups[a]
        ]
        own = scores[a, b]
        limit = min(own - options.absolute_margin, own - options.relative_margin * abs(own))
        ranked = unrelated[options.first_rank - 1 : options.last_rank]
        found.append(
            [
                note
                for note in ranked
                if scores[a, note] <= limit
                and (options.leave_out == "source" or ((b, note) not in known and groups[note] != groups[b]))
            ]
        )
    return found


@pytest.mark.parametrize(
    "options",
    [
        {"first_rank": 1, "relative_margin": 0.0},
        {"first_rank": 3, "last_rank": 9},
        {"first_rank": 2, "last_rank": 2, "relative_margin": 0.3},
        {"first_rank": 3, "last_rank": 30, "leave_out": "pair"},
        {"first_rank": 1, "last_rank": 500, "absolute_margin": 0.4},
    ],
    ids=str,
)
@pytest.mark.parametrize("large", [1024, 5, 0])
def test_they_are_those_of_the_definition(options, large, monkeypatch):
    monkeypatch.setattr(hard_negatives, "_BLOCK", 16)  # sources and pairs come in several blocks
    monkeypatch.setattr(hard_negatives, "_LARGE_GROUP", large)  # groups have 4 notes, but one, which has 12
    options, vectors = HardNegativeOptions(**options), unit_rows()
    source, target = some_pairs()
    candidates = np.random.default_rng(2).permutation(NOTES)[:41]
    related = (np.arange(0, 30, 3), np.arange(29, 59, 3))
    groups = np.arange(NOTES) // 4
    groups[8:16] = 1
    found = mine_hard_negatives(
        vectors, source, target, options=options, candidates=candidates, related=related, groups=groups
    )
    expected = by_hand(vectors, source, target, options, candidates, related, groups)
    assert [found.of_pair(p).tolist() for p in range(PAIRS)] == expected
    assert found.covered == sum(map(bool, expected)) > 0


def test_related_notes_are_none_in_either_direction():
    vectors = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.99, 0.1], [0.98, 0.2], [0.97, 0.25]]).double()
    options = HardNegativeOptions(first_rank=1, absolute_margin=0.0, relative_margin=0.0)
    near = mine_hard_negatives(vectors, [0], [2], options=options)
    assert near.of_pair(0).tolist() == [3, 4, 1]
    less = mine_hard_negatives(vectors, [0, 3], [2, 0], options=options, related=([4], [0]))
    assert less.of_pair(0).tolist() == [1]


def test_a_pair_below_all_others_has_none():
    vectors = unit_rows()
    far = int((vectors @ vectors[0]).argmin())
    found = mine_hard_negatives(vectors, [0], [far], options=HardNegativeOptions(first_rank=1))
    assert (found.offsets.tolist(), found.covered) == ([0, 0], 0)


@pytest.mark.parametrize("leave_out", ["source", "pair"])
@pytest.mark.parametrize("candidates", [[], [0]], ids=["none", "the source alone"])
def test_without_candidates_there_are_none(candidates, leave_out):
    options = HardNegativeOptions(leave_out=leave_out)
    assert mine_hard_negatives(unit_rows(), [0], [1], candidates=candidates, options=options).covered == 0


def test_notes_that_are_related_to_the_second_one_may_be_left_out():
    vectors = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.8, 0.6], [0.0, 1.0]]).double()
    options = HardNegativeOptions(first_rank=1, leave_out="pair")
    found = mine_hard_negatives(vectors, [0], [1], related=([2], [1]), options=options)
    assert found.of_pair(0).tolist() == [3]


def test_without_pairs_there_are_none():
    assert mine_hard_negatives(unit_rows(), [], []).offsets.tolist() == [0]


def test_a_group_of_most_notes_costs_no_list_for_each_of_them():
    """Such as that of an author called "unknown"."""
    vectors, count = unit_rows(20_000).float(), 20_000
    source, target = np.arange(0, count - 1), np.arange(1, count)
    groups = np.where(np.arange(count) < count - 50, 0, np.arange(count))
    tracemalloc.start()
    found = mine_hard_negatives(
        vectors, source, target, groups=groups, options=HardNegativeOptions(last_rank=20)
    )
    assert tracemalloc.get_traced_memory()[1] < 200e6  # lists would take 3.2 GB
    tracemalloc.stop()
    assert found.covered > 0
    assert all(note >= count - 50 for note in found.of_pair(7))


def test_progress_counts_the_sources(monkeypatch):
    monkeypatch.setattr(hard_negatives, "_BLOCK", 10)
    calls = []
    mine_hard_negatives(unit_rows(), *some_pairs(), progress=lambda *done: calls.append(done))
    count = len(np.unique(some_pairs()[0]))
    assert calls == [(min(10 * i, count), count) for i in range(1, len(calls) + 1)]
    assert calls[-1][0] == count


@pytest.mark.parametrize(
    ("source", "target", "given", "error", "message"),
    [
        (
            [0, 1],
            [1],
            {},
            ValueError,
            r"source and target must be two equally long lists, but have shapes \(2,\)",
        ),
        ([0], [NOTES], {}, IndexError, r"source and target must name notes in \[0, 60\), but name 0 to 60"),
        ([0], [1], {"related": ([0], [-1])}, IndexError, "related must name notes"),
        ([0], [1], {"candidates": [NOTES]}, IndexError, "candidates must name notes"),
        (
            [0],
            [1],
            {"candidates": [2, 1, 1]},
            ValueError,
            "candidates must be distinct, but 1 is given 2 times",
        ),
        (
            [0],
            [1],
            {"groups": [0, 1]},
            ValueError,
            r"groups must have shape \(60,\), one for each vector, but",
        ),
    ],
)
def test_refuses(source, target, given, error, message):
    with pytest.raises(error, match=f"mine_hard_negatives: {message}"):
        mine_hard_negatives(unit_rows(), source, target, **given)


def test_ranks_must_be_in_order():
    with pytest.raises(ConfigError, match="last_rank must be at least first_rank=9, but is 3"):
        HardNegativeOptions(first_rank=9, last_rank=3)
