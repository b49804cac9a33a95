"""Mining on Spark against the core, in the same run: what a job costs where one machine could do it.

The log of `bench_mining_large`, smaller: 30,000 baskets, 300,000 events. Spark runs on this machine, as many workers
in one Java process (``local[2]``) as the core has threads; the session is there already, the log lies in Parquet, and
the pairs are written to Parquet. The core's time is that of mining alone, and of reading, mining and writing. Before
the timing, both are checked to find the same pairs, to the last bit, and the same report.

    python benchmarks/python/bench_mining_spark.py --output benchmarks/results
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from bench_mining_large import log_normal_baskets
from harness import medians, time_plainly
from pyspark.sql import SparkSession
from records import Run

from notellm.data import Interactions
from notellm.machine import version_of
from notellm.mining import Pairs, mine_pairs
from notellm.spark import SparkPairs, mine_pairs_on_spark, read_log, read_notes


def write_files(folder: Path, baskets: int, notes: int) -> int:
    """Writes log and notes, ids as text; returns the number of events."""
    log = log_normal_baskets(baskets, notes, seed=0)
    ids = pc.binary_join_element_wise("n", pa.array(range(notes)).cast(pa.string()), "")
    pq.write_table(pa.table({"id": ids}), folder / "notes.parquet")
    pq.write_table(
        pa.table({"user": log.users, "note": ids.take(pa.array(log.notes))}), folder / "log.parquet"
    )
    return len(log.users)


def read_files(folder: Path) -> Interactions:
    """The same log in memory, over all notes."""
    ids = pq.read_table(folder / "notes.parquet")["id"]
    table = pq.read_table(folder / "log.parquet")
    notes = pc.index_in(table["note"], value_set=ids).to_numpy()
    users = table["user"].to_numpy()
    return Interactions(users, notes, range(users.max() + 1), ids.to_pylist(), ordered=False)


def start(threads: int, memory: str) -> SparkSession:
    """Spark on this machine; a few times as many parts as cores are enough here."""
    builder = SparkSession.builder.master(f"local[{threads}]").appName("bench_mining_spark")
    settings = {
        "spark.driver.memory": memory,
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.shuffle.partitions": str(8 * threads),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    for key, value in settings.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


def check_equal(mined: SparkPairs, pairs: Pairs, ids: list[str]) -> None:
    """Both must have found the same."""
    found = mined.to_pairs(ids)
    assert found.to_table() == pairs.to_table()
    assert found.report == pairs.report
    mined.unpersist()


def calls_of(
    session: SparkSession, folder: Path, log: Interactions, threads: int
) -> dict[str, Callable[[], object]]:
    """Who is timed."""

    def on_spark() -> None:
        mined = mine_on_spark(session, folder)
        mined.pairs.write.mode("overwrite").parquet(str(folder / "pairs_of_spark"))
        mined.unpersist()

    def whole() -> None:
        ids = pa.array(log.note_ids)
        pairs = mine_pairs(read_files(folder), threads=threads)
        columns = {"source": ids.take(pa.array(pairs.source)), "target": ids.take(pa.array(pairs.target))}
        pq.write_table(
            pa.table(columns | {"score": pairs.score, "users": pairs.users}), folder / "pairs.parquet"
        )

    return {
        "spark_with_files": on_spark,
        "core_with_files": whole,
        "core_mining_alone": lambda: mine_pairs(log, threads=threads),
    }


def mine_on_spark(session: SparkSession, folder: Path) -> SparkPairs:
    """Reads and mines."""
    log = read_log(session, str(folder / "log.parquet"))
    notes = read_notes(session, str(folder / "notes.parquet"))
    return mine_pairs_on_spark(log, notes, ordered=False)


def main() -> None:
    """Checks, measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--baskets", type=int, default=30_000)
    parser.add_argument("--notes", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", default="8g", help="of Spark's process")
    run = Run(parser)
    options = run.options

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        events = write_files(folder, options.baskets, options.notes)
        log = read_files(folder)
        session = start(options.threads, options.memory)
        pairs = mine_pairs(log, threads=options.threads)
        check_equal(mine_on_spark(session, folder), pairs, log.note_ids)
        calls = calls_of(session, folder, log, options.threads)
        rounds = time_plainly(calls, options.rounds)
        session.stop()
    seconds = medians(rounds)
    run.report(
        "mining_spark",
        {
            "baskets": options.baskets,
            "notes": options.notes,
            "events": events,
            "pairs": pairs.report.pairs_found,
            "threads": options.threads,
            "pyspark": version_of("pyspark"),
            "rounds": rounds,
            "seconds": seconds,
            "overhead_of_spark": round(seconds["spark_with_files"] / seconds["core_with_files"] - 1, 2),
        },
    )


if __name__ == "__main__":
    main()
