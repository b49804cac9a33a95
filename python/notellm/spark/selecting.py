"""Which pairs are kept: bounds, then the best partners of each note; and what became of the others."""

from collections import Counter
from dataclasses import dataclass

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from notellm._core.options import MiningOptions
from notellm.spark.scores import bound_units

__all__ = ["Fates", "best_of", "count_fates", "judged"]

PASSES, FEW, LOW, HIGH = range(4)
"""What the bounds say of a pair, in ``fate``: the first rule that drops it."""


def judged(pairs: DataFrame, options: MiningOptions) -> DataFrame:
    """The pairs with their ``fate``."""
    units = F.col("units")
    fate = (
        F.when(F.col("users") < options.min_users, FEW)
        .when(units < bound_units(options.lower), LOW)
        .when(units > bound_units(options.upper), HIGH)
        .otherwise(PASSES)
    )
    return pairs.withColumn("fate", fate)


@dataclass(frozen=True)
class Fates:
    """How many pairs had each fate, and each width of their score in bits (a score of 0 has one bit)."""

    by_fate: Counter[int]
    by_width: Counter[int]


def count_fates(pairs: DataFrame) -> Fates:
    """Counts the pairs of `judged`."""
    width = F.length(F.bin("units"))
    fates = Fates(Counter(), Counter())
    for fate, bits, count in pairs.groupBy("fate", width.alias("width")).count().collect():
        fates.by_fate[fate] += count
        fates.by_width[bits] += count
    return fates


def best_of(pairs: DataFrame, options: MiningOptions, notes: int) -> DataFrame:
    """The best ``top`` partners of each source, of the pairs that pass: the highest scores, then the lowest indices.

    A popular note may have millions of partners. But each task finds the best of those that it has (Spark's
    ``WindowGroupLimit``, which `explain_on_spark` shows as Partial), and sends only these to the one that chooses among
    them. It does so for a ``top`` of at most ``spark.sql.optimizer.windowGroupLimitThreshold``, which is 1000.
    """
    passing = pairs.where(F.col("fate") == PASSES).drop("fate")
    if options.top == 0 or options.top >= notes:
        return passing
    best_first = Window.partitionBy("source").orderBy(F.desc("units"), "target")
    return (
        passing.withColumn("place", F.row_number().over(best_first))
        .where(F.col("place") <= options.top)
        .drop("place")
    )
