"""Timing keeps every round, and all are timed in turns."""

import time

import harness


def test_every_round_is_kept_and_all_take_turns():
    order = []
    calls = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}
    rounds = harness.time_in_turns(calls, 3)
    assert order == ["a", "b"] * 4  # a warm-up of each, then three rounds
    assert {name: len(own) for name, own in rounds.items()} == {"a": 3, "b": 3}


def test_a_round_of_several_calls_is_their_mean():
    calls = []
    rounds = harness.time_plainly({"nap": lambda: calls.append(time.sleep(0.01))}, 2, is_warm=True, repeats=5)
    assert len(calls) == 10
    assert all(0.01 <= seconds < 0.04 for seconds in rounds["nap"])


def test_medians_are_those_of_the_rounds():
    assert harness.medians({"a": [3.0, 1.0, 2.0], "b": [0.5]}) == {"a": 2.0, "b": 0.5}


def test_the_fastest_size_wins_and_a_single_one_is_not_timed():
    sizes = []
    assert harness.fastest(lambda size: time.sleep(0.02 * abs(size - 8)), [4, 8, 9]) == 8
    assert harness.fastest(sizes.append, [16]) == 16
    assert sizes == [16]  # the warm-up
