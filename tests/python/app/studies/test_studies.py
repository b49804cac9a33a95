"""Studies: reading, running, resuming and tabulating them, on a tiny backbone."""

import json
import sys

import numpy as np
import pytest

from notellm.app.cli import main
from notellm.app.config import compose
from notellm.app.kept import backbone_key
from notellm.app.studies import (
    Ledger,
    load_study,
    make_study,
    make_table,
    sweep,
)
from notellm.app.studies.sweep import plan
from notellm.errors import ConfigError
from notellm.machine import describe_machine, machine_name
from writing import write_study


def test_a_sweep_runs_every_cell_and_survives_failures(swept):
    study, entries, said = swept
    trained = (("joint", "done"), ("faulty", "failed"), ("gcl", "done"))
    assert [(entry["row"], entry["seed"], entry["status"]) for entry in entries] == [
        ("words", 0, "done"),
        *((row, 0, status) for row, status in trained),
        *((row, 1, status) for row, status in trained),
    ]
    failed = [entry for entry in entries if entry["status"] == "failed"]
    assert all("FloatingPointError" in entry["error"] for entry in failed)
    cells = {(cell.row.key, cell.seed): cell for cell in study.cells}
    assert "Traceback" in cells["faulty", 0].error_file.read_text()
    assert any("Diverges, seed 1: failed" in line for line in said)
    assert study.ledger.entries() == entries
    done = [entry for entry in entries if entry["status"] == "done"]
    assert all(0 <= entry["metrics"]["recall@10"] <= 1 for entry in done)
    assert len({entry["data"] for entry in done}) == 1
    by_row = {entry["row"]: entry for entry in done}
    assert "accuracy" in by_row["joint"]["metrics"]
    assert "accuracy" not in by_row["words"]["metrics"]
    assert (cells["joint", 0].folder / "evaluation.json").exists()
    assert not (cells["joint", 0].folder / "model").exists()
    assert by_row["gcl"]["config"]["loss"]["alpha"] == 0
    assert {entry["machine"] for entry in entries} == {machine_name(describe_machine())}
    assert by_row["words"]["training_seconds"] == 0
    assert all(0 < by_row[row]["training_seconds"] < by_row[row]["seconds"] for row in ("joint", "gcl"))


def test_the_ledger_names_run_folders_as_they_stand_beside_it(swept):
    _, entries, _ = swept
    assert all(entry["config"]["run_dir"] == entry["key"] for entry in entries)


def test_what_is_finished_is_not_run_again(swept, place, overrides):
    study, _, _ = swept
    said = []
    again = sweep(load_study("small", scale="smoke", overrides=overrides), say=said.append)
    assert [entry["row"] for entry in again] == ["faulty", "faulty"]
    assert sum("done before" in line for line in said) == 5

    def finished(*changes):
        more = load_study("small", scale="smoke", overrides=[*overrides, *changes], seeds=[0])
        assert all(seconds > 0 for _, said, seconds in plan(more) if not said)
        return {cell.row.key for cell, said, _ in plan(more) if said}

    assert finished("train.micro_pairs=2", "embed.batch_tokens=99") == {"words", "joint", "gcl"}
    assert finished("train.max_steps=1") == {"words"}  # which is not trained
    assert finished("data.queries=5") == set()


def test_the_same_seed_gives_the_same_table(swept, place, overrides):
    study, entries, _ = swept
    other = load_study("small", scale="smoke", overrides=overrides, folder="elsewhere", seeds=[1])
    metrics = {entry["row"]: entry["metrics"] for entry in sweep(other, say=lambda _: None)}
    before = {entry["row"]: entry["metrics"] for entry in entries if entry["seed"] == 1}
    assert metrics == before | {"words": entries[0]["metrics"]}


def test_a_cell_that_two_studies_have_is_run_once(swept, place, overrides):
    write_study(
        "# @package _global_\nstudy:\n  columns: [mrr]\n  rows: {same: {name: as before, set: [loss=gcl_only]}}\n",
        "other",
    )
    said = []
    other = load_study("other", scale="smoke", overrides=overrides)
    assert sweep(other, say=said.append) == []
    assert said == ["[1/1] as before, seed 0: done before"]
    assert make_table(other).rows[0].scores["mrr"] is not None


def test_a_cell_that_another_sweep_runs_is_left_alone(place, overrides):
    import fcntl

    study = load_study("small", scale="smoke", overrides=overrides, folder="shared", seeds=[0])
    for cell in study.cells:
        cell.folder.parent.mkdir(parents=True, exist_ok=True)
    locks = [cell.folder.with_name(f"{cell.folder.name}.lock").open("w") for cell in study.cells]
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
    assert rows["Both losses"].comparisons == {}
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
    assert rows["TF-IDF"].seeds == 1
    assert rows["TF-IDF"].comparisons["recall@10"] is not None
    assert rows["TF-IDF"].comparisons["mrr"] is not None
    assert rows["TF-IDF"].comparisons["accuracy"] is None  # it writes nothing
    other = make_table(study, against="words")
    assert {row.name: bool(row.comparisons) for row in other.rows}["Both losses"]
    with pytest.raises(ValueError, match="against must be one of words, joint, faulty, gcl"):
        make_table(study, against="nobody")


def test_rows_of_other_sources_share_a_table(place, tmp_path):
    """Data are old where there are newer ones from the same sources, not where a row has sources of its own."""
    node = {"columns": ["mrr"], "rows": {"a": {}, "b": {"set": ["data.test_fraction=0.2"]}}}
    study = make_study("sources", node, scale="smoke", folder=tmp_path)
    for year, data, cell in (("2026", "x", study.cells[0]), ("2027", "y", study.cells[1])):
        study.ledger.append(
            {"key": cell.key, "status": "done", "data": data, "commit": "", "finished": year, "queries": "q"}
            | {"metrics": {"mrr": 0.5}, "seconds": 1}
        )
    assert [row.status for row in make_table(study).rows] == ["", ""]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\n", "must be a study, but its file has no `study` node"),
        ("study: {rows: {}}\n", "must have rows, but has none"),
        (
            "study: {rows: {a: {color: red}}}\n",
            "row a may hold name, set, system, paper, tune, but holds color",
        ),
        ("study: {against: b, rows: {a: {}}}\n", "against must be one of its rows, but is 'b'"),
        ("study: {rows: {a: {set: [loss.alhpa=1]}}}\n", "row a: loss.alhpa=1: unknown key .* loss.alpha"),
        ("study: {rows: {a: {}, b: {set: [loss.alpha=-1]}}}\n", "row b: loss.alpha must be at least 0"),
        ("study: {rows: {a: {}, b: {set: [seed=1]}}}\n", "rows must differ, but a and b come to the same"),
        ("study: {columns: [recall@7], rows: {a: {}}}\n", "columns must be measured, but recall@7 is not"),
        ("study: {seed: [0, 1], rows: {a: {}}}\n", "a study may hold title, columns, .*, but holds seed$"),
        (
            "study: {seeds: [0, 1, 0], rows: {a: {}}}\n",
            r"seeds must be one or more, each once, but are \[0, 1, 0\]",
        ),
        ("study: {seeds: [], rows: {a: {}}}\n", r"seeds must be one or more, each once, but are \[\]"),
        ("study: {rows: {a: }}\n", "row a must be a group of keys, but is None"),
        (
            "evaluation: {generation_notes: 0}\nstudy: {columns: [mrr, accuracy], rows: {a: {}}}\n",
            "columns must be measured, but accuracy need notes to write words for",
        ),
        (
            "study: {columns: [recall@9], rows: {a: {set: ['evaluation.ks=[9]']}, b: {}}}\n",
            "recall@9 is not in row b",
        ),
        (
            "study: {rows: {a: {}, b: {set: [prompt.topics_in_hashtag_prompt=unsampled]}}}\n",
            "row b: prompt: prompt 'paper': .*topics",
        ),
        ("study: {rows: {a: {system: gpt}}}\n", r"row a: evaluation.systems\[0\] must be random"),
    ],
)
def test_errors_are_found_before_the_first_run(place, text, message):
    write_study("# @package _global_\n" + text, "wrong")
    with pytest.raises(ConfigError, match=message):
        load_study("wrong", scale="smoke")


@pytest.mark.parametrize("taken", ["seed=5", "evaluation.systems=[tfidf]", "run_dir=x"])
def test_what_a_study_sets_itself_is_not_for_the_user(place, taken):
    with pytest.raises(ConfigError, match="is set by the study itself; try --seeds"):
        load_study("small", scale="smoke", overrides=[taken])


def test_an_interrupted_cell_goes_on_and_comes_to_the_same(swept, place, overrides, monkeypatch):
    from notellm.training import Trainer

    _, entries, _ = swept
    study = load_study("small", scale="smoke", overrides=overrides, folder="halfway", seeds=[1])
    step = Trainer._train_step

    def interrupt(self):
        if self.step == 2:
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(Trainer, "_train_step", interrupt)
    with pytest.raises(KeyboardInterrupt):
        sweep(study, say=lambda _: None)
    monkeypatch.setattr(Trainer, "_train_step", step)
    (joint,) = (entry for entry in sweep(study, say=lambda _: None) if entry["row"] == "joint")
    assert [joint["metrics"]] == [e["metrics"] for e in entries if (e["row"], e["seed"]) == ("joint", 1)]


def test_an_interrupted_cell_starts_anew_where_data_or_code_have_changed(
    place, overrides, tmp_path, monkeypatch
):
    from notellm.app.studies.sweep import run_cell

    module = sys.modules[run_cell.__module__]  # `notellm.app.studies.sweep` is the function
    node = {"rows": {"words": {"system": "tfidf_full"}}}
    study = make_study("w", node, scale="smoke", overrides=overrides, folder=tmp_path)
    (cell,) = study.cells

    def stop_after(cell, run, dataset):
        run_cell(cell, run, dataset)
        raise KeyboardInterrupt

    def changed(file, key, value):
        """A sweep after one that was interrupted, of which something has changed since."""
        monkeypatch.setattr(module, "run_cell", stop_after)
        with pytest.raises(KeyboardInterrupt):
            sweep(study, say=lambda _: None, again=["words"])
        monkeypatch.setattr(module, "run_cell", run_cell)
        path = cell.folder / file
        path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
        (cell.folder / "left").touch()
        (entry,) = sweep(study, say=lambda _: None)
        assert entry["status"] == "done"
        return not (cell.folder / "left").exists()

    assert not changed("run.json", "seed", 7)
    assert changed("run.json", "versions", {})
    assert changed("sources.json", "data", "others")
    assert {entry["status"] for entry in study.ledger.entries()} == {"begun", "done"}


def test_rows_can_be_run_again(place, overrides, tmp_path, capsys):
    node = {"rows": {"words": {"system": "tfidf_full"}, "other": {"system": "bm25"}}}
    write_study(f"# @package _global_\nstudy: {json.dumps(node)}\n", "again")
    command = ["again", "scale=smoke", *overrides, "--folder", str(tmp_path)]
    assert main(["sweep", *command]) == 0
    capsys.readouterr()
    assert main(["sweep", *command, "--again", "words", "--dry-run"]) == 0
    assert "words, seed 0: to run" in (shown := capsys.readouterr().out)
    assert "other, seed 0: done" in shown
    ledger = Ledger(tmp_path / "smoke" / "ledger.jsonl")
    before = ledger.newest()
    assert main(["sweep", *command, "--again", "words"]) == 0
    assert [entry["status"] for entry in ledger.entries()] == ["done", "done", "begun", "done"]
    assert all(entry["metrics"] == before[key]["metrics"] for key, entry in ledger.newest().items())
    assert main(["sweep", *command, "--again", "nobody"]) == 2
    assert "--again must name rows, of words, other, but names nobody" in capsys.readouterr().err


def test_some_rows_alone_can_be_run(place, overrides, tmp_path, capsys):
    node = {"rows": {"words": {"system": "tfidf_full"}, "other": {"system": "bm25"}}}
    write_study(f"# @package _global_\nstudy: {json.dumps(node)}\n", "some")
    command = ["sweep", "some", "scale=smoke", *overrides, "--folder", str(tmp_path)]
    assert main([*command, "--rows", "other", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "other, seed 0: to run" in shown
    assert "words, seed" not in shown
    assert main([*command, "--rows", "other"]) == 0
    ledger = Ledger(tmp_path / "smoke" / "ledger.jsonl")
    assert [entry["row"] for entry in ledger.entries()] == ["other"]
    assert main([*command, "--rows", "nobody"]) == 2
    assert "--rows must name rows, of words, other, but names nobody" in capsys.readouterr().err
    assert main([*command, "--rows", "other", "--again", "words"]) == 2
    assert "--again must name rows, of other, but names words" in capsys.readouterr().err


def test_another_backbone_in_the_same_folder_is_other_data(tmp_path):

    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"one")
    first = backbone_key(compose([f"model.path={tmp_path}"]))
    assert backbone_key(compose([f"model.path={tmp_path}"])) == first
    (tmp_path / "model.safetensors").write_bytes(b"two")
    assert backbone_key(compose([f"model.path={tmp_path}"])) != first
    assert backbone_key(compose()) == ""


def test_a_seed_tells_untrained_rows_apart_where_words_are_drawn(place, overrides):
    node = {"rows": {"eol": {"system": "zero_shot_prompt"}}}

    def keys(*changes):
        studies = [
            make_study("t", node, scale="smoke", overrides=[*overrides, *changes], seeds=[seed])
            for seed in (0, 1)
        ]
        return {study.cells[0].key for study in studies}

    assert len(keys()) == 1
    assert len(keys("generation.temperature=0.5")) == 2


def test_the_verbs(swept, place, overrides, capsys):
    command = ["experiment=small", "scale=smoke", *overrides]
    assert main(["sweep", *command, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert f"A small study, scale smoke, {swept[0].dtypes[0]}: 4 rows, 2 seeds" in shown
    assert "TF-IDF, seed 0: done" in shown
    assert "Diverges, seed 0: to run, about" in shown
    assert main(["sweep", *command, "--seeds", "0"]) == 1  # one row fails
    capsys.readouterr()
    assert main(["table", *command]) == 0
    shown = capsys.readouterr().out
    assert "Both losses" in shown
    assert main(["table", "small", *command[1:]]) == 0
    assert capsys.readouterr().out == shown
    output = place / "table.tex"
    assert main(["table", *command, "--format", "latex", "--output", str(output)]) == 0
    assert output.read_text().startswith(r"\begin{table}")
    for name in ("curves.svg", "curves.png"):
        assert main(["plot", *command, "--output", str(place / name)]) == 0
        assert (place / name).stat().st_size > 5000
    assert "Both losses" in (place / "curves.svg").read_text()
    nothing = ["experiment=small", "scale=laptop", *overrides, "--output", str(place / "nothing.svg")]
    assert main(["plot", *nothing]) == 2
    assert "there must be a finished run, but there is none; try `notellm sweep`" in capsys.readouterr().err
    assert main(["plot", *command, "--output", str(place / "curves.txt")]) == 2
    assert "must write an .svg, .png or .pdf" in capsys.readouterr().err
    assert main(["table", *command, "--against", "nobody"]) == 2
    assert "against must be one of" in capsys.readouterr().err
    assert main(["sweep", "scale=smoke"]) == 2
    assert "a study must be named" in capsys.readouterr().err
    assert json.loads(swept[0].ledger.path.read_text().splitlines()[0])["row"] == "words"


def test_behaviour_is_a_baseline_where_users_are_held_out(place, overrides):
    rows = {"behaviour": {"system": "cooccurrence"}, "words": {"system": "bm25"}, "joint": {}}
    node = {"columns": ["recall@10", "mrr"], "rows": rows}
    changes = [*overrides, "data.split=users", "evaluation.generation_notes=0"]
    study = make_study("known", node, scale="smoke", overrides=changes, folder="known")
    entries = sweep(study, say=lambda _: None)
    assert [entry["status"] for entry in entries] == ["done"] * 3
    by_row = {entry["row"]: entry["metrics"] for entry in entries}
    assert by_row["behaviour"]["recall@10"] > by_row["words"]["recall@10"] + 0.2
    assert make_table(study).rows[1].comparisons["recall@10"].difference.value < -20
    with pytest.raises(ConfigError, match="row behaviour: .* try data.split=users"):
        make_study("cold", node, scale="smoke", overrides=overrides, folder="known")
