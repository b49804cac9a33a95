"""Studies: reading, running, resuming and tabulating them, on a tiny backbone."""

import json
import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from notellm.cli import main
from notellm.errors import ConfigError, DataError
from notellm.metrics import bootstrap_difference
from notellm.studies import Ledger, load_study, make_table, sweep
from notellm.studies.sweep import ledger_of, plan

STUDY = """\
# @package _global_
study:
  title: A small study
  columns: [recall@1, recall@10, mrr, accuracy]
  seeds: [0, 1]
  against: joint
  rows:
    words: {name: TF-IDF, system: tfidf_full}
    joint: {name: Both losses, paper: {recall@10: 84.02}}
    faulty: {name: Diverges, set: [train.lr=1e30, train.lr_head=1e30, train.clip_norm=0]}
    gcl: {set: [loss=gcl_only]}
"""


def write_study(text, name="small"):
    path = Path("experiments/conf/experiment") / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory to call notellm from, with a study in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("studies"))
        write_study(STUDY)
        yield Path.cwd()


@pytest.fixture(scope="module")
def swept(place, overrides):
    """The study, run once."""
    study = load_study("small", scale="smoke", overrides=overrides)
    said = []
    entries = sweep(study, say=said.append)
    return study, entries, said


def test_a_sweep_runs_every_cell_and_survives_failures(swept):
    study, entries, said = swept
    assert [(entry["row"], entry["seed"], entry["status"]) for entry in entries] == [
        (row, seed, "failed" if row == "faulty" else "done")
        for row in ("words", "joint", "faulty", "gcl")
        for seed in (0, 1)
    ]
    failed = [entry for entry in entries if entry["status"] == "failed"]
    assert all("FloatingPointError" in entry["error"] for entry in failed)
    assert "Traceback" in Path(failed[0]["folder"], "error.txt").read_text()
    assert any("Diverges, seed 1: failed" in line for line in said)
    assert ledger_of(study).entries() == entries
    done = [entry for entry in entries if entry["status"] == "done"]
    assert all(0 <= entry["metrics"]["recall@10"] <= 1 for entry in done)
    assert len({entry["data"] for entry in done}) == 1
    by_row = {entry["row"]: entry for entry in done}
    assert "accuracy" in by_row["joint"]["metrics"]
    assert "accuracy" not in by_row["words"]["metrics"]
    assert not Path(by_row["words"]["folder"], "model").exists()
    assert by_row["gcl"]["config"]["loss"]["alpha"] == 0


def test_what_is_finished_is_not_run_again(swept, place, overrides):
    study, _, _ = swept
    said = []
    again = sweep(load_study("small", scale="smoke", overrides=overrides), say=said.append)
    assert [entry["row"] for entry in again] == ["faulty", "faulty"]
    assert sum("done before" in line for line in said) == 6
    more = load_study("small", scale="smoke", overrides=[*overrides, "train.max_steps=1"], seeds=[0])
    states = {cell.row.key: entry is not None for cell, entry, _ in plan(more)}
    assert not any(states.values())
    assert all(seconds > 0 for _, _, seconds in plan(more))


def test_the_same_seed_gives_the_same_table(swept, place, overrides):
    study, entries, _ = swept
    other = load_study("small", scale="smoke", overrides=overrides, folder="elsewhere", seeds=[1])
    metrics = {entry["row"]: entry["metrics"] for entry in sweep(other, say=lambda _: None)}
    assert metrics == {entry["row"]: entry["metrics"] for entry in entries if entry["seed"] == 1}


def test_a_cell_that_two_studies_have_is_run_once(swept, place, overrides):
    write_study(
        "# @package _global_\nstudy: {rows: {same: {name: as before, set: [loss=gcl_only]}}}\n", "other"
    )
    said = []
    other = load_study("other", scale="smoke", overrides=overrides)
    assert sweep(other, say=said.append) == []
    assert said == ["[1/1] as before, seed 0: done before"]
    assert make_table(other).rows[0].scores["recall@100"] is None  # was not measured
    assert make_table(other).rows[0].scores["mrr"] is not None


def test_a_cell_that_another_sweep_runs_is_left_alone(place, overrides):
    import fcntl

    study = load_study("small", scale="smoke", overrides=overrides, folder="shared", seeds=[0])
    for cell in study.cells:
        cell.folder.parent.mkdir(parents=True, exist_ok=True)
    locks = [cell.folder.with_suffix(".lock").open("w") for cell in study.cells]
    for lock in locks:
        fcntl.flock(lock, fcntl.LOCK_EX)
    said = []
    assert sweep(study, say=said.append) == []
    assert sum("another sweep is at it" in line for line in said) == len(study.cells)
    for lock in locks:
        lock.close()


def test_the_table_shows_what_is_missing(swept, place):
    study, entries, _ = swept
    table = make_table(study)
    rows = {row.name: row for row in table.rows}
    assert rows["Diverges"].status == "2 failed"
    assert set(rows["Diverges"].scores.values()) == {None}
    assert rows["Both losses"].difference == {}
    values = [100 * e["metrics"]["mrr"] for e in entries if e["row"] == "gcl"]
    assert rows["gcl"].scores["mrr"].mean == pytest.approx(np.mean(values))
    assert rows["gcl"].scores["mrr"].deviation == pytest.approx(np.std(values, ddof=1))
    assert rows["TF-IDF"].scores["accuracy"] is None
    text = table.markdown()
    assert "| paper (private data, 7B) | \u2013 | 84.02 | \u2013 | \u2013 |" in text
    assert "Diverges (2 failed)" in text
    assert "(scale: smoke)" in text
    assert r"\toprule" in table.latex()
    assert "\\%" in table.latex()
    lines = table.csv().splitlines()
    assert len(lines) == 1 + 4 * 4
    other = make_table(study, against="words")
    assert {row.name: bool(row.difference) for row in other.rows}["Both losses"]
    with pytest.raises(ValueError, match="against must be one of words, joint, faulty, gcl"):
        make_table(study, against="nobody")


def test_differences_are_paired_over_the_same_queries(place, tmp_path):
    write_study(
        "# @package _global_\nstudy:\n  columns: [recall@2]\n  against: a\n  rows:\n    a: {}\n"
        "    b: {set: [loss.alpha=0.1]}\n    c: {set: [loss.alpha=0.2]}\n",
        "two",
    )
    study = load_study("two", scale="smoke", folder=tmp_path)
    draw = np.random.default_rng(0)
    hits = {}
    for cell in study.cells[:2]:
        ranks = torch.from_numpy(draw.integers(0, 4, 50))
        hits[cell.row.key] = (ranks < 2).double().numpy()
        cell.folder.mkdir(parents=True)
        tensors = {"trained.greater": ranks, "trained.equal": torch.zeros_like(ranks)}
        save_file(tensors, cell.folder / "ranks.safetensors")
        ledger_of(study).append(
            {
                "key": cell.key,
                "status": "done",
                "data": "x",
                "folder": str(cell.folder),
                "metrics": {"recall@2": float(hits[cell.row.key].mean())},
                "seconds": 1,
            }
        )
    a, b, c = make_table(study).rows
    expected = bootstrap_difference(hits["b"], hits["a"])
    assert b.difference["recall@2"] == pytest.approx([100 * value for value in expected])
    assert b.scores["recall@2"].mean == pytest.approx(100 * hits["b"].mean())
    assert b.scores["recall@2"].deviation is None
    assert c.status == "1 not run"
    assert c.difference["recall@2"] is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\n", "must be a study, but its file has no `study` node"),
        ("study: {rows: {}}\n", "must have rows, but has none"),
        ("study: {rows: {a: {color: red}}}\n", "row a may hold name, set, system and paper, but holds color"),
        ("study: {against: b, rows: {a: {}}}\n", "against must be one of its rows, but is 'b'"),
        ("study: {rows: {a: {set: [loss.alhpa=1]}}}\n", "row a: loss.alhpa=1: unknown key .* loss.alpha"),
        ("study: {rows: {a: {}, b: {set: [loss.alpha=-1]}}}\n", "row b: loss.alpha must be at least 0"),
        ("study: {rows: {a: {system: gpt}}}\n", r"row a: evaluation.systems\[0\] must be tfidf"),
    ],
)
def test_errors_are_found_before_the_first_run(place, text, message):
    write_study("# @package _global_\n" + text, "wrong")
    with pytest.raises(ConfigError, match=message):
        load_study("wrong", scale="smoke")


def test_every_shipped_study_can_be_composed():
    root = Path(__file__).parents[3]
    studies = [
        path.stem
        for path in (root / "experiments/conf/experiment").glob("*.yaml")
        if "\nstudy:" in path.read_text()
    ]
    assert {"table2", "table3", "table4", "table5", "table6", "prompt_variants"} <= set(studies)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for name in studies:
            for scale in ("smoke", "paper"):
                study = load_study(name, scale=scale, seeds=[0])
                assert len({cell.key for cell in study.cells}) == len(study.cells)


def append(path, who):
    for number in range(50):
        Ledger(path).append({"who": who, "number": number, "key": "k", "status": "done"})


def test_several_processes_append_to_one_ledger(tmp_path):
    path = tmp_path / "deep" / "ledger.jsonl"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=append, args=(path, who)) for who in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    entries = Ledger(path).entries()
    assert sorted((e["who"], e["number"]) for e in entries) == [(w, n) for w in range(3) for n in range(50)]


def test_a_torn_line_is_left_out_and_cut(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    assert ledger.entries() == []
    ledger.append({"key": "a", "status": "done"})
    with ledger.path.open("a") as file:
        file.write('{"key": "b", "sta')
    assert [entry["key"] for entry in ledger.entries()] == ["a"]
    ledger.append({"key": "c", "status": "failed"})
    assert [entry["key"] for entry in ledger.entries()] == ["a", "c"]
    assert set(ledger.finished()) == {"a"}
    with pytest.raises(ValueError, match="Out of range"):
        ledger.append({"key": "d", "loss": float("nan")})
    ledger.path.write_text("{}\nnonsense\n")
    with pytest.raises(DataError, match=r"ledger\.jsonl:2: must be a JSON object"):
        ledger.entries()


def test_the_verbs(swept, place, overrides, capsys):
    command = ["experiment=small", "scale=smoke", *overrides]
    assert main(["sweep", *command, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "A small study, scale smoke: 4 rows, 2 seeds" in shown
    assert "TF-IDF, seed 1: done" in shown
    assert "Diverges, seed 0: to run, about" in shown
    assert main(["sweep", *command, "--seeds", "0"]) == 1  # one row fails
    capsys.readouterr()
    assert main(["table", *command]) == 0
    assert "Both losses" in capsys.readouterr().out
    output = place / "table.tex"
    assert main(["table", *command, "--format", "latex", "--output", str(output)]) == 0
    assert output.read_text().startswith(r"\begin{table}")
    assert main(["table", *command, "--against", "nobody"]) == 2
    assert "against must be one of" in capsys.readouterr().err
    assert main(["sweep", "scale=smoke"]) == 2
    assert "a study must be named" in capsys.readouterr().err
    assert json.loads(ledger_of(swept[0]).path.read_text().splitlines()[0])["row"] == "words"
    shutil.rmtree(place / "runs")
