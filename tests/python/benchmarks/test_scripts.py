"""The scripts are called as they say, with what is installed, and their parts fit together."""

import argparse
import ast
import re
import sys
import types
from pathlib import Path

import bench_mining_growth
import bench_mining_large
import bench_ranks_growth
import bench_ranks_large
import bench_training
import generators
import harness
import mining_methods
import pytest
import run_all
import torch

SCRIPTS = Path(run_all.__file__).parent
BASELINES = {
    "ctranslate2", "duckdb", "faiss", "implicit", "nncf", "openvino", "peft", "polars", "sentence_transformers",
}  # fmt: skip
"""The packages that are compared with. Spark and Ray are no baselines: two scripts are about our code on them."""


def imported(path):
    """The packages that a script imports as soon as it is imported."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("*.py")), ids=lambda path: path.stem)
def test_each_baseline_may_be_absent(path):
    assert set(imported(path)) & BASELINES == set()


def without(monkeypatch, *names):
    """These packages can't be found or imported."""
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)


def test_every_benchmark_is_a_job_or_is_named_as_called_by_itself():
    (sentence,) = re.findall(
        r"([^.]*(?:\.py[^.]*)*) are called by themselves", (SCRIPTS.parent / "README.md").read_text()
    )
    alone = set(re.findall(r"`(\w+\.py)`", sentence))
    jobs = {job.script for job in run_all.JOBS.values()}
    assert alone & jobs == set()
    assert alone | jobs == {path.name for path in SCRIPTS.glob("bench_*.py")}


def test_ranks_by_size_of_the_pool_are_measured_without_and_with_faiss(monkeypatch):
    options = argparse.Namespace(width=8, queries=6, fewer=2, rounds=1, blocks=[16, 50])
    point = bench_ranks_growth.point_of(300, options)
    assert {"target_ranks", "product_fp32", "chunked_torch"} <= set(point["rounds"])
    assert all(len(seconds) == 1 for seconds in point["rounds"].values())
    assert set(point["blocks"]) == {"product_fp32", "chunked_torch"}
    without(monkeypatch, "faiss")
    assert set(bench_ranks_growth.point_of(300, options)["rounds"]) == set(point["rounds"]) - {
        "faiss_flat_100000"
    }


def test_the_block_is_the_fastest_and_changes_no_rank():
    pool = bench_ranks_growth.random_pool(200, 8)
    queries, targets = bench_ranks_large.noisy_targets(pool, 5, seed=1)
    calls, blocks = bench_ranks_large.in_blocks(queries, pool, targets, [7, 64])
    assert set(calls) == set(blocks) == {"product_fp32", "chunked_torch"}
    assert set(blocks.values()) <= {7, 64}
    expected = (queries @ pool.T > (queries * pool[targets]).sum(1, keepdim=True)).sum(1)
    assert calls["chunked_torch"]().equal(expected)


def test_mining_is_measured_without_implicit(monkeypatch):
    log = bench_mining_large.log_normal_baskets(50, 20, seed=0)
    without(monkeypatch, "implicit")
    assert set(bench_mining_large.calls_of(log)) == {"mine_1_thread", "mine_2_threads"}
    assert mining_methods.missing("implicit") == "implicit"
    assert mining_methods.missing("notellm") is None


def test_methods_that_are_absent_are_not_begun(monkeypatch):
    without(monkeypatch, "duckdb", "polars")
    present, skipped = bench_mining_growth.present(["notellm", "scipy", "duckdb", "polars"])
    assert present == ["notellm", "scipy"]
    assert skipped == {name: f"{name} is not installed" for name in ("duckdb", "polars")}


def test_the_batch_size_is_found_from_an_idle_device_to_an_idle_device(monkeypatch):
    timed = []
    monkeypatch.setattr(
        harness, "seconds_of", lambda call, repeats, device: timed.append(device) or call() or len(timed)
    )
    assert harness.fastest(lambda size: None, [4, 8], device="meta") == 4
    assert timed == ["meta", "meta"]


@pytest.mark.parametrize(
    ("device", "named"), [("cpu", ("cpu", 0)), ("cuda:1", ("cuda", 1)), ("cuda", ("cuda", 0))]
)
def test_ctranslate2_computes_where_all_others_do(device, named):
    assert generators.place_of(torch.device(device)) == named


@pytest.mark.parametrize(
    ("device", "gpus", "absent"), [("cpu", 0, None), ("cuda", 1, None), ("cuda", 0, "ctranslate2 for CUDA")]
)
def test_ctranslate2_without_a_gpu_of_its_own_is_left_out(monkeypatch, device, gpus, absent):
    fake = types.ModuleType("ctranslate2")
    fake.get_cuda_device_count = lambda: gpus
    fake.__spec__ = types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, "ctranslate2", fake)
    assert generators.ctranslate2_missing(torch.device(device)) == absent
    without(monkeypatch, "ctranslate2")
    assert generators.ctranslate2_missing(torch.device(device)) == "ctranslate2"


def test_inputs_are_made_before_a_step_is_measured(monkeypatch, capsys):
    """Ours are laid out by the core beside the device's work; a baseline's, by Python, are not timed."""
    done = []

    class Recorded:
        parameters = ()

        def __init__(self, *_):
            self.prepare = lambda steps: done.append(("prepare", list(steps)))
            self.tokens = lambda step: 9

        def train_step(self, step):
            done.append(("train", step))
            return 1.0

    monkeypatch.setattr(bench_training, "our_trainer", lambda options: None)
    monkeypatch.setattr(bench_training, "Ours", Recorded)
    bench_training.run_alone(argparse.Namespace(alone="notellm", device="cpu", steps=2))
    assert done == [("prepare", [0, 1, 2, 3]), *(("train", step) for step in range(4))]
    assert '"tokens": 9' in capsys.readouterr().out


def test_a_baseline_makes_the_inputs_of_a_step_once(monkeypatch):
    made = []
    baseline = object.__new__(bench_training.Baseline)
    monkeypatch.setattr(baseline, "inputs", lambda step: made.append(step) or step, raising=False)
    baseline.prepare(range(2))
    assert (made, baseline.ready) == ([0, 1], {0: 0, 1: 1})
