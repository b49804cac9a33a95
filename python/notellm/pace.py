"""The speed of a long call and its remaining time, computed from its progress reports, and as text."""

import time
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Pace", "duration_text", "pace_text"]

Clock = Callable[[], float]
"""Returns seconds since some fixed instant."""


class _Mark(NamedTuple):
    seconds: float
    done: int


class Pace:
    """The progress of a long call, from its reports.

    The first unit (or batch of units) includes loading and compiling, so it says little about the others: it counts
    only until there is a second one. Units done before the first report, by an earlier call, never count.

    Args:
        clock: The clock.

    Attributes:
        done: Units done, as last reported. total: Number of units; 0 before the first report.

    Example:
        >>> times = iter([0.0, 0.0, 9.0, 12.0, 13.0])
        >>> pace = Pace(lambda: next(times))
        >>> for done in range(3):
        ...     pace.report(done, 60)
        >>> pace.seconds_a_unit, pace.seconds_left()
        (3.0, 173.0)
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._begin = clock()
        self.done = self.total = 0
        self._start: _Mark | None = None
        self._first: _Mark | None = None  # when the first unit was done
        self._newest: _Mark | None = None  # when the newest was

    def report(self, done: int, total: int) -> None:
        """Takes a report; a report with nothing new changes nothing."""
        self.done, self.total = done, total
        mark = _Mark(self._clock(), done)
        if self._start is None:
            self._start = mark
        elif done > (self._newest or self._start).done:
            self._first = self._first or mark
            self._newest = mark

    @property
    def elapsed(self) -> float:
        """Seconds since this object was created."""
        return self._clock() - self._begin

    @property
    def is_first_done(self) -> bool:
        """Whether anything has been done since the first report."""
        return self._first is not None

    @property
    def is_second_done(self) -> bool:
        """Whether more than the first unit (or batch of units) has been done; from then on there is an estimate."""
        return self._first is not None and self._newest is not self._first

    @property
    def seconds_a_unit(self) -> float | None:
        """Mean seconds per unit after the first; of the first if there is no other; None if there is none."""
        if self._start is None or self._first is None or self._newest is None:
            return None
        since = self._first if self.is_second_done else self._start
        return (self._newest.seconds - since.seconds) / (self._newest.done - since.done)

    def seconds_left(self) -> float | None:
        """Estimated seconds until all is done; None before the second unit (or batch of units)."""
        each = self.seconds_a_unit
        if each is None or self._newest is None or not self.is_second_done:
            return None
        return max(each * (self.total - self.done) - (self._clock() - self._newest.seconds), 0.0)


def pace_text(seconds: float, unit: str) -> str:
    """A pace in words, fast or slow.

    Args:
        seconds: Seconds per unit.
        unit: Its name, in the plural.

    Example:
        >>> pace_text(0.04, "steps"), pace_text(12.34, "steps"), pace_text(2, "outputs")
        ('25.0 steps/s', '12.3 s a step', '2.0 s an output')
    """
    if seconds <= 1:
        return f"{1 / max(seconds, 1e-9):,.1f} {unit}/s"
    one = unit.removesuffix("s")
    shown = f"{seconds:.1f}" if seconds < 100 else f"{seconds:,.0f}"
    return f"{shown} s {'an' if one[0] in 'aeiou' else 'a'} {one}"


def duration_text(seconds: float) -> str:
    """A duration in words, rounded for a reader.

    Example:
        >>> duration_text(58.7), duration_text(1500), duration_text(8100)
        ('59 s', '25 min', '2 h 15 min')
    """
    if round(seconds) < 120:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{60 * hours + minutes} min" if hours < 2 else f"{hours:,} h {minutes} min"
