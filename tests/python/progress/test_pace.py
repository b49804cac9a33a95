"""Rates and times left, by a clock of our own."""

import pytest

from notellm.pace import Pace, duration_text, pace_text


class FakeClock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def paced(*reports, total=60):
    """A pace after reports ``(seconds, done)``, and its clock."""
    clock = FakeClock()
    pace = Pace(clock)
    for seconds, done in reports:
        clock.now = 100.0 + seconds
        pace.report(done, total)
    return pace, clock


def test_before_the_first_unit_nothing_is_known():
    pace, clock = paced((0, 0), (5, 0), (9, 0))
    clock.now += 3
    assert not pace.is_first_done
    assert pace.seconds_a_unit is None
    assert pace.seconds_left() is None
    assert pace.elapsed == 12


def test_the_first_unit_gives_a_pace_but_no_time_left():
    pace, _ = paced((1, 0), (41, 1))
    assert pace.is_first_done
    assert pace.seconds_a_unit == 40
    assert pace.seconds_left() is None


def test_from_the_second_unit_on_the_first_is_left_out():
    pace, _ = paced((1, 0), (41, 1), (53, 2))
    assert pace.seconds_a_unit == 12
    assert pace.seconds_left() == 58 * 12
    pace, _ = paced((1, 0), (41, 1), (53, 2), (69, 3))
    assert pace.seconds_a_unit == 14
    assert pace.seconds_left() == 57 * 14


def test_the_time_left_runs_down_between_two_reports():
    pace, clock = paced((0, 0), (10, 1), (14, 2), total=4)
    clock.now += 3
    assert pace.seconds_left() == 5
    clock.now += 30  # the third is late: nothing is left of it, and nothing is negative
    assert pace.seconds_left() == 0


def test_what_an_earlier_call_has_done_does_not_count():
    pace, _ = paced((0, 20), (10, 21), (20, 23))
    assert pace.seconds_a_unit == 5
    assert pace.seconds_left() == 37 * 5


def test_batches_count_by_their_units():
    pace, _ = paced((0, 0), (8, 32), (12, 64), (12, 64), (18, 72), total=100)
    assert pace.seconds_a_unit == pytest.approx(10 / 40)
    assert pace.seconds_left() == pytest.approx(28 / 4)


def test_reports_of_one_instant_do_no_harm():
    pace, _ = paced((0, 0), (0, 1), (0, 2))
    assert pace.seconds_a_unit == 0
    assert pace.seconds_left() == 0
    assert pace_text(pace.seconds_a_unit, "steps").endswith("steps/s")


@pytest.mark.parametrize(
    ("seconds", "unit", "text"),
    [
        (0.5, "outputs", "2.0 outputs/s"),
        (1.0, "steps", "1.0 steps/s"),
        (1.1, "steps", "1.1 s a step"),
        (25.0, "outputs", "25.0 s an output"),
        (1234.5, "steps", "1,234 s a step"),
        (0.001, "notes", "1,000.0 notes/s"),
        (3.0, "MiB", "3.0 s a MiB"),
    ],
)
def test_a_pace_is_never_nothing_a_second(seconds, unit, text):
    assert pace_text(seconds, unit) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (119.4, "119 s"),
        (119.6, "2 min"),
        (3570, "60 min"),
        (7190, "2 h 0 min"),
        (20000, "5 h 33 min"),
    ],
)
def test_durations(seconds, text):
    assert duration_text(seconds) == text
