"""SIGKILL at random moments: called again, a verb goes on, and what it leaves is the same to the bit."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from notellm.app.studies import Ledger
from notellm.training.log import read_log
from samples import make_notes
from writing import write_study

pytestmark = pytest.mark.slow

KILLS = 50
"""Of each verb."""

STARTED = """
import sys
from pathlib import Path
import notellm.app.pipeline, notellm.app.studies.sweep
from notellm.app.cli import main
Path(sys.argv[1]).touch()
sys.exit(main(sys.argv[2:]))
"""
"""Says when the imports, which last the longest, are done."""

STUDY = """\
# @package _global_
study:
  rows:
    joint: {}
    gcl: {set: [loss=gcl_only]}
    words: {system: tfidf_full}
"""


class Call:
    """A verb with its arguments, called as often as one likes.

    Args:
        arguments: Of the command line.
        outcome: The folder in which it leaves everything.
        found: What it has left, as something that can be compared.
    """

    def __init__(self, arguments, outcome, found):
        self.arguments, self.outcome, self.found = arguments, outcome, found
        self.mark = Path("begun").resolve()

    def begin(self):
        self.mark.unlink(missing_ok=True)
        command = [sys.executable, "-c", STARTED, str(self.mark), *self.arguments]
        quiet = {"env": os.environ | {"OMP_NUM_THREADS": "1"}, "stdout": subprocess.DEVNULL}
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **quiet)
        while not self.mark.exists() and process.poll() is None:
            time.sleep(0.005)
        return process

    def end(self, process):
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
        assert not [path for path in self.outcome.rglob("*") if path.name.endswith(".part")]
        return self.found(self.outcome)

    def forget(self):
        shutil.rmtree(self.outcome)


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def of_training(folder):
    log = [
        {name: value for name, value in record.items() if name != "seconds"}
        for record in read_log(folder / "train.jsonl")
    ]
    assert not (folder / "checkpoints").exists()
    return content(folder / "model") | {"log": log, "pairs": (folder / "pairs.parquet").read_bytes()}


def of_sweep(folder):
    entries = Ledger(folder / "smoke/ledger.jsonl").entries()
    assert [entry["status"] for entry in entries] == ["done"] * 3  # and each once
    return {entry["key"]: (entry["metrics"], entry["data"], entry["queries"]) for entry in entries}


@pytest.fixture
def calls(tmp_path, overrides, tiny_folder, monkeypatch):
    """The verbs, in a working directory of their own."""
    from notellm.models.notellm import NoteLLM

    monkeypatch.chdir(tmp_path)
    write_study(STUDY)
    make_notes(1500, seed=3).write(tmp_path / "many.parquet")
    NoteLLM.from_pretrained(tiny_folder, dim=8).save_pretrained(tmp_path / "model")
    same = ["threads=1", "dtype=fp32"]
    out = Path("out")
    some = ["--notes", "many.parquet", "--model", "model", *same]
    overrides = [*overrides, *same]
    few = ["generation.max_new_tokens=2"]
    return {
        "train": Call(["train", *overrides, "train.max_steps=12", "run_dir=out"], out, of_training),
        "embed": Call(
            ["embed", *some, "--output", "out/v.safetensors", "embed.batch_tokens=512"], out, content
        ),
        "generate": Call(["generate", *some, "--output", "out/o.jsonl", *few], out, content),
        "embed into shards": Call(["embed", *some, "--output", "out/", "--shard-rows", "1024"], out, content),
        "generate into shards": Call(
            ["generate", *some, "--output", "out/", "--shard-rows", "256", *few], out, content
        ),
        "sweep": Call(["sweep", "small", "scale=smoke", "--folder", "out", *overrides], out, of_sweep),
    }


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "verb", ["train", "embed", "generate", "embed into shards", "generate into shards", "sweep"]
)
def test_killed_at_any_moment_and_called_again_it_leaves_the_same(verb, calls, record_property):
    call, random_ = calls[verb], random.Random(verb)
    process, begin = call.begin(), time.monotonic()
    whole = call.end(process)
    seconds = time.monotonic() - begin
    call.forget()
    kills = ends = 0
    while kills < KILLS:
        process = call.begin()
        try:
            process.wait(random_.uniform(0, seconds))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
            continue
        assert call.end(process) == whole
        ends += 1
        call.forget()
    assert call.end(call.begin()) == whole
    record_property(
        "figures", json.dumps({"verb": verb, "kills": kills, "ends": ends + 1, "seconds": seconds})
    )
    print(
        f"{verb}: killed {kills} times, ended {ends + 1} times, each with the same bytes; alone {seconds:.2f} s"
    )
