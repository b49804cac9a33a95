"""Embedding a folder of shards on Ray, by two actors of this machine, against one process: what it costs, by shards.

An actor has one core and one thread; the process is timed with one thread and with as many as there are actors. Ray is
there already; everybody loads the model anew in each call, and writes the shards. Before the timing, the folder of Ray
is checked to be that of the process with one thread, byte by byte. The backbone is cut to its first layers: what Ray
costs does not depend on how long a shard takes, and so weighs more here. Ray's actors end with each call and leave
their seconds to nobody, so the record counts them as others' work, and always says that it is not quiet.

    python benchmarks/python/bench_pools_ray.py --output benchmarks/results
"""

import argparse
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import ray
from harness import add_dtype, medians, time_plainly
from records import Run
from workloads import MODEL, backbone, first_layers, related_notes

import notellm
from notellm import NoteLLM, resolve_dtype
from notellm.data import Notes
from notellm.machine import version_of
from notellm.pools import making
from notellm.pools.cluster import Actors, make_on_ray
from notellm.pools.shards import Shards


@dataclass(frozen=True)
class Workshop:
    """Loads a model that embeds.

    Attributes:
        model: The backbone's folder.
        dtype: Of its products.
        block: Notes that go through it together; a shard has so many.
    """

    model: Path
    dtype: Any
    block: int

    def __call__(self) -> making.MakeShard:
        """Loads it, here or in an actor."""
        making.BLOCKS["embeddings"] = self.block
        return making.embedder(NoteLLM.from_pretrained(self.model), dtype=self.dtype)


class Work:
    """Fills folders, one after another in the same place."""

    def __init__(self, workshop: Workshop, notes: Notes, folder: Path) -> None:
        self.workshop, self.notes, self.folder = workshop, notes, folder

    def begin(self, shards: int, name: str) -> tuple[Shards, Notes]:
        """A new folder of so many shards, and its notes."""
        there = self.folder / name
        shutil.rmtree(there, ignore_errors=True)
        rows = self.workshop.block
        some = self.notes.take(range(shards * rows))
        return making.begin(there, "embeddings", some, made_by={}, rows_per_shard=rows), some

    def here(self, shards: int, threads: int) -> None:
        """Fills a folder by this process."""
        notellm.set_num_threads(threads)
        plan, notes = self.begin(shards, "here")
        making.make_all(plan, notes, self.workshop())

    def on_ray(self, shards: int, actors: int) -> None:
        """Fills a folder by actors."""
        plan, notes = self.begin(shards, "ray")
        make_on_ray(plan, notes, self.workshop, actors=Actors(actors), threads=1)

    def check_equal(self, shards: int, actors: int) -> None:
        """Both must write the same files."""
        self.here(shards, 1)
        self.on_ray(shards, actors)
        for path in (self.folder / "here").iterdir():
            assert path.read_bytes() == (self.folder / "ray" / path.name).read_bytes(), path.name


def line(points: list[dict[str, Any]], who: str) -> dict[str, float]:
    """Seconds as a straight line over shards, by least squares: what a call and what a shard costs."""
    shards = np.array([point["shards"] for point in points for _ in point["rounds"][who]])
    seconds = np.array([each for point in points for each in point["rounds"][who]])
    slope, start = np.polyfit(shards, seconds, 1)
    residual = np.abs(start + slope * shards - seconds).max() / seconds.max()
    return {
        "seconds_of_a_call": round(float(start), 3),
        "seconds_of_a_shard": round(float(slope), 3),
        "farthest_from_the_line": round(float(residual), 3),
    }


def point_of(work: Work, shards: int, options: argparse.Namespace) -> dict[str, Any]:
    """All, in turns, with so many shards."""
    calls: dict[str, Callable[[], object]] = {
        "one_process_1_thread": partial(work.here, shards, 1),
        "one_process": partial(work.here, shards, options.actors),
        "ray": partial(work.on_ray, shards, options.actors),
    }
    rounds = time_plainly(calls, options.rounds, is_warm=True)
    seconds = medians(rounds)
    overhead = round(seconds["ray"] / seconds["one_process"] - 1, 3)
    return {"shards": shards, "rounds": rounds, "seconds": seconds, "overhead_of_ray": overhead}


def main() -> None:
    """Checks, measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=Path, help="a table of notes; default: the Debian catalogue")
    parser.add_argument("--layers", type=int, default=4, help="of the backbone, the first ones")
    parser.add_argument("--rows", type=int, default=128, help="of a shard")
    parser.add_argument("--shards", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--actors", type=int, default=2, help="also the threads of the process")
    parser.add_argument("--rounds", type=int, default=3)
    add_dtype(parser)
    run = Run(parser)
    options, dtype = run.options, resolve_dtype(run.options.dtype, "cpu")

    making.BLOCKS["embeddings"] = options.rows
    notes, _, _ = related_notes(options.table, notes=max(options.shards) * options.rows)
    ray.init(num_cpus=options.actors, include_dashboard=False, log_to_driver=False, logging_level="error")
    with first_layers(backbone(), options.layers) as model, TemporaryDirectory() as folder:
        work = Work(Workshop(model, dtype, options.rows), notes, Path(folder))
        work.check_equal(options.shards[0], options.actors)
        points = [point_of(work, shards, options) for shards in options.shards]
    run.report(
        "pools_ray",
        {
            "model": MODEL,
            "layers": options.layers,
            "dtype": dtype,
            "rows_of_a_shard": options.rows,
            "actors": options.actors,
            "ray": version_of("ray"),
            "points": points,
            "lines": {who: line(points, who) for who in points[0]["rounds"]},
        },
    )
    ray.shutdown()


if __name__ == "__main__":
    main()
