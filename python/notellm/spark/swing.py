"""The sums of Swing (Yang et al., arXiv 2010.05525): each pair of a pair's users adds a term, as in the core.

    s(A -> B) = sum over supporters u < v of w_u w_v / (swing_alpha + |I_u and I_v|),   w_u = 1 / sqrt(|I_u|)

Quotients, roots and the rounding of a term to the nearest unit are those of IEEE numbers, which Java has, too. So terms
are whole numbers, and their sum does not depend on any order.

The users of a source note meet in a self-join of (source, user) rows, each of which has the lists of what its user
clicked. So a note with m users costs m^2 / 2 comparisons of two lists, whether or not they share a note; and m is at
most ``sample_note_users``, without which the options are refused. Terms are added up in the task where they arise.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from notellm._core.options import MiningOptions
from notellm.spark.sums import ONE, chunks_of, is_pair, saturating_sum

__all__ = ["swing_sums"]


def swing_sums(users: DataFrame, options: MiningOptions, *, is_ordered: bool, tasks: int) -> DataFrame:
    """Sums over pairs of users: ``source``, ``target``, ``units`` and ``users``, those of single users too.

    Args:
        users: From `notellm.spark.users.users_of`.
        options: Their gap limits, and ``swing_alpha``.
        is_ordered: Whether a click must follow the view.
        tasks: Over how many tasks users, and then source notes, are spread.
    """
    # The number must be given here, too: Spark would choose it by the size of the rows, but the work is their square.
    followed = _followed(users, options, is_ordered, tasks).repartition(tasks, "source")
    term = _term(F.size(F.array_intersect("clicked", "clicked_by_other")), options.swing_alpha)
    terms = (
        followed.join(_of_others(followed), "source")
        .where(F.col("user") < F.col("other"))
        .withColumn("targets", F.array_intersect("targets", "targets_of_other"))
        .where(F.size("targets") > 0)
        .select("source", F.explode("targets").alias("target"), term.alias("units"), F.lit(0).alias("users"))
    )
    supporters = followed.select(
        "source",
        F.explode("targets").alias("target"),
        F.lit(0).cast("bigint").alias("units"),
        F.lit(1).alias("users"),
    )
    both = terms.unionByName(supporters).groupBy("source", "target")
    return both.agg(saturating_sum("units").alias("units"), F.sum("users").alias("users"))


def _followed(users: DataFrame, options: MiningOptions, is_ordered: bool, tasks: int) -> DataFrame:
    """What each user did after each note: ``source``, ``user``, ``targets`` and all notes ``clicked``, all distinct."""

    def after(view: Column) -> Column:
        clicks = F.filter("clicks", lambda click: is_pair(view, click, options, is_ordered))
        return F.array_distinct(F.transform(clicks, lambda click: click["note"]))

    viewed = (
        chunks_of(users, tasks)
        .withColumn("view", F.explode("views"))
        .select(
            "user",
            "chunk",
            F.col("view.note").alias("source"),
            after(F.col("view")).alias("targets"),
            F.array_distinct(F.col("clicks")["note"]).alias("clicked"),
        )
        .where(F.size("targets") > 0)
    )
    if options.max_gap_seconds or options.max_gap_events:
        # A user may have viewed a note several times; all these views are in one chunk.
        viewed = viewed.groupBy("user", "chunk", "source").agg(
            F.array_distinct(F.flatten(F.collect_list("targets"))).alias("targets"),
            F.first("clicked").alias("clicked"),
        )
    return viewed.drop("chunk")


def _of_others(followed: DataFrame) -> DataFrame:
    """The same rows, as those of the other user of a pair."""
    return followed.select(
        "source",
        F.col("user").alias("other"),
        F.col("targets").alias("targets_of_other"),
        F.col("clicked").alias("clicked_by_other"),
    )


def _term(shared: Column, alpha: float) -> Column:
    """What a pair of users adds, in units; they share so many notes. Halves go to the even number, as in the core."""
    weight, other = (
        F.lit(1.0) / F.sqrt(F.size(name).cast("double")) for name in ("clicked", "clicked_by_other")
    )
    share = weight * other / (F.lit(float(alpha)) + shared.cast("double"))
    return F.rint(share * F.lit(float(ONE))).cast("bigint")
