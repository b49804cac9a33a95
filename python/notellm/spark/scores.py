"""What a pair scores, in whole units of 2^-40: the numbers that `notellm.mine_pairs` finds, to the last bit.

Sums, products, quotients and square roots of IEEE numbers are the same in every language, so Spark computes them. A
logarithm is not: Java's may differ from C's in the last bit. So Spark calls Python's, which is C's.

A further score of what a pair has (its sum, its users, those of its notes) is one more line in `SCORES`; one with sums
of its own names the function that makes them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from notellm.errors import NotSupportedError
from notellm.spark.sums import LARGEST, ONE, sums_of
from notellm.spark.swing import swing_sums
from notellm.spark.users import notes_people

__all__ = ["SCORES", "Score", "bound_units", "find_score", "scored", "to_units"]


@dataclass(frozen=True)
class Score:
    """How a pair's score is made.

    Attributes:
        units: The score in units, from the number of all users; it may use the columns ``units`` (the sum of equation
            1) and ``users`` of a pair and, if it needs them, ``viewers`` of its source and ``clickers`` of its target.
        needs_people: Whether it does.
        sums: How ``units`` and ``users`` are summed.
    """

    units: Callable[[int], Column]
    needs_people: bool = False
    sums: Callable[..., DataFrame] = sums_of


def _apart() -> Column:
    return F.col("viewers").cast("double") * F.col("clickers").cast("double")


def _cosine(people: int) -> Column:
    return to_units(F.col("users").cast("double") / F.sqrt(_apart()))


def _pmi(people: int) -> Column:
    ratio = F.col("users").cast("double") * F.lit(float(people)) / _apart()
    # A function of Python itself: it is sent to the executors by its name, and they need no package of ours.
    log = F.udf(math.log, "double", useArrow=False)
    return to_units(F.greatest(F.lit(0.0), log(ratio)))


SCORES = {
    "notellm": Score(lambda people: F.col("units")),
    "count": Score(lambda people: to_units(F.col("users").cast("double"))),
    "cosine": Score(_cosine, needs_people=True),
    "pmi": Score(_pmi, needs_people=True),
    "swing": Score(lambda people: F.col("units"), sums=swing_sums),
}


def find_score(name: str) -> Score:
    """The score of that name.

    Raises:
        NotSupportedError: If it cannot be computed on Spark.
    """
    if name not in SCORES:
        raise NotSupportedError(
            f"mine_pairs_on_spark: mining.score must be one of {', '.join(SCORES)}, but is {name}; try "
            "notellm.mine_pairs, which has every score"
        )
    return SCORES[name]


def scored(sums: DataFrame, users: DataFrame, score: Score, people: int) -> DataFrame:
    """The sums with the score in place of ``units``.

    Args:
        sums: Those of the score.
        users: From `notellm.spark.users.users_of`.
        score: Which score.
        people: The number of ``users``.
    """
    if score.needs_people:
        for note, events, name in (("source", "views", "viewers"), ("target", "clicks", "clickers")):
            counted = notes_people(users, events)
            sums = sums.join(counted.select(F.col("note").alias(note), F.col("people").alias(name)), note)
    return sums.select("source", "target", score.units(people).alias("units"), "users")


def to_units(score: Column) -> Column:
    """A score of at least 0 to the nearest unit, halves up, at most the largest 64-bit integer; as the core rounds.

    Spark's own ``round`` takes the decimal that it would print, which is another number.
    """
    units = score * F.lit(float(ONE))
    whole = F.floor(units).cast("bigint")
    nearest = whole + (units - whole.cast("double") >= 0.5).cast("bigint")
    return F.when(units >= float(LARGEST), F.lit(LARGEST)).otherwise(nearest)


def bound_units(bound: float) -> int:
    """`to_units` of a number.

    Example:
        >>> bound_units(0.5), bound_units(float("inf")) == 2**63 - 1
        (549755813888, True)
    """
    units = bound * ONE
    if units >= float(LARGEST):
        return LARGEST
    whole = math.floor(units)
    return int(whole + (units - whole >= 0.5))
