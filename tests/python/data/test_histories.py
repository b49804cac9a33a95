"""Histories and what came next, against a loop over the events of each user."""

import numpy as np
import pytest

from notellm.data import Interactions
from notellm.data.histories import next_notes, read_moment
from notellm.errors import DataError


def random_log(seed, *, events=True):
    draw = np.random.default_rng(seed)
    rows = 400
    return Interactions(
        draw.integers(0, 40, rows),
        draw.integers(0, 25, rows),
        [f"u{i}" for i in range(40)],
        [f"n{i}" for i in range(25)],
        times=draw.integers(0, 1000, rows),
        events=draw.integers(0, 2, rows).astype(np.int8) if events else None,
    )


def by_user(log, among):
    """The notes of each user in the order in which they were had first, with their times."""
    order = np.argsort(log.times, kind="stable")
    found = {}
    for row in order.tolist():
        user, note = int(log.users[row]), int(log.notes[row])
        is_click = log.events is None or log.events[row] == 1
        if is_click and note in among and note not in found.setdefault(user, {}):
            found[user][note] = int(log.times[row])
    return found


@pytest.mark.parametrize("events", [True, False])
@pytest.mark.parametrize("split", ["last", "400"])
@pytest.mark.parametrize("among", [range(25), range(0, 25, 3)])
def test_histories_and_targets_are_those_of_a_loop(events, split, among):
    log = random_log(3, events=events)
    expected, known = {}, set()
    for user, notes in by_user(log, set(among)).items():
        had = list(notes)[:-1] if split == "last" else [note for note, time in notes.items() if time < 400]
        known |= {(user, note) for note in had}
        if had and len(had) < len(notes):
            expected[user] = had[-6:], list(notes)[len(had)], had
    found = next_notes(log, split, among=list(among), longest=6)
    histories, had = (
        [[note for note in row if note >= 0] for row in of.tolist()] for of in (found.histories, found.had)
    )
    own = dict(
        zip(found.users.tolist(), zip(histories, found.targets.tolist(), had, strict=True), strict=True)
    )
    assert own == expected
    assert len(expected) > 5
    assert set(zip(found.known.users.tolist(), found.known.notes.tolist(), strict=True)) == known
    assert len(found.known) == len(known)
    assert all(
        row == sorted(row, key=lambda note: note >= 0) for row in found.histories.tolist()
    )  # -1 in front


def test_without_times_the_order_of_the_rows_counts():
    log = Interactions([0, 1, 0, 0], [2, 0, 1, 2], ["a", "b"], ["x", "y", "z"])
    found = next_notes(log)
    assert (found.users.tolist(), found.histories.tolist(), found.targets.tolist()) == ([0], [[2]], [1])


def test_nobody_may_have_a_next_note():
    assert len(next_notes(Interactions([0, 1], [0, 1], ["a", "b"], ["x", "y"]))) == 0
    assert len(next_notes(Interactions([], [], [], ["x"]))) == 0


def test_moments():
    assert read_moment("2024-01-31") == read_moment("2024-01-31T01:00+01:00") == 1706659200
    fine = Interactions([0, 0], [0, 1], ["a"], ["x", "y"], times=np.array([1.5, 2.5]))
    assert next_notes(fine, "2").targets.tolist() == [1]
    assert len(next_notes(fine, "1.5")) == 0  # the first note is not before it


def test_a_split_at_a_date_in_digits_is_that_at_the_date(tmp_path):
    (tmp_path / "l.csv").write_text("user,note,time\nu,a,20240131\nu,b,20240202\nu,c,20240203\n")
    log = Interactions.read(tmp_path / "l.csv")
    for split in ("20240202", "2024-02-02"):
        assert next_notes(log, split).targets.tolist() == [1]
    assert read_moment("20240202") == read_moment("2024-02-02")


@pytest.mark.parametrize(
    "text", ["20240230", "00010101", "99990101", "2024001", "1706659200", "20240131235959", "20240131.10"]
)
def test_digits_that_are_no_date_are_a_number(text):
    assert read_moment(text) == float(text)


@pytest.mark.parametrize("unit", [10**3, 10**6, 10**9])
def test_smaller_units_than_seconds_are_not_split_at_a_date(unit):
    day = read_moment("2024-02-02")
    log = Interactions([0, 0], [0, 1], ["a"], ["x", "y"], times=np.array([day - 1, day], np.int64) * unit)
    problem = (
        rf"times must be seconds to be split at a date, but the middle one is 17068\d+; try {day * unit:.0f}$"
    )
    for split in ("2024-02-02", "20240202"):
        with pytest.raises(DataError, match=problem):
            next_notes(log, split)
    assert next_notes(log, f"{day * unit:.0f}").targets.tolist() == [1]
    fine = Interactions(log.users, log.notes, ["a"], ["x", "y"], times=log.times, ticks_per_second=unit)
    assert next_notes(fine, "2024-02-02").targets.tolist() == [1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: read_moment("soon"), "a moment must be a date or a number, but is 'soon'"),
        (lambda: next_notes(random_log(0), longest=0), "longest must be at least 1, but is 0"),
        (
            lambda: next_notes(Interactions([0], [0], ["a"], ["x"], ordered=False)),
            "the log must have an order, but is of baskets without times",
        ),
        (
            lambda: next_notes(Interactions([0], [0], ["a"], ["x"]), "2024-01-31"),
            "the log must have times to be split at 2024-01-31, but has none; try 'last'",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
