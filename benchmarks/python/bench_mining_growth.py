"""Mining by the number of events, from a log in Parquet: ours, implicit, SciPy, and self-joins of DuckDB and Polars.

Baskets of log-normal size (mean 10), 200,000 notes of Zipf's popularity (exponent 0.8). Each method has a process of
its own, with limits on its time and its memory; one that has met a limit is not called with more events.

    python benchmarks/python/bench_mining_growth.py --output benchmarks/results
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from bench_mining_large import log_normal_baskets
from mining_methods import METHODS, missing
from records import Run

BASKETS_AT_ONCE = 500_000
OUT_OF_MEMORY = ("MemoryError", "bad_alloc", "OutOfMemory", "Out of Memory", "memory allocation", "malloc")
"""What libraries say when they meet a limit, if they are not killed."""


def write_log(path: Path, baskets: int, notes: int) -> int:
    """Writes a log of so many baskets in row groups, and returns its events."""
    schema = pa.schema({"user": pa.int64(), "note": pa.int64()})
    events = 0
    with pq.ParquetWriter(path, schema) as writer:
        for part, first in enumerate(range(0, baskets, BASKETS_AT_ONCE)):
            log = log_normal_baskets(min(BASKETS_AT_ONCE, baskets - first), notes, seed=part)
            # The popularity of a note must be the same in all parts, whatever order a part's seed gave.
            order = np.argsort(
                np.argsort(-np.bincount(log.notes, minlength=notes), kind="stable"), kind="stable"
            )
            columns = {"user": log.users + first, "note": order[log.notes] * 7_919 % notes}
            writer.write_table(pa.table(columns, schema))
            events += len(log.users)
    return events


def write_notes(path: Path, notes: int) -> None:
    """A catalogue of notes with nothing but ids."""
    texts = [f"note {note}" for note in range(notes)]
    pq.write_table(
        pa.table(
            {
                "id": np.arange(notes),
                "title": texts,
                "content": texts,
                "topics": [""] * notes,
                "category": texts,
            }
        ),
        path,
    )


def measure(method: str, log: Path, notes: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One call in a process of its own: its figures, or which limit it met."""

    def limit_memory() -> None:
        limit = options.memory_gib * 2**30
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    command = [
        sys.executable,
        str(Path(__file__).with_name("mining_methods.py")),
        method,
        str(log),
        str(notes),
    ]
    threads = {"POLARS_MAX_THREADS": str(options.threads), "OMP_NUM_THREADS": str(options.threads)}
    try:
        done = subprocess.run(
            [*command, str(options.threads)],
            capture_output=True,
            text=True,
            timeout=options.seconds,
            env=os.environ | threads,
            preexec_fn=limit_memory,
        )
    except subprocess.TimeoutExpired:
        return {"stopped": f"after {options.seconds} s"}
    if done.returncode:
        is_memory = done.returncode < 0 or any(word in done.stderr for word in OUT_OF_MEMORY)
        if not is_memory:
            raise RuntimeError(f"{method} must mine {log}, but: {done.stderr}")
        return {"stopped": f"by its limit of {options.memory_gib} GiB"}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def present(methods: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The methods whose packages are here; of the others, why not."""
    skipped = {method: f"{absent} is not installed" for method in methods if (absent := missing(method))}
    return [method for method in methods if method not in skipped], skipped


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--baskets", type=int, nargs="+", default=[100_000, 1_000_000, 5_000_000, 20_000_000])
    parser.add_argument("--notes", type=int, default=200_000)
    parser.add_argument(
        "--rounds", type=int, default=3, help="of logs of up to a million baskets; larger ones have 1"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=int, default=1800, help="at which a method is stopped")
    parser.add_argument("--memory-gib", type=int, default=20, help="at which a method is stopped")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    run = Run(parser)
    options = run.options

    methods, skipped = present(options.methods)
    points, stopped = [], set[str]()
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "notes.parquet"
        write_notes(notes, options.notes)
        for baskets in options.baskets:
            log = Path(folder) / f"{baskets}.parquet"
            events = write_log(log, baskets, options.notes)
            rounds: dict[str, list[dict[str, Any]]] = {method: [] for method in methods}
            for _ in range(options.rounds if baskets <= 1_000_000 else 1):
                for method in methods:
                    if method not in stopped:
                        rounds[method].append(measure(method, log, notes, options))
                        print(baskets, method, rounds[method][-1], file=sys.stderr, flush=True)
                        stopped |= {method} if "stopped" in rounds[method][-1] else set()
            points.append({"baskets": baskets, "events": events, "rounds": rounds})
            log.unlink()
    limits = {"seconds": options.seconds, "memory_gib": options.memory_gib}
    numbers = {"notes": options.notes, "threads": options.threads, "limits": limits, "skipped": skipped}
    run.report("mining_growth", numbers | {"points": points})


if __name__ == "__main__":
    main()
