"""The core's random words, `notellm::random_word`, of columns: SplitMix64's finaliser chained over its arguments.

They are numbers modulo 2^64, as Java's 64-bit integers are; but Spark refuses to overflow in its ANSI mode, its
default. It asks for the mode when it is given an expression, not when it computes. So the session leaves the mode for
the moments in which the expressions are given, and no query of anybody's runs meanwhile in this thread.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

__all__ = ["unsigned", "with_word"]

_GOLDEN = 0x9E3779B97F4A7C15
_STEPS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))
_ALL = 2**64 - 1


def with_word(frame: DataFrame, name: str, known: Sequence[int], columns: Sequence[str]) -> DataFrame:
    """The frame with a column of random words: 64-bit integers that stand for the unsigned ones of the same bits.

    Args:
        frame: Has the columns.
        name: Of the new column.
        known: The first arguments, which are the same in all rows; integers of at least 0.
        columns: The next ones, of type bigint. Those that are left are 0.
    """
    state = _GOLDEN
    for argument in known:
        state = _mixed(state ^ argument)
    arguments = [*map(F.col, columns), *[_literal(0)] * (5 - len(known) - len(columns))]
    word = F.col(name)
    # A column for every step: as one expression, each step would repeat all earlier ones twice.
    with _modulo(frame.sparkSession):
        frame = frame.withColumn(name, _literal(state))
        for argument in arguments:
            frame = frame.withColumn(name, word.bitwiseXOR(argument) + _literal(_GOLDEN))
            for shift, factor in _STEPS:
                mixed = word.bitwiseXOR(F.shiftrightunsigned(word, shift))
                frame = frame.withColumn(name, mixed * _literal(factor))
    return frame


def unsigned(word: Column) -> Column:
    """A number that orders words as unsigned ones."""
    return word.bitwiseXOR(_literal(2**63))


def _mixed(state: int) -> int:
    state = (state + _GOLDEN) & _ALL
    for shift, factor in _STEPS:
        state = (state ^ state >> shift) * factor & _ALL
    return state


def _literal(number: int) -> Column:
    """The 64-bit integer of the same bits."""
    return F.lit(number - 2**64 if number >= 2**63 else number).cast("bigint")


@contextmanager
def _modulo(session: SparkSession) -> Iterator[None]:
    """Sums and products that are given meanwhile are modulo 2^64."""
    mode = "spark.sql.ansi.enabled"
    before = session.conf.get(mode)
    session.conf.set(mode, "false")
    try:
        yield
    finally:
        session.conf.set(mode, before or "true")
