"""Numbers that are dates in digits, as 20240131 is: as a number of seconds they would be days in the year 1970.

Their order is right, but their differences are not. So they are told from other numbers, and converted.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["DIGIT_DATES", "YEARS", "DigitDates", "digit_dates"]

YEARS = (1900, 2100)
"""The years of such dates. Seconds, milliseconds and microseconds since 1970 are other numbers until 2033."""

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class DigitDates:
    """A way to write dates in digits.

    Attributes:
        example: A number of this form.
        parts: How many of hour, minute and second follow the day.
    """

    example: str
    parts: int

    @property
    def place_of_day(self) -> int:
        """What the day's last digit counts."""
        return int(100**self.parts)

    def occurs(self, numbers: IntArray) -> bool:
        """Whether more than half of some numbers are such dates."""
        low, high = (year * 10_000 * self.place_of_day for year in (YEARS[0], YEARS[1] + 1))
        if not len(numbers) or numbers.max() < low or numbers.min() >= high:  # most logs: nothing is computed
            return False
        return int(np.count_nonzero(self.are_dates(numbers))) * 2 > len(numbers)

    def are_dates(self, numbers: IntArray) -> npt.NDArray[np.bool_]:
        """Which numbers are such dates: those of a day that exists."""
        day, times = self._split(numbers)
        year, month, of_month = day // 10_000, day // 100 % 100, day % 100
        there = (year >= YEARS[0]) & (year <= YEARS[1]) & (month >= 1) & (month <= 12)
        there &= (of_month >= 1) & (of_month <= _days_of_month(np.where(there, day // 100, 190_001)))
        for part, limit in zip(times, (24, 60, 60), strict=False):
            there &= part < limit
        return there

    def seconds(self, numbers: IntArray, fail: Callable[[int, str], Exception]) -> IntArray:
        """Converts such dates to seconds since 1970, in UTC.

        Args:
            numbers: Shape ``(E,)``.
            fail: Makes the error for a row, from 0.

        Raises:
            Exception: Made by ``fail``, for the first number that is no such date.
        """
        wrong = ~self.are_dates(numbers)
        if wrong.any():
            row = int(wrong.argmax())
            raise fail(row, f"must be a date like {self.example}, as most are, but is {numbers[row]}")
        day, times = self._split(numbers)
        found: IntArray = (_month(day // 100).astype("M8[D]").astype(np.int64) + day % 100 - 1) * 86_400
        for part, length in zip(times, (3600, 60, 1), strict=False):
            found += part * length
        return found

    def _split(self, numbers: IntArray) -> tuple[IntArray, list[IntArray]]:
        """Year, month and day as one number, and what follows the day."""
        times = [numbers // 100**place % 100 for place in reversed(range(self.parts))]
        return numbers // self.place_of_day, times


DIGIT_DATES = (
    DigitDates("20240131", 0),
    DigitDates("2024013123", 1),
    DigitDates("202401312359", 2),
    DigitDates("20240131235959", 3),
)
"""The ways that are known."""


def digit_dates(numbers: IntArray) -> DigitDates | None:
    """The form in which more than half of some numbers are dates in digits; None if there is none.

    Example:
        >>> form = digit_dates(np.array([20240131, 20240201]))
        >>> form.seconds(np.array([20240131, 20240201]), lambda row, why: ValueError(why)).tolist()
        [1706659200, 1706745600]
        >>> digit_dates(np.array([1706659200, 1706745600]))
    """
    return next((form for form in DIGIT_DATES if form.occurs(numbers)), None)


def _month(year_month: IntArray) -> npt.NDArray[np.datetime64]:
    """Months from numbers such as 202401."""
    return ((year_month // 100 - 1970) * 12 + year_month % 100 - 1).astype("M8[M]")


def _days_of_month(year_month: IntArray) -> IntArray:
    first = _month(year_month)
    days: IntArray = ((first + 1).astype("M8[D]") - first.astype("M8[D]")).astype(np.int64)
    return days
