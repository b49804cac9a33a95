"""Checks a log, and gives its events in one form: the user, the note's number, the place in time, view or click."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from notellm._core.options import MiningOptions
from notellm.data.digit_dates import DIGIT_DATES, YEARS, DigitDates
from notellm.errors import DataError

__all__ = [
    "Times",
    "check_contents",
    "check_form",
    "check_gaps",
    "check_notes",
    "check_unit",
    "events_of",
    "exposure_of",
    "times_of",
]

_KEY = (T.StringType, T.ByteType, T.ShortType, T.IntegerType, T.LongType)
_WHOLE = _KEY[1:]
_EVENTS = ("view", "click")


@dataclass(frozen=True)
class Times:
    """The times of a log as 64-bit integers.

    Attributes:
        column: The times; None if the log has none.
        ticks_per_second: Their unit.
    """

    column: Column | None
    ticks_per_second: int


def check_form(log: DataFrame, notes: DataFrame, numbers: Sequence[str]) -> None:
    """Checks that both frames have the columns that mining needs, of types that it takes.

    Args:
        log: Must have the numbers, too.
        notes: The notes.
        numbers: ``row``, where the order of events matters; what the samples know users by, if any are taken.

    Raises:
        DataError: If they do not.
    """
    hints = {
        "row": "try notellm.spark.read_log, which numbers the rows: in a DataFrame they have no order of their own",
        "index": "try notellm.spark.read_notes, which numbers the notes",
    }
    for where, frame, kinds in (
        ("log", log, {"user": _KEY, "note": _KEY, **dict.fromkeys(numbers, _WHOLE)}),
        ("notes", notes, {"id": _KEY, "index": _WHOLE}),
    ):
        for name, allowed in kinds.items():
            if name not in frame.columns:
                hint = f"; {hints[name]}" if name in hints else ""
                raise DataError(
                    f"{where}: column {name!r} must be there, but the columns are {', '.join(frame.columns)}{hint}"
                )
            _check_type(where, frame, name, allowed, "text or integers" if allowed is _KEY else "integers")
    if "event" in log.columns:
        _check_type("log", log, "event", (T.StringType,), "text")


def _check_type(
    where: str, frame: DataFrame, name: str, allowed: tuple[type[T.DataType], ...], what: str
) -> None:
    kind = frame.schema[name].dataType
    if not isinstance(kind, allowed):
        raise DataError(f"{where}: column {name!r} must hold {what}, but holds {kind.simpleString()}")


def times_of(log: DataFrame, is_ordered: bool, ticks_per_second: int) -> Times:
    """The times of a log, without rounding: dates and timestamps are counted from 1970, those without a zone in UTC.

    Args:
        log: Its ``time`` column, if there is one.
        is_ordered: Whether the log has an order; else its times are not looked at.
        ticks_per_second: The unit, if the times are integers.

    Raises:
        DataError: If times are of another type.
    """
    if not is_ordered or "time" not in log.columns:
        return Times(None, 1)
    kind, time = log.schema["time"].dataType, F.col("time")
    if isinstance(kind, _WHOLE):
        return Times(time.cast("bigint"), ticks_per_second)
    if isinstance(kind, T.DateType):
        return Times(F.unix_date(time).cast("bigint") * 86400, 1)
    if isinstance(kind, T.TimestampType):
        return Times(F.unix_micros(time), 10**6)
    if isinstance(kind, T.TimestampNTZType):
        # A cast to a timestamp would read it in the session's zone, where an hour may occur twice.
        since = F.expr("time - TIMESTAMP_NTZ'1970-01-01 00:00:00'").cast("interval second")
        return Times((since.cast("decimal(20, 6)") * 10**6).cast("bigint"), 10**6)
    raise DataError(
        f"log: column 'time' must hold integers, dates or timestamps, but holds {kind.simpleString()}; "
        "try whole seconds, or milliseconds with ticks_per_second=1000"
    )


def check_unit(log: DataFrame, options: MiningOptions, times: Times) -> None:
    """Checks that a limit of gaps in seconds is compared with seconds, and not with dates such as 20240131.

    Raises:
        DataError: If more than half of the times are such dates.
    """
    is_whole = "time" in log.columns and isinstance(log.schema["time"].dataType, _WHOLE)
    if not options.max_gap_seconds or times.column is None or not is_whole or times.ticks_per_second != 1:
        return
    found = log.agg(
        F.count("time").alias("all"),
        *(F.count_if(_is_digit_date(form)).alias(form.example) for form in DIGIT_DATES),
    ).first()
    assert found is not None
    for form in DIGIT_DATES:
        if found[form.example] * 2 > found["all"]:
            raise DataError(
                f"log: column 'time' must hold seconds for max_gap_seconds, but holds dates like {form.example}; try "
                "to_date(time, 'yyyyMMdd')"
            )


def _is_digit_date(form: DigitDates) -> Column:
    """Whether a time is such a date, as far as year, month and day say."""
    day = F.expr(f"time div {form.place_of_day}")
    year, month, of_month = (F.floor(day / 10_000), F.floor(day / 100) % 100, day % 100)
    return year.between(*YEARS) & month.between(1, 12) & of_month.between(1, 31)


def events_of(log: DataFrame, notes: DataFrame, times: Times, numbers: Sequence[str]) -> DataFrame:
    """The events of a log: ``user``, ``note`` (its index), ``is_view``, ``is_click``, the numbers, ``time`` if any.

    Popular notes have many events, so a join by note could leave one task with most of the log. Spark sends the notes
    to every task where they are few; where they are many, it divides what it finds too large (adaptive execution's
    ``skewJoin``, which is on by default), and a left join allows it to.
    """
    has_events = "event" in log.columns
    columns = [F.col("user"), F.col("note").alias("name")]
    columns += [F.col(name).cast("bigint").alias(name) for name in numbers]
    if times.column is not None:
        columns.append(times.column.alias("time"))
    if has_events:
        columns.append(F.col("event"))
    named = log.select(*columns)
    ids = notes.select(F.col("id"), F.col("index").cast("bigint").alias("note"))
    if log.schema["note"].dataType != notes.schema["id"].dataType:  # an integer's name is its digits
        named, ids = _as_text(named, "name"), _as_text(ids, "id")
    is_of = {name: F.col("event") == name if has_events else F.lit(True) for name in _EVENTS}
    return named.join(ids, named["name"] == ids["id"], "left").select(
        *named.columns, "note", *(is_of[name].alias(f"is_{name}") for name in _EVENTS)
    )


def _as_text(frame: DataFrame, name: str) -> DataFrame:
    return frame.withColumn(name, F.col(name).cast("string"))


def exposure_of(events: DataFrame) -> DataFrame:
    """How often each note occurs: ``note``, ``events``, ``views``, ``clicks``, and distinct ``users``.

    Args:
        events: From `events_of`.
    """
    return events.groupBy("note").agg(
        F.count("*").alias("events"),
        F.count_if("is_view").alias("views"),
        F.count_if("is_click").alias("clicks"),
        F.count_distinct("user").alias("users"),
    )


def check_contents(events: DataFrame) -> tuple[int, int]:
    """Checks every row, in one pass over the log.

    Args:
        events: From `events_of`.

    Returns:
        The number of events, and of the notes that have some.

    Raises:
        DataError: For a row that cannot be mined; names it.
    """
    problems = _problems(events)
    counts = [F.count_if(is_bad).alias(str(i)) for i, (is_bad, _, _) in enumerate(problems)]
    found = events.agg(F.count("*").alias("events"), F.count_distinct("note").alias("notes"), *counts).first()
    assert found is not None
    for i, (is_bad, column, rule) in enumerate(problems):
        if found[str(i)]:
            bad = events.where(is_bad)
            first = (bad.orderBy("row") if "row" in bad.columns else bad).first()
            assert first is not None
            raise DataError(
                f"log{_place(first.asDict())}: {rule}, but is {first[column]!r}".replace("None", "null")
            )
    return int(found["events"]), int(found["notes"])


def _problems(events: DataFrame) -> list[tuple[Column, str, str]]:
    """What a row must not be: whether it is, the column to show, and the rule."""
    found = []
    for column, name in (
        ("user", "user"),
        ("name", "note"),
        ("time", "time"),
        ("row", "row"),
        ("user_index", "user_index"),
        ("event", "event"),
    ):
        if column in events.columns:
            found.append((F.col(column).isNull(), column, f"{name} must be given"))
    for column, name in (("user", "user"), ("name", "note")):
        found.append((F.col(column).cast("string") == "", column, f"{name} must not be empty"))
    if "event" in events.columns:
        is_known = F.col("event").isin(*_EVENTS)
        found.append((~is_known, "event", "event must be view or click"))
    return [*found, (F.col("note").isNull(), "name", "note must be an id of the notes")]


def _place(row: Mapping[str, Any]) -> str:
    """Which row it is, as far as that is known; rows are counted from 1, as in messages about files."""
    return f" row {row['row'] + 1}" if isinstance(row.get("row"), int) else f" (user {row['user']!r})"


def check_notes(notes: DataFrame) -> int:
    """Checks ids and numbers of the notes.

    Returns:
        How many there are.

    Raises:
        DataError: If an id or a number is missing or repeated.
    """
    found = notes.agg(
        F.count("*").alias("count"),
        *(F.count_distinct(name).alias(name) for name in ("id", "index")),
        F.count_if(F.col("id").isNull() | (F.col("id").cast("string") == "")).alias("nameless"),
    ).first()
    assert found is not None
    if found["nameless"]:
        raise DataError(f"notes: id must be given, but is null or empty in {found['nameless']} rows")
    for name in ("id", "index"):
        if found[name] < found["count"]:
            again = notes.groupBy(name).count().where("count > 1").orderBy(name).first()
            assert again is not None
            raise DataError(f"notes: {name} must be unique, but {again[name]!r} comes {again['count']} times")
    return int(found["count"])


def check_gaps(options: MiningOptions, times: Times, is_ordered: bool) -> None:
    """Checks that a limit of gaps makes sense, with the words of `notellm.mine_pairs`.

    Raises:
        ValueError: If it does not.
    """
    if not is_ordered and (options.max_gap_seconds or options.max_gap_events):
        raise ValueError("mine_pairs: a gap limit needs an ordered log, but this one is a set of baskets")
    if options.max_gap_seconds and times.column is None:
        raise ValueError(
            "mine_pairs: a gap limit in time needs event times, but the log has none; try max_gap_events"
        )
