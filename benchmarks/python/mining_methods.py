"""The ten best partners of each note from a log in Parquet, by one method: a process of its own for each.

    python benchmarks/python/mining_methods.py METHOD LOG.parquet NOTES.parquet [THREADS]

Prints one line of JSON: seconds of reading and of mining, and the process's peak memory in MiB. All count the users of
a pair, but for ours, which sums 1 / N as well. The log has the columns user and note, both int64, note below the number
of notes.
"""

import importlib
import json
import resource
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

TOP = 10

Mine = Callable[[], int]
"""Mines, and returns how many pairs it kept."""


def ours(log: Path, notes: Path, threads: int) -> Mine:
    """`notellm.mine_pairs`."""
    from notellm.data import Interactions, Notes
    from notellm.mining import mine_pairs

    events = Interactions.read(log, notes=Notes.read(notes), ordered=False)
    return lambda: len(mine_pairs(events, lower=0, upper=float(2**20), top=TOP, threads=threads))


def _membership(log: Path):  # type: ignore[no-untyped-def]  # noqa: ANN202
    import numpy as np
    import pyarrow.parquet as pq
    from scipy.sparse import csr_matrix

    table = pq.read_table(log)
    users, chosen = (table[name].to_numpy() for name in ("user", "note"))
    member = csr_matrix((np.ones(len(users)), (users, chosen)))
    member.sum_duplicates()
    member.data[:] = 1
    return member


def implicit(log: Path, notes: Path, threads: int) -> Mine:
    """`implicit.nearest_neighbours.all_pairs_knn`."""
    from implicit.nearest_neighbours import all_pairs_knn

    member = _membership(log)

    def mine() -> int:
        found = all_pairs_knn(member, K=TOP + 1, num_threads=threads, show_progress=False)
        return int((found.data > 0).sum()) - int((member.getnnz(axis=0) > 0).sum())  # the notes themselves

    return mine


def scipy(log: Path, notes: Path, threads: int) -> Mine:
    """SciPy's sparse product, some rows at a time, and the best of each row."""
    import numpy as np

    member = _membership(log)

    def mine() -> int:
        kept, step = 0, 2_000
        by_note = member.T.tocsr()
        for first in range(0, by_note.shape[0], step):
            counts = (by_note[first : first + step] @ member).tocsr()
            for row in range(counts.shape[0]):
                data = counts.data[counts.indptr[row] : counts.indptr[row + 1]]
                best = np.argpartition(data, -min(TOP + 1, len(data)))[-TOP - 1 :] if len(data) else data
                kept += max(len(best) - 1, 0)  # the note itself is among them
        return kept

    return mine


SELF_JOIN = """
    with log as (select distinct "user", note from events),
         pairs as (select a.note source, b.note target, count(*) users
                   from log a join log b on a."user" = b."user" and a.note <> b.note group by 1, 2)
    select count(*) from (
        select 1 from pairs qualify row_number() over (partition by source order by users desc, target) <= {top})
"""


def duckdb(log: Path, notes: Path, threads: int) -> Mine:
    """DuckDB's self-join, aggregation and window."""
    import duckdb as library

    connection = library.connect()
    connection.execute(f"set threads = {threads}; set temp_directory = '{log.parent}/duckdb'")
    connection.execute(f"create table events as select * from read_parquet('{log}')")
    return lambda: connection.execute(SELF_JOIN.format(top=TOP)).fetchone()[0]  # type: ignore[index]


def polars(log: Path, notes: Path, threads: int) -> Mine:
    """Polars' self-join, aggregation and the best of each group."""
    import polars as library

    events = library.read_parquet(log).unique()

    def mine() -> int:
        joined = (
            events.lazy()
            .join(events.lazy(), on="user")
            .filter(library.col("note") != library.col("note_right"))
        )
        pairs = joined.group_by("note", "note_right").agg(library.len().alias("users"))
        best = pairs.sort("users", descending=True).group_by("note").head(TOP)
        return int(best.select(library.len()).collect().item())

    return mine


MODULES = {
    "notellm": ("notellm.data", "notellm.mining"),
    "implicit": ("implicit.nearest_neighbours", "pyarrow.parquet"),
    "scipy": ("scipy.sparse", "pyarrow.parquet"),
    "duckdb": ("duckdb",),
    "polars": ("polars",),
}
"""What each imports, which is not timed."""

METHODS = {"notellm": ours, "implicit": implicit, "scipy": scipy, "duckdb": duckdb, "polars": polars}


def missing(method: str) -> str | None:
    """The name of a package that a method needs and that is absent."""
    needed = (module.partition(".")[0] for module in MODULES[method])
    return next((name for name in needed if find_spec(name) is None), None)


def main() -> None:
    """Reads, mines, prints."""
    method, log, notes = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    threads = int(sys.argv[4]) if len(sys.argv) > 4 else 2
    for module in MODULES[method]:
        importlib.import_module(module)
    begin = time.perf_counter()
    mine = METHODS[method](log, notes, threads)
    read = time.perf_counter()
    kept = mine()
    done = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = {
        "read_seconds": round(read - begin, 3),
        "mine_seconds": round(done - read, 3),
        "peak_mib": round(peak),
    }
    print(json.dumps(found | {"kept": kept}))


if __name__ == "__main__":
    main()
