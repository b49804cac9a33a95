"""Logs and notes as DataFrames whose rows have numbers.

A DataFrame has no order, but mining needs two: events of one time follow each other as in the file, and partners of
equal score as in the notes. So each row gets its number: that of the row in its file, where a folder counts as one
file, its parts one after another by their names. This is the order of Spark's own parts.
"""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.utils import AnalysisException

from notellm.data.interactions import Interactions
from notellm.errors import DataError

__all__ = ["log_frame", "notes_frame", "read_log", "read_notes"]


def read_log(session: SparkSession, path: str) -> DataFrame:
    """Reads a log for `mine_pairs_on_spark`.

    Args:
        session: Spark's.
        path: A Parquet file or a folder of such files, in any file system that Spark knows. The columns are ``user``
            and ``note`` (text or integers), and optionally ``time`` (integers, dates or timestamps) and ``event``
            (``view`` or ``click``).

    Returns:
        These columns, and ``row``, the number of each row.

    Raises:
        DataError: If there is no such file, or a column is missing.
    """
    return _numbered(session, path, ["user", "note"], ["time", "event"], "row")


def read_notes(session: SparkSession, path: str) -> DataFrame:
    """Reads the ids of notes for `mine_pairs_on_spark`.

    Args:
        session: Spark's.
        path: A Parquet file or a folder of such files with a column ``id`` (text or integers).

    Returns:
        The ids, and ``index``, the number of each note: partners of equal score are ordered by it.

    Raises:
        DataError: If there is no such file, or it has no ids.
    """
    return _numbered(session, path, ["id"], [], "index")


def log_frame(session: SparkSession, log: Interactions) -> DataFrame:
    """A log that is in memory, as `read_log` returns it; times are in the ticks of ``log.ticks_per_second``.

    It has ``user_index``, too: users need not be numbered as they first appear.
    """
    ids = pa.array(log.note_ids, pa.string())
    columns = {
        "user": log.users,
        "user_index": log.users,
        "note": ids.take(pa.array(log.notes)),
        "row": np.arange(len(log)),
    }
    if log.times is not None:
        columns["time"] = log.times
    if log.events is not None:
        columns["event"] = pa.array(["view", "click"]).take(pa.array(log.events))
    return session.createDataFrame(pa.table(columns))


def notes_frame(session: SparkSession, ids: Sequence[str]) -> DataFrame:
    """Ids of notes that are in memory, as `read_notes` returns them."""
    return session.createDataFrame(pa.table({"id": pa.array(ids, pa.string()), "index": np.arange(len(ids))}))


def _numbered(
    session: SparkSession, path: str, required: list[str], optional: list[str], number: str
) -> DataFrame:
    """The columns of a file or a folder, and the numbers of its rows, from 0."""
    try:
        rows = session.read.parquet(path)
        held = rows.columns
    except AnalysisException as error:
        reason = " ".join(str(error).split("\n\nJVM stacktrace")[0].split())
        raise DataError(f"{path}: must be a Parquet file or a folder of them, but {reason}") from error
    for name in required:
        if name not in held:
            raise DataError(f"{path}: column {name!r} must be there, but the columns are {', '.join(held)}")
    columns = [name for name in (*required, *optional) if name in held]
    numbered = rows.select(
        *columns, F.col("_metadata.file_path").alias("part"), F.col("_metadata.row_index").alias("place")
    )
    firsts = F.broadcast(session.createDataFrame(_first_rows(numbered), "part string, first bigint"))
    return numbered.join(firsts, "part").select(*columns, (F.col("first") + F.col("place")).alias(number))


def _first_rows(rows: DataFrame) -> list[tuple[str, int]]:
    """The parts, and the number of the first row of each: how many rows the parts before it have.

    Parquet keeps the number of rows beside the data, so counting them reads no column.
    """
    sizes = sorted((part, count) for part, count in rows.groupBy("part").count().collect())
    firsts = accumulate((count for _, count in sizes), initial=0)
    return [(part, first) for (part, _), first in zip(sizes, firsts, strict=False)]
