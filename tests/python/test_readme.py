"""The examples of README.md and of docs/ run as they stand, but for a tiny backbone and few steps."""

import re
from pathlib import Path

import numpy as np
import pytest

from notellm import Interactions
from notellm.app.cli import main
from pages import blocks, commands, on_tiny
from samples import make_notes

ROOT = Path(__file__).parents[2]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder to be in, with the tables that the examples read."""
    notes = make_notes(20)
    notes.write(tmp_path / "notes.parquet")
    rng = np.random.default_rng(0)
    users, seen = np.repeat(np.arange(40), 3), rng.integers(0, 20, 120)
    Interactions(users, seen, [f"u{i}" for i in range(40)], notes.ids).write(tmp_path / "log.parquet")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_example(name, after, changes):
    """Runs the first Python block after some words, with a few of its words replaced."""
    path = ROOT / name
    text = path.read_text()
    code = re.search(r"```python\n(.+?)```", text[text.index(after) :], re.S)[1]
    for real, small in changes.items():
        assert real in code
        code = code.replace(real, small)
    names = {}
    exec(compile(code, str(path), "exec"), names)
    return names


def test_the_example_runs(tiny_folder, place, capsys):
    run_example(
        "README.md", "## In Python\n", {"smollm2-135m": str(tiny_folder), "max_steps=60": "max_steps=2"}
    )
    assert (place / "runs" / "python" / "model" / "notellm.json").exists()
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_the_quick_start_runs(tiny_folder, place, capsys):
    run_example(
        "docs/quickstart.md", "## In Python\n", {"smollm2-135m": str(tiny_folder), "dim=128": "dim=8"}
    )
    shown = capsys.readouterr().out.splitlines()
    assert sorted(eval(shown[0])) == [(0, 1), (2, 3)]
    assert len(eval(shown[1])) == len(eval(shown[2])) == 4
    assert (place / "runs/quick/model/notellm.json").exists()


def test_the_metrics_run(place, capsys):
    run_example("docs/guide.md", "## Metrics and baselines", {})
    queries, targets, verdict = capsys.readouterr().out.splitlines()
    assert (queries[:7], targets[:7]) == ("queries", "targets")
    assert verdict in ("higher", "lower", "equivalent", "undecided")


def test_the_study_runs(overrides, place, capsys):
    changes = {'["mining.min_users=2"]': repr(overrides), ', "recall@100"': ""}
    run_example("docs/guide.md", "The same from Python, without YAML:", changes)
    shown = capsys.readouterr().out
    assert "| BM25 |" in shown
    assert len(re.findall(r"alpha_[0-9.]+, seed \d: done in", shown)) == 6
    assert "not run" not in shown


def test_own_objects_run(tiny_folder, place, capsys):
    few = {"smollm2-135m": str(tiny_folder), "max_steps=60": "max_steps=2", "=24": "=4", "(24)": "(4)"}
    names = run_example("docs/guide.md", "## Your own prompt, loss, pooling, batches", few)
    assert float(capsys.readouterr().out) < 0
    trainer, pairs = names["trainer"], names["pairs"]
    first = [(int(s), int(t)) for s, t in zip(pairs.source[:4], pairs.target[:4], strict=True)]
    numbers = trainer.joint_step.pairs.ends[trainer.plan(0).note_ids].reshape(-1, 2)
    assert [tuple(pair) for pair in numbers.tolist()] == first
    assert trainer.model.pooling is names["largest"]


def test_callbacks_run(tiny_folder, place):
    few = {
        "smollm2-135m": str(tiny_folder),
        "max_steps=60": "max_steps=2",
        "=24": "=4",
        "_every=10": "_every=1",
    }
    names = run_example("docs/guide.md", "In a script, `callbacks` are called", few)
    assert names["trainer"].step == 2
    assert names["inside"].size > 0
    lines = (place / "runs/patient/train.jsonl").read_text().splitlines()
    assert all('"validation": ' in line and '"waited": ' in line for line in lines)
    assert names["best"].dim == names["trainer"].model.dim


def test_hard_negatives_run(tiny_folder, place):
    few = {
        "smollm2-135m": str(tiny_folder),
        "runs/patient/best": str(tiny_folder),
        "max_steps=60": "max_steps=2",
        "=24": "=4",
        "first_rank=10": "first_rank=1",
    }
    names = run_example("docs/guide.md", "## Which negatives", few)
    assert names["trainer"].step == 2
    assert names["negatives"].covered > 0


def test_the_way_to_sentence_transformers_runs(overrides, place):
    pytest.importorskip("sentence_transformers")
    text = (ROOT / "docs/export.md").read_text()
    called = commands(text, "notellm")
    assert [arguments[0] for arguments in called] == ["train", "evaluate", "export"]
    for arguments in called:
        assert main(on_tiny(arguments, overrides)) == 0
    names = {}
    for block in blocks(text, "python"):
        exec(compile(block, "docs/export.md", "exec"), names)
    assert np.abs(names["vectors"] - names["again"].numpy()).max() < 1e-5
    (card,) = (place / "first-st").glob("README.md")
    assert "95 % bootstrap" in card.read_text()
