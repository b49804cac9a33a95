"""Mining on Spark with a run's configuration, whose keys stay what they are.

There are two ways. In a run folder, this process reads the data as always, and Spark mines: the folder is the same as
with the core. Or Spark reads the files too, and writes the pairs itself: for logs that no single machine holds.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from notellm.app.config import Config
from notellm.data import Interactions
from notellm.errors import ConfigError
from notellm.mining import MiningReport, Pairs
from notellm.spark import (
    explain_on_spark,
    log_frame,
    mine_pairs_on_spark,
    notes_frame,
    read_log,
    read_notes,
)
from notellm.spark.files import refuse_existing, write_text

if TYPE_CHECKING:  # notellm.spark says what to do where pyspark is absent
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["explain_files", "explain_log", "mine_files", "mine_log"]


def mine_log(session: SparkSession, config: Config, log: Interactions) -> Pairs:
    """Mines a log that this process has read; with a session it is a `notellm.app.pipeline.data.Miner`."""
    mined = mine_pairs_on_spark(*_frames(session, log), config.mining, **_form(log))
    pairs = mined.to_pairs(log.note_ids)
    mined.unpersist()
    return pairs


def explain_log(session: SparkSession, config: Config, log: Interactions) -> str:
    """Spark's plan of `mine_log`."""
    return explain_on_spark(*_frames(session, log), config.mining, **_form(log))


def mine_files(session: SparkSession, config: Config, output: str) -> MiningReport:
    """Mines the whole log ``data.interactions``, which Spark reads, and writes what was found.

    Args:
        session: Spark's.
        config: Its ``data.notes`` and ``data.interactions`` are Parquet files, or folders of them, in any file system
            that Spark knows.
        output: A new folder in such a file system: ``pairs.parquet`` (a folder of parts, in order) and ``mining.json``
            (the report).

    Raises:
        ConfigError: If the data are no files, or the folder exists.
        DataError: As in `mine_pairs_on_spark`.
    """
    log, notes = _files(session, config)
    refuse_existing(session, output)
    mined = mine_pairs_on_spark(log, notes, config.mining, ordered=config.data.ordered)
    mined.pairs.write.parquet(f"{output}/pairs.parquet", compression="zstd")
    mined.unpersist()
    write_text(session, f"{output}/mining.json", json.dumps(mined.report.to_dict(), indent=1) + "\n")
    return mined.report


def explain_files(session: SparkSession, config: Config) -> str:
    """Spark's plan of `mine_files`."""
    return explain_on_spark(*_files(session, config), config.mining, ordered=config.data.ordered)


def _frames(session: SparkSession, log: Interactions) -> tuple[DataFrame, DataFrame]:
    return log_frame(session, log), notes_frame(session, log.note_ids)


def _form(log: Interactions) -> dict[str, Any]:
    return {"ordered": log.ordered, "ticks_per_second": log.ticks_per_second}


def _files(session: SparkSession, config: Config) -> tuple[DataFrame, DataFrame]:
    data = config.data
    if data.source != "files":
        raise ConfigError(
            f"--output: data.source must be files, which Spark reads itself, but is {data.source}; try data=files, "
            "or a run folder"
        )
    return read_log(session, data.interactions), read_notes(session, data.notes)
