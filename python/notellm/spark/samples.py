"""The samples of mining: a log without what very active users, and very popular notes, have beyond a cap.

Who stays is decided by the core's hash of (seed, user, note), so it is the same here as there. For this a user needs
the number that the core knows the user by: ``user_index`` of the log or, without that column, the place in the order of
first appearance, as `notellm.Interactions.read` numbers users.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from notellm._core.options import MiningOptions
from notellm.spark.words import unsigned, with_word

__all__ = ["Samples", "takes_samples", "user_numbers"]

_NOTES_OF_USER, _USERS_OF_NOTE = 1, 2
"""The core's streams of random words."""

_ROWS_TOGETHER = 20
"""Users whose first rows agree but for so many last bits are numbered by one task."""


def takes_samples(options: MiningOptions) -> bool:
    """Whether the options keep only a sample of the notes of a user, or of the users of a note."""
    return bool(options.sample_user_notes or options.sample_note_users)


def user_numbers(log: DataFrame) -> DataFrame:
    """The number of each user, of a log that has ``user_index`` or ``row``: ``user`` and ``number``."""
    if "user_index" in log.columns:
        return log.groupBy("user").agg(F.min("user_index").cast("bigint").alias("number"))
    # No task sees all users: a number is a place in a block of rows, and the users of all blocks before.
    firsts = log.groupBy("user").agg(F.min("row").cast("bigint").alias("first"))
    firsts = firsts.withColumn("block", F.shiftright("first", _ROWS_TOGETHER))
    before = Window.orderBy("block").rowsBetween(Window.unboundedPreceding, -1)
    blocks = firsts.groupBy("block").agg(F.count("*").alias("own"))
    blocks = blocks.select("block", F.coalesce(F.sum("own").over(before), F.lit(0)).alias("others"))
    place = F.row_number().over(Window.partitionBy("block").orderBy("first"))
    return firsts.join(F.broadcast(blocks), "block").select(
        "user", (F.col("others") + place - 1).alias("number")
    )


@dataclass(frozen=True)
class Samples:
    """What is left of a log.

    Attributes:
        seen: Who saw what, before: ``user``, ``number`` (of the user), ``note``, ``events``.
        options: The samples' sizes and their seed.
    """

    seen: DataFrame
    options: MiningOptions

    @classmethod
    def of(cls, events: DataFrame, numbers: DataFrame, options: MiningOptions) -> "Samples":
        """Samples of the events of `notellm.spark.events.events_of`, from the numbers of `user_numbers`."""
        seen = events.groupBy("user", "note").agg(F.count("*").alias("events")).join(numbers, "user")
        return cls(seen, options)

    @cached_property
    def of_users(self) -> DataFrame:
        """The rows of ``seen`` that ``sample_user_notes`` leaves."""
        most = self.options.sample_user_notes
        return self._first(self.seen, "number", "note", _NOTES_OF_USER, most) if most else self.seen

    @cached_property
    def of_notes(self) -> DataFrame:
        """Of these, the rows that ``sample_note_users`` leaves."""
        most = self.options.sample_note_users
        return self._first(self.of_users, "note", "number", _USERS_OF_NOTE, most) if most else self.of_users

    def _first(self, seen: DataFrame, of: str, which: str, stream: int, most: int) -> DataFrame:
        """The rows of the ``most`` smallest words of each ``of``; no two words of one are equal."""
        words = with_word(seen, "word", (self.options.sample_seed, stream), (of, which))
        smallest_first = Window.partitionBy(of).orderBy(unsigned(F.col("word")))
        placed = words.withColumn("place", F.row_number().over(smallest_first))
        return placed.where(F.col("place") <= most).drop("word", "place")

    def events_left(self, events: DataFrame) -> DataFrame:
        """The events that stay."""
        return events.join(self.of_notes.select("user", "note"), ["user", "note"], "left_semi")

    def counts(self) -> dict[str, Any]:
        """The report's counts of what was left out."""
        before, between, after = (
            frame.agg(F.coalesce(F.sum("events"), F.lit(0))).collect()[0][0]
            for frame in (self.seen, self.of_users, self.of_notes)
        )
        return {
            "events_of_sampled_users": before - between,
            "events_of_sampled_notes": between - after,
            "users_sampled": _larger(self.seen, "user", self.options.sample_user_notes),
            "notes_sampled": _larger(self.of_users, "note", self.options.sample_note_users),
        }


def _larger(seen: DataFrame, of: str, most: int) -> int:
    """How many have more than ``most`` rows; 0 is no limit."""
    return seen.groupBy(of).count().where(F.col("count") > most).count() if most else 0
