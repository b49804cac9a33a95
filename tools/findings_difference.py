"""A comparison of two rows, as documents print it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from findings_ledger import Percent

from notellm.app.numbers import signed_points
from notellm.evaluation import Comparison, Verdict
from notellm.metrics import Interval

WORDS = {"undecided": "not decided"}
REVERSED = {Verdict.HIGHER: Verdict.LOWER, Verdict.LOWER: Verdict.HIGHER}


@dataclass(frozen=True)
class Difference:
    """A comparison, in points: prints itself with its interval and its verdict.

    Attributes:
        row: Key of the row that is compared.
        found: What the table says of it.
    """

    row: str
    found: Comparison

    @property
    def verdict(self) -> str:
        """``"higher"``, ``"lower"``, ``"equivalent"`` or ``"not decided"``."""
        return WORDS.get(self.found.verdict.value, self.found.verdict.value)

    @property
    def value(self) -> float:
        """The difference."""
        return self.found.difference.value

    @property
    def points(self) -> str:
        """The difference with its sign."""
        return signed_points(self.value)

    @property
    def high(self) -> float:
        """The upper end of the interval."""
        return self.found.difference.high

    @property
    def interval(self) -> str:
        """Of 95 %, for this comparison alone."""
        return f"{signed_points(self.found.difference.low)} to {signed_points(self.found.difference.high)}"

    @property
    def could_be_seen(self) -> Percent:
        """The smallest true difference that had a chance of 80 % to be called higher or lower."""
        return Percent(self.found.smallest)

    def reversed(self, row: str) -> Difference:
        """The other row, of this key, minus this one."""
        value, low, high = self.found.difference
        verdict = REVERSED.get(self.found.verdict, self.found.verdict)
        return Difference(row, replace(self.found, difference=Interval(-value, -high, -low), verdict=verdict))

    def __str__(self) -> str:
        return f"{self.points} ({self.interval}; {self.verdict})"
