"""Converts times of any form to whole numbers of one unit, exactly or not at all.

The unit is a second, or a thousandth, millionth or billionth of one: the longest in which every time of the column is a
whole number. So the order and all differences are kept.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["DATES", "NUMBERS", "TICKS", "exact_times", "form_of_times", "in_one_unit"]

TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""Units per second, by pyarrow's name of the unit."""

NUMBERS = "numbers"
DATES = "dates and times without a zone"
"""Forms of times, in words."""

Fail = Callable[[int | None, str], Exception]
"""Makes the error for a row, from 0, or for the whole column."""

_FORMS = "a number with at most nine decimals, or a date and time like 2024-01-02 03:04:05"
_ZONE = re.compile(r"(?:Z|[+-]\d\d(?::?\d\d)?)$")
_DATE = re.compile(r"\d{4}[-/]\d{1,2}[-/]\d{1,2}(?!\d).*")
_TO_PLAIN = (
    (r"^(\d{4})/(\d{1,2})/(\d{1,2})", r"\1-\2-\3"),
    (r"^(\d{4})-(\d)-", r"\1-0\2-"),
    (r"^(\d{4}-\d\d)-(\d)($|\D)", r"\1-0\2\3"),
    (r"^(\d{4}-\d\d-\d\d)[Tt ]+(\d):", r"\1 0\2:"),
    (r" *(?:UTC|GMT|z)$", "Z"),
    (r" +([+-]\d\d(?::?\d\d)?)$", r"\1"),
    (r"^(\d{4}-\d\d-\d\d)t", r"\1T"),
)
"""How dates are written elsewhere (``UTC`` in BigQuery, slashes in spreadsheets), and the form that pyarrow reads. The
year comes first in all of them, so none can be taken for another date."""

_LARGEST_EXACT = {pa.float16(): 2**11, pa.float32(): 2**24}
"""From these numbers on, the short floating-point types have no exact whole seconds."""


def exact_times(column: pa.ChunkedArray, fail: Fail) -> tuple[npt.NDArray[np.int64], int]:
    """Times as whole numbers.

    Numbers are seconds, or in any unit the user chooses. Dates mean midnight. Dates and times without a zone are read
    as UTC, those with a zone are converted to UTC; both are counted from 1970.

    Args:
        column: E integers, floating-point or decimal numbers, timestamps, dates, or texts of these.
        fail: Makes the error.

    Returns:
        Shape ``(E,)`` int64, and the number of its units per second (or per unit of the numbers): 1, 10^3, 10^6 or
        10^9.

    Raises:
        Exception: Made by ``fail``, for the first time that cannot be represented exactly, or a column of another type.
    """
    missing = pc.index(column.is_null(), True).as_py()
    if missing >= 0:
        raise fail(missing, "must be given, but is null")
    kind = column.type
    if pa.types.is_integer(kind):
        return _cast(column, pa.int64(), fail), 1
    if pa.types.is_floating(kind):
        _refuse_rounded(column, fail)
        # The shortest decimal of this number: 1700000000.9 is meant, not the binary fraction near it.
        return _decimals(column.cast(pa.float64()).cast(pa.string()), fail)
    if pa.types.is_decimal(kind):
        return _decimals(column, fail)
    if pa.types.is_date(kind):
        return _instants(column.cast(pa.date32()).cast(pa.timestamp("s")), None, fail)
    if pa.types.is_timestamp(kind):
        return _instants(column, kind.tz, fail)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _texts(pc.utf8_trim_whitespace(column.cast(pa.large_string())), fail)
    raise fail(None, f"must hold times (numbers, text, dates or timestamps), but holds {kind}")


def form_of_times(column: pa.ChunkedArray) -> str:
    """The form of a column that `exact_times` has converted, in words: equal forms may be compared with each other.

    Example:
        >>> form_of_times(pa.chunked_array([["2024-01-02 03:04:05Z"]]))
        'dates and times with a zone'
    """
    kind, zone = column.type, None
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return NUMBERS
    if pa.types.is_timestamp(kind):
        zone = kind.tz
    elif not pa.types.is_date(kind):
        first = column[0].as_py().strip()
        if not _DATE.fullmatch(first):
            return NUMBERS
        zone = _ZONE.search(first, 10)
    return DATES.replace("without", "with") if zone else DATES


def in_one_unit(
    parts: Sequence[tuple[npt.NDArray[np.int64], int]], fail: Callable[[int, str], Exception]
) -> tuple[npt.NDArray[np.int64], int]:
    """Joins times of several units.

    Args:
        parts: Times, shape ``(E_i,)``, and the units per second of each part.
        fail: Makes the error for a part, from 0.

    Returns:
        Shape ``(E,)`` int64 in the shortest of the units, and its number per second.

    Raises:
        Exception: Made by ``fail``, if a time does not fit in 64 bits in that unit.

    Example:
        >>> in_one_unit([(np.array([5]), 1), (np.array([6001]), 1000)], lambda part, why: ValueError(why))
        (array([5000, 6001]), 1000)
    """
    ticks = max(own for _, own in parts)
    joined = np.empty(sum(len(times) for times, _ in parts), np.int64)
    end = 0
    for part, (times, own) in enumerate(parts):
        factor, begin = ticks // own, end
        end += len(times)
        most = np.iinfo(np.int64).max // factor
        if factor > 1 and len(times) and not -most <= times.min() <= times.max() <= most:
            raise fail(part, "must fit in 64 bits in one unit, but do not; try whole seconds")
        np.multiply(times, factor, out=joined[begin:end])
    return joined, ticks


def _texts(column: pa.ChunkedArray, fail: Fail) -> tuple[npt.NDArray[np.int64], int]:
    first = column[0].as_py() if len(column) else ""
    if not _DATE.fullmatch(first):
        return _decimals(column, fail)
    for written, plain in _TO_PLAIN:
        column = pc.replace_substring_regex(column, written, plain)
    first = column[0].as_py()
    return _instants(column, "UTC" if _ZONE.search(first, 10) else None, fail)


def _refuse_rounded(column: pa.ChunkedArray, fail: Fail) -> None:
    """Refuses times in 16 or 32 bits that are so large that they have been rounded: their order may be lost."""
    limit = _LARGEST_EXACT.get(column.type)
    if limit is None:
        return
    row = pc.index(pc.greater(pc.abs(column.cast(pa.float64())), float(limit)), True).as_py()
    if row >= 0:
        raise fail(
            row,
            f"must be exact, but numbers of {column.type.bit_width} bits are rounded above {limit:,}, and this one is "
            f"{_shown(column[row])}; try 64 bits",
        )


def _decimals(column: pa.ChunkedArray, fail: Fail) -> tuple[npt.NDArray[np.int64], int]:
    for scale, ticks in zip((0, 3, 6, 9), TICKS.values(), strict=True):
        with suppress(pa.ArrowInvalid):
            found = _unscaled(column.cast(pa.decimal128(38, scale)))
            if found is not None:
                return found, ticks
    for row, value in enumerate(column):
        try:
            value.cast(pa.decimal128(38, 9))
        except pa.ArrowInvalid as error:
            raise fail(row, f"must be {_FORMS}, but is {_shown(value)}") from error
    raise fail(None, "must fit in 64 bits in one unit, but do not; try whole seconds")


def _unscaled(column: pa.ChunkedArray) -> npt.NDArray[np.int64] | None:
    """The whole numbers behind decimals of one scale; None if one has more than 64 bits."""
    parts = [np.empty(0, np.int64)]
    for chunk in column.chunks:
        words = np.frombuffer(chunk.buffers()[1], np.int64).reshape(-1, 2)  # low word, high word
        low, high = words[chunk.offset : chunk.offset + len(chunk)].T
        if not np.array_equal(high, low >> 63):
            return None
        parts.append(low)
    return np.concatenate(parts)


def _instants(column: pa.ChunkedArray, zone: str | None, fail: Fail) -> tuple[npt.NDArray[np.int64], int]:
    """Timestamps, or their text, in the longest unit that loses nothing."""
    for unit, ticks in TICKS.items():
        with suppress(pa.ArrowInvalid):
            return column.cast(pa.timestamp(unit, zone)).cast(pa.int64()).to_numpy(), ticks
    for row, value in enumerate(column):
        if not _is_instant(value, zone):
            problem = f"must be a date and time like 2024-01-02 03:04:05, but is {_shown(value)}"
            if _is_instant(value, None if zone else "UTC"):
                has = (
                    "a time zone, as the first one has" if zone else "no time zone, as the first one has none"
                )
                problem = f"must have {has}, but is {_shown(value)}"
            raise fail(row, problem)
    raise fail(None, "must fit in 64 bits in one unit, but do not; try times without nanoseconds")


def _is_instant(value: pa.Scalar, zone: str | None) -> bool:
    for unit in TICKS:
        with suppress(pa.ArrowInvalid):
            value.cast(pa.timestamp(unit, zone))
            return True
    return False


def _cast(column: pa.ChunkedArray, kind: pa.DataType, fail: Fail) -> npt.NDArray[np.int64]:
    try:
        found: npt.NDArray[np.int64] = column.cast(kind).to_numpy()
        return found
    except pa.ArrowInvalid:
        for row, value in enumerate(column):
            try:
                value.cast(kind)
            except pa.ArrowInvalid as error:
                raise fail(row, f"must fit in 64 bits, but is {_shown(value)}") from error
        raise


def _shown(value: pa.Scalar) -> str:
    return repr(str(value.as_py()) if not isinstance(value.as_py(), str) else value.as_py())[:200]
