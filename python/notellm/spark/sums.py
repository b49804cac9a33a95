"""The sums of all pairs: the units of equation (1), and the users who support a pair.

Where the work could fall on one task, and what is done:

- A user with n notes gives n^2 pairs. So a user's views are divided into chunks, each beside all of the user's
  clicks, and the chunks are spread over all tasks: copies of clicks cost as much as the log, not as the pairs.
  Users of any size are cut off by ``max_user_events``.
- A popular note is in many pairs. But sums are spread by both notes of a pair, so its partners are in all tasks; and a
  single pair is summed before it is sent, so that each task sends it once at most. No note needs a salt here.
- The best partners of a popular note are chosen in `selecting`.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from notellm._core import mining as _core
from notellm._core.options import MiningOptions

__all__ = ["CHUNK", "chunks_of", "is_pair", "saturating_sum", "sums_of"]

CHUNK = 256
"""Views of a user in a chunk, about."""

ONE = 2**_core.SCORE_UNIT_BITS
"""A score of 1 in units."""

LARGEST = 2**63 - 1


def sums_of(users: DataFrame, options: MiningOptions, *, is_ordered: bool, tasks: int) -> DataFrame:
    """Sums over users: ``source``, ``target``, ``units``, ``users``.

    Args:
        users: From `notellm.spark.users.users_of`.
        options: Their gap limits.
        is_ordered: Whether a click must follow the view.
        tasks: Over how many tasks the users are spread. It must be given: Spark would choose their number by the size
            of the log, but the work is that of the pairs.
    """
    pairs = (
        chunks_of(users, tasks)
        .withColumn("view", F.explode("views"))
        .withColumn("click", F.explode("clicks"))
        .where(is_pair(F.col("view"), F.col("click"), options, is_ordered))
        .select(
            "user", "chunk", F.col("view.note").alias("source"), F.col("click.note").alias("target"), "unit"
        )
    )
    if options.max_gap_seconds or options.max_gap_events:
        # A user counts once for a pair. All views of a note are in one chunk, so this is done within each task.
        pairs = pairs.dropDuplicates(["user", "chunk", "source", "target"])
    return pairs.groupBy("source", "target").agg(
        saturating_sum("unit").alias("units"), F.count("*").alias("users")
    )


def chunks_of(users: DataFrame, tasks: int) -> DataFrame:
    """Users whose events can make a pair, spread over the tasks.

    Returns:
        ``user`` and ``chunk``; ``unit``, 1 / N to the nearest unit; a share of the user's ``views``, all of those of a
        note in one; and all ``clicks``.
    """
    useful = users.where((F.col("notes") > 1) & (F.size("views") > 0) & (F.size("clicks") > 0))
    chunks, chunk = F.col("chunks"), F.col("chunk")
    numbered = useful.select(
        "user",
        F.expr(f"({ONE}L + clicked div 2) div clicked").alias("unit"),
        F.ceil(F.size("views") / CHUNK).cast("int").alias("chunks"),
        "views",
        "clicks",
    ).withColumn("chunk", F.explode(F.expr("sequence(0, chunks - 1)")))
    own = F.filter("views", lambda view: F.pmod(view["note"], chunks) == chunk)
    shares = numbered.withColumn("views", F.when(chunks == 1, F.col("views")).otherwise(own)).drop("chunks")
    return shares.repartition(tasks, "user", "chunk")


def is_pair(view: Column, click: Column, options: MiningOptions, is_ordered: bool) -> Column:
    """Whether a view and a click of one user relate their notes."""
    found = view["note"] != click["note"]
    if is_ordered:
        found &= view["at"] < click["at"]
    if options.max_gap_events:
        found &= (click["at"] - view["at"]).cast("bigint") <= options.max_gap_events
    if options.max_gap_seconds:
        found &= click["time"] <= view["until"]
    return found


def saturating_sum(units: str) -> Column:
    """A sum of numbers of at least 0, and the largest number where that is too small to hold it."""
    return F.coalesce(F.try_sum(units), F.lit(LARGEST))
