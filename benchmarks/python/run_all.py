"""Makes every record that the README's numbers come from, for the instruction set in use.

    python benchmarks/python/run_all.py
    python benchmarks/python/run_all.py --limit avx2

The second has a newer processor behave like one with AVX2 alone, for us and for all baselines. What is there is
skipped, but for records that were made beside other work; interrupted, it goes on where it was. `--only demo` times the
demo. `tables.py` then writes the README.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from records import RESULTS, record_name

import notellm
from notellm.older_cpu import PROCESSORS


class Job(NamedTuple):
    """One benchmark: its script, and its options by how fast the machine is.

    Sizes are such that a set takes about an hour on two cores; the longest are embedding and training, of which most is
    warming the baselines up.
    """

    script: str
    always: str
    fast: str
    """Where bf16 products are native."""
    slow: str
    tiny: str
    """To see that it runs; no numbers to be shown."""


TINY_EMBEDDING = "--layers 2 --notes 12 --sample 4 --batches 4 --rounds 1"
LARGE_MINING = "--methods notellm implicit --rounds 1 --seconds 900"
TINY_MINING = "--baskets 400 --notes 200"
JOBS = {
    "embedding_fp32": Job(
        "bench_embedding.py",
        "--dtype fp32 --rounds 3",
        "--notes 96 --sample 32 --batches 4 8 16",
        "--notes 32 --sample 8 --batches 4 8",
        TINY_EMBEDDING,
    ),
    "embedding_bf16": Job(
        "bench_embedding.py",
        "--dtype bf16 --rounds 3",
        "--notes 128 --sample 32 --batches 4 8 16",
        "",
        TINY_EMBEDDING,
    ),
    "training": Job(
        "bench_training.py",
        "--steps 1 --rounds 3",
        "--pairs 16",
        "--pairs 4",
        "--pairs 2 --rounds 1",
    ),
    "training_lora": Job(
        "bench_training.py",
        "--lora --steps 1 --rounds 3",
        "--pairs 16",
        "--pairs 4",
        "--pairs 2 --rounds 1",
    ),
    "gcl": Job("bench_gcl.py", "", "--rounds 7", "--rounds 7", "--rounds 2 --pairs 16 64"),
    "gradcache": Job(
        "bench_gradcache.py",
        "",
        "--pairs 128 --micro-pairs 16",
        "--pairs 32 --micro-pairs 4",
        "--pairs 4 --micro-pairs 2",
    ),
    "generation_fp32": Job(
        "bench_generation.py",
        "--dtype fp32 --rounds 3",
        "--notes 64 --sample 32 --batches 16 32 --scored-notes 16",
        "--notes 24 --sample 8 --batches 8 16 --scored-notes 4",
        "--notes 4 --sample 2 --new-tokens 8 --scored-notes 2 --categories 4 --batches 4 --rounds 1",
    ),
    "processes": Job(
        "bench_processes.py",
        "--steps 2 --rounds 3",
        "--pairs 16",
        "--pairs 4",
        "--pairs 2 --steps 1 --rounds 1",
    ),
    "growth": Job("bench_growth.py", "--rounds 3", "--notes 32", "--notes 8", "--notes 4 --rounds 1"),
    "pools": Job(
        "bench_growth.py",
        "--layers 2 --notes 0 --rounds 3",
        "--pools 1000 4000",
        "--pools 250 1000",
        "--pools 8 --rounds 1",
    ),
    # Not where bf16 is slow: transformers in bf16 would take a quarter of an hour there.
    "precision": Job("bench_precision.py", "", "--notes 400 --queries 80", "", "--notes 30 --queries 5"),
    "mining_large": Job(
        "bench_mining_large.py", "", "--rounds 3", "--rounds 2", "--baskets 400 --notes 200 --rounds 1"
    ),
    "mining_growth": Job(
        "bench_mining_growth.py",
        "--seconds 180",
        "--baskets 100000 1000000 --rounds 1",
        "--baskets 100000 1000000 --rounds 1",
        "--baskets 300 600 --notes 200 --rounds 1",
    ),
    "mining_100m": Job(
        "bench_mining_growth.py", LARGE_MINING, "--baskets 10000000", "--baskets 10000000", TINY_MINING
    ),
    "mining_200m": Job(
        "bench_mining_growth.py", LARGE_MINING, "--baskets 20000000", "--baskets 20000000", TINY_MINING
    ),
    "mining_spark": Job(
        "bench_mining_spark.py", "", "--rounds 2", "--rounds 2", "--baskets 300 --notes 200 --rounds 1"
    ),
    "ranks_large": Job(
        "bench_ranks_large.py",
        "",
        "--rounds 3",
        "--rounds 2",
        "--notes 120000 --queries 64 --rounds 1",
    ),
    "ranks_growth": Job(
        "bench_ranks_growth.py",
        "",
        "--rounds 3",
        "--rounds 2",
        "--pools 1000 3000 --queries 64 --rounds 1",
    ),
    "pools_ray": Job(
        "bench_pools_ray.py",
        "",
        "--rounds 3 --rows 128",
        "--rounds 3 --rows 128",
        "--layers 1 --rows 8 --shards 1 2 --rounds 1",
    ),
    "demo": Job(
        "bench_demo.py",
        "",
        "--overrides",
        "--overrides",
        "--overrides train.max_steps=2 data.pool=200 data.queries=20 evaluation.generation_notes=4",
    ),
}
LONG = ["demo", "mining_100m", "mining_200m"]
"""Only where named: minutes that are no benchmark's, or up to 13 GiB of memory."""


def options_of(job: Job, instruction_set: str, tiny: bool) -> list[str] | None:
    """The command line of a job; None: it is not for this set."""
    sizes = job.fast if instruction_set == "avx512_bf16" else job.slow
    if not sizes:
        return None
    return [*job.always.split(), *(job.tiny if tiny else sizes).split()]


def is_finished(path: Path) -> bool:
    """Whether a record is there that tables may show."""
    return path.is_file() and json.loads(path.read_text()).get("quiet") is True


def run_job(name: str, job: Job, options: list[str], path: Path, environment: Mapping[str, str]) -> bool:
    """Makes one record and says so; False if the benchmark failed."""
    print(f"{name}: python {job.script} {' '.join(options)}", flush=True)
    begin = time.monotonic()
    command = [sys.executable, str(Path(__file__).parent / job.script), *options, "--output", str(path)]
    # A crash in a baseline's library says where it was.
    spoken = dict(environment) | {"PYTHONFAULTHANDLER": "1"}
    done = subprocess.run(command, env=spoken, capture_output=True, text=True)
    taken = f"{(time.monotonic() - begin) / 60:.1f} min"
    if done.returncode != 0:
        print(
            f"{done.stderr[-3000:]}\n{name}: failed after {taken} with status {done.returncode}", flush=True
        )
        return False
    record = json.loads(path.read_text())
    beside = (
        "" if record["quiet"] else f", but others had {record['others']['share_of_cores']:.0%} of the cores"
    )
    print(f"{name}: {path}, {taken}{beside}", flush=True)
    return True


def main() -> None:
    """Runs what is missing, one after another."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", nargs="+", choices=JOBS, help="these records; default: all but the long ones"
    )
    parser.add_argument("--limit", choices=PROCESSORS, help="behave like an older processor")
    parser.add_argument("--again", action="store_true", help="also what is there")
    parser.add_argument("--tiny", action="store_true", help="only to see that all runs: needs --results")
    parser.add_argument("--results", type=Path, help="a folder; default: benchmarks/results")
    options = parser.parse_args()
    if options.tiny and options.results is None:
        parser.error("--tiny: must have a --results of its own, since its records say nothing")

    used = options.limit or notellm.instruction_set()
    environment = os.environ | PROCESSORS.get(options.limit, {})
    failed = False
    for name in options.only or [name for name in JOBS if name not in LONG]:
        job, path = JOBS[name], (options.results or RESULTS) / record_name(name, used)
        command = options_of(job, used, options.tiny)
        if command is None:
            continue
        if is_finished(path) and not options.again:
            print(f"{name}: {path} is there")
            continue
        failed |= not run_job(name, job, command, path, environment)
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
