"""Pools on Ray: an actor that is lost costs time and nothing else."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

from notellm.errors import NotSupportedError
from notellm.models.notellm import NoteLLM
from notellm.pools import cluster, making
from samples import make_notes

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")

ON_RAY = """
import json, sys
from pathlib import Path
import ray
from notellm.app.cli import main
from notellm.data.notes import Notes
from notellm.errors import DataError
from notellm.pools import making
from notellm.pools.cluster import Actors, make_on_ray
from ray_workshops import KilledOnce

making.BLOCKS["embeddings"] = 8
ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="error")
notes = Notes.read("notes.parquet")
halves = Actors(count=2, cpus=0.5)
folder = making.begin("vectors", "embeddings", notes, made_by={"model": "m"}, rows_per_shard=8)
told = []
made = make_on_ray(
    folder, notes, KilledOnce(Path("model").resolve(), Path("killed").resolve(), shard=2, block=8),
    actors=halves, threads=1, progress=lambda *at: told.append(at),
)
killed = Path("killed").exists()
common = ["--notes", "notes.parquet", "--model", "model", "dtype=fp32", "threads=1", "generation.max_new_tokens=2"]
ray_ = ["--engine", "ray", "--actors", "2", "--actor-cpus", "0.5"]
codes = [main(["generate", *common, "--output", "labels/", "--shard-rows", "64", *ray_])]
codes.append(main(["generate", *common, "--output", "again/", *ray_, "--actor-cpus", "7", "--actors", "0"]))
codes.append(main(["generate", *common, "--output", "again/", *ray_, "generation.hashtag_count=99"]))
print(json.dumps({"made": made, "told": told, "killed": killed, "codes": codes}))
"""


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@needs_ray
@pytest.mark.slow  # Ray takes half a minute to start where others are at work
def test_a_lost_actor_is_replaced_and_the_folder_is_that_of_one_process(tmp_path, tiny_folder, monkeypatch):
    from notellm.app.cli import main

    monkeypatch.setitem(making.BLOCKS, "embeddings", 8)
    notes = make_notes(140, seed=2)
    notes.write(tmp_path / "notes.parquet")
    NoteLLM.from_pretrained(tiny_folder, dim=8).save_pretrained(tmp_path / "model")
    paths = os.pathsep.join([*filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", ON_RAY],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["killed"]
    assert found["made"] == 18
    assert found["told"][-1] == [140, 140]
    assert found["codes"] == [0, 2, 2]
    ours = [line for line in done.stderr.splitlines() if line.startswith("notellm: ")]
    assert len(ours) == 2, done.stderr
    assert "ray: the cluster must have 7 of CPU and 0 of GPU for an actor, but has 1 of CPU" in ours[0]
    assert "generation.hashtag_count must be at most" in ours[1]
    assert not (tmp_path / "again").exists()

    monkeypatch.chdir(tmp_path)
    one = making.begin("one", "embeddings", notes, made_by={"model": "m"}, rows_per_shard=8)
    make = making.embedder(NoteLLM.from_pretrained("model"), dtype="fp32")
    with one_thread():
        assert making.make_all(one, notes, make) == 18
    assert content(tmp_path / "vectors") == content(tmp_path / "one")
    few = ["--shard-rows", "64", "generation.max_new_tokens=2", "dtype=fp32", "threads=1"]
    assert main(["generate", "--notes", "notes.parquet", "--model", "model", "--output", "alone/", *few]) == 0
    assert content(tmp_path / "labels") == content(tmp_path / "alone")


def one_thread():
    from contextlib import contextmanager

    import notellm

    @contextmanager
    def limited():
        before = notellm.num_threads()
        notellm.set_num_threads(1)
        try:
            yield
        finally:
            notellm.set_num_threads(before)

    return limited()


def test_without_ray_it_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    notes = make_notes(3)
    shards = making.begin(tmp_path / "p", "generations", notes, made_by={})
    with pytest.raises(NotSupportedError, match=r"ray must be installed, but is not; try `pip install"):
        cluster.make_on_ray(shards, notes, lambda: None)


class Refs:
    """Ray, played: calls are done when they are waited for; an actor is lost when its shard is unlucky."""

    class exceptions:
        class RayTaskError(Exception):
            pass

        class RayActorError(Exception):
            pass

    def __init__(self, unlucky):
        self.unlucky, self.killed, self.begun = dict(unlucky), 0, 0

    def is_initialized(self):
        return True

    def cluster_resources(self):
        return {"CPU": 2.0}

    def remote(self, kind):
        ray = self

        class Handle:
            def options(self, **given):
                return self

            def remote(self, *given):
                ray.begun += 1
                actor = kind(*given)
                handle = type("Actor", (), {})()
                for name in ("ready", "make_shard"):
                    method = getattr(actor, name)
                    call = type("Call", (), {"remote": staticmethod(lambda *a, m=method: ray.call(m, a))})
                    setattr(handle, name, call)
                return handle

        return Handle()

    def call(self, method, given):
        return lambda: self.lose(method, given)

    def lose(self, method, given):
        if len(given) > 2 and self.unlucky.get(given[2], 0):
            self.unlucky[given[2]] -= 1
            raise self.exceptions.RayActorError("The actor died: out of memory.\nmore")
        return method(*given)

    def wait(self, refs):
        return refs[:1], refs[1:]

    def get(self, ref):
        return ref()

    def kill(self, actor):
        self.killed += 1


def lines():
    return making.generator(lambda notes, progress: [{"id": name} for name in notes.ids])


def test_a_lost_shard_is_handed_out_again(tmp_path, monkeypatch):
    ray = Refs({1: 2, 3: 1})
    monkeypatch.setattr(cluster, "_ray", lambda: ray)
    notes, told = make_notes(300), []
    shards = making.begin(tmp_path / "p", "generations", notes, made_by={}, rows_per_shard=64)
    made = cluster.make_on_ray(shards, notes, lines, threads=1, progress=lambda *at: told.append(at))
    assert (made, shards.missing(), told[-1]) == (5, [], (300, 300))
    assert ray.begun == 2 + 3
    assert ray.killed == ray.begun
    one = making.begin(tmp_path / "one", "generations", notes, made_by={}, rows_per_shard=64)
    making.make_all(one, notes, lines())
    assert content(tmp_path / "p") == content(tmp_path / "one")


def test_actors_that_fit_nowhere_are_not_waited_for(tmp_path, monkeypatch):
    ray = Refs({})
    monkeypatch.setattr(cluster, "_ray", lambda: ray)
    notes = make_notes(3)
    shards = making.begin(tmp_path / "p", "generations", notes, made_by={})
    with pytest.raises(ValueError, match="must have 7 of CPU and 0 of GPU for an actor, but has 2 of CPU"):
        cluster.make_on_ray(shards, notes, lines, actors=cluster.Actors(count=2, cpus=7), threads=1)
    assert ray.begun == 0


def test_a_shard_that_loses_every_actor_is_named(tmp_path, monkeypatch):
    ray = Refs({1: 99})
    monkeypatch.setattr(cluster, "_ray", lambda: ray)
    notes = make_notes(300)
    shards = making.begin(tmp_path / "p", "generations", notes, made_by={}, rows_per_shard=64)
    message = r"generations-00001-of-00005\.jsonl: must be made by an actor that stays, but 3 were lost with it: The"
    with pytest.raises(Exception, match=message):
        cluster.make_on_ray(shards, notes, lines, threads=1)
    assert ray.killed == ray.begun
