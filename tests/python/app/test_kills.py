"""SIGKILL at random moments: called again, a verb goes on, and what it leaves is the same to the bit."""

import json
import multiprocessing
import random
import re
import shutil
import time
from collections import Counter
from pathlib import Path

import pytest

from notellm.app.studies import Ledger
from notellm.loggers.json_lines import read_log
from processes import call_verb
from samples import make_notes
from writing import write_study

TIMES = ("seconds", "tokens_per_second")

pytestmark = pytest.mark.slow

KILLS = 50
"""Of each verb."""

VERBS = multiprocessing.get_context("forkserver")
VERBS.set_forkserver_preload(["notellm.app.pipeline", "notellm.app.studies.sweep", "notellm.app.cli"])
"""Forked after the imports, which last the longest, so that most moments fall into the work."""

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
        self.said = Path("said").resolve()

    def begin(self):
        process = VERBS.Process(target=call_verb, args=(self.arguments, Path.cwd(), self.said))
        process.start()
        return process

    def end(self, process):
        process.join(300)
        assert process.exitcode == 0, self.said.read_text()
        assert not [path for path in self.outcome.rglob("*") if path.name.endswith(".part")]
        return self.found(self.outcome)

    def stage(self):
        """What it has written last, without its number."""
        files = [path for path in self.outcome.rglob("*") if path.is_file()]
        if not files:
            return "nothing"
        newest = max(files, key=lambda path: path.stat().st_mtime_ns)
        return re.sub(r"\d+|\.[0-9a-f]{8,}|tmp\w+", "N", newest.name)

    def forget(self):
        shutil.rmtree(self.outcome)


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def of_training(folder):
    log = [
        {name: value for name, value in record.items() if name not in TIMES}
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
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # of the fork server, too, which the first call starts
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
    whole = call.end(call.begin())  # the first one also starts the fork server
    call.forget()
    begin = time.monotonic()
    assert call.end(call.begin()) == whole
    seconds = time.monotonic() - begin
    call.forget()
    ends, stages = 0, Counter()
    while stages.total() < KILLS:
        process = call.begin()
        process.join(random_.uniform(0, seconds))
        if process.is_alive():
            process.kill()
            process.join()
            stages[call.stage()] += 1
            continue
        assert call.end(process) == whole
        ends += 1
        call.forget()
    assert call.end(call.begin()) == whole
    figures = {"verb": verb, "kills": stages.total(), "ends": ends + 1, "seconds": seconds, "stages": stages}
    record_property("figures", json.dumps(figures))
    print(
        f"{verb}: killed {stages.total()} times, ended {ends + 1} times, each with the same bytes; alone "
        f"{seconds:.2f} s; last written when it was killed: {dict(stages.most_common())}"
    )
