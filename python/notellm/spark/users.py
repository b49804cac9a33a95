"""Each user's views and clicks, in one row: all that mining needs of a log.

The log is divided by user once. What follows (the order of the events, the first view and the last click of each note,
the lists) needs no further exchange, since the rows of a user stay together.
"""

from dataclasses import dataclass

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from notellm._core.options import MiningOptions

__all__ = ["LogForm", "long_users", "notes_people", "users_of", "without_users"]

INT64_MAX = 2**63 - 1


@dataclass(frozen=True)
class LogForm:
    """What a log has beside users and notes.

    Attributes:
        is_ordered: Whether its events have an order.
        has_times: Whether the order is that of times, and then of rows; else of rows alone.
        ticks_per_second: The unit of the times.
    """

    is_ordered: bool
    has_times: bool
    ticks_per_second: int


def long_users(events: DataFrame, options: MiningOptions) -> DataFrame:
    """The users that ``max_user_events`` leaves out: ``user`` and ``count``.

    They are counted before any list is made, so that the events of a robot never come to one task: counts are added up
    where the log lies.
    """
    limit = options.max_user_events or INT64_MAX
    return events.groupBy("user").count().where(F.col("count") > limit)


def without_users(events: DataFrame, users: DataFrame) -> DataFrame:
    """The events of all other users."""
    return events.join(users.select("user"), "user", "left_anti")


def users_of(events: DataFrame, options: MiningOptions, form: LogForm) -> DataFrame:
    """One row for each user.

    Args:
        events: From `notellm.spark.events.events_of`.
        options: Their gap limits decide which events matter.
        form: What the log has.

    Returns:
        ``user``; ``notes``, the number of distinct notes; ``clicked``, of those clicked, N of equation (1); ``views``
        and ``clicks``, lists of structs of ``note``, ``at`` (the place in the user's events) and, if there is a limit
        of time, ``until`` of a view (the latest time of a click) and ``time`` of a click.
    """
    if form.is_ordered:
        order = Window.partitionBy("user").orderBy(*(["time"] if form.has_times else []), "row")
        events = events.withColumn("at", F.row_number().over(order))
    else:
        events = events.withColumn("at", F.lit(0))
    has_limit = options.max_gap_seconds or options.max_gap_events
    return _every_event(events, options, form) if has_limit else _first_and_last(events)


def _first_and_last(events: DataFrame) -> DataFrame:
    """Without a limit of gaps a pair exists if the first view of A precedes the last click of B."""
    by_note = events.groupBy("user", "note").agg(
        F.min(F.when(F.col("is_view"), F.col("at"))).alias("first"),
        F.max(F.when(F.col("is_click"), F.col("at"))).alias("last"),
    )
    # A list leaves out nulls.
    lists = {
        name: F.collect_list(F.when(F.col(at).isNotNull(), F.struct("note", F.col(at).alias("at"))))
        for name, at in (("views", "first"), ("clicks", "last"))
    }
    return by_note.groupBy("user").agg(
        F.count("*").alias("notes"),
        F.count("last").alias("clicked"),
        *(column.alias(name) for name, column in lists.items()),
    )


def _every_event(events: DataFrame, options: MiningOptions, form: LogForm) -> DataFrame:
    """With a limit, every view and every click may make a pair."""
    limit = min(options.max_gap_seconds * form.ticks_per_second, INT64_MAX)
    of_view, of_click = [F.col("note"), F.col("at")], [F.col("note"), F.col("at")]
    if limit:
        # The latest time is the largest there is, where the sum would be larger than that.
        time, most = F.col("time"), F.lit(INT64_MAX)
        of_view.append(F.when(time > most - limit, most).otherwise(time + limit).alias("until"))
        of_click.append(time)
    return events.groupBy("user").agg(
        F.size(F.collect_set("note")).alias("notes"),
        F.size(F.collect_set(F.when(F.col("is_click"), F.col("note")))).alias("clicked"),
        F.collect_list(F.when(F.col("is_view"), F.struct(*of_view))).alias("views"),
        F.collect_list(F.when(F.col("is_click"), F.struct(*of_click))).alias("clicks"),
    )


def notes_people(users: DataFrame, events: str) -> DataFrame:
    """By note, how many users have it in their ``views`` or ``clicks``: ``note`` and ``people``."""
    notes = F.explode(F.array_distinct(F.col(events)["note"]))
    return users.select(notes.alias("note")).groupBy("note").agg(F.count("*").alias("people"))
