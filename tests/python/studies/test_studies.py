"""Studies: reading, running, resuming and tabulating them, on a tiny backbone."""

import json
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from notellm.cli import main
from notellm.config import compose_study
from notellm.errors import ConfigError, DataError
from notellm.metrics import bootstrap_difference
from notellm.studies import Ledger, load_study, make_study, make_table, sweep
from notellm.studies.sweep import plan

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


def test_what_is_finished_is_not_run_again(swept, place, overrides):
    study, _, _ = swept
    said = []
    again = sweep(load_study("small", scale="smoke", overrides=overrides), say=said.append)
    assert [entry["row"] for entry in again] == ["faulty", "faulty"]
    assert sum("done before" in line for line in said) == 5

    def finished(*changes):
        more = load_study("small", scale="smoke", overrides=[*overrides, *changes], seeds=[0])
        assert all(seconds > 0 for _, entry, seconds in plan(more) if entry is None)
        return {cell.row.key for cell, entry, _ in plan(more) if entry is not None}

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
    assert rows["TF-IDF"].seeds == 1
    assert rows["TF-IDF"].difference["recall@10"] is not None
    other = make_table(study, against="words")
    assert {row.name: bool(row.difference) for row in other.rows}["Both losses"]
    with pytest.raises(ValueError, match="against must be one of words, joint, faulty, gcl"):
        make_table(study, against="nobody")


def test_differences_are_paired_over_the_same_queries(place, tmp_path):
    write_study(
        "# @package _global_\nstudy:\n  columns: [recall@2, low.recall@2]\n  against: a\n  rows:\n    a: {}\n"
        "    b: {set: [loss.alpha=0.1]}\n    c: {set: [loss.alpha=0.2]}\n",
        "two",
    )
    study = load_study("two", scale="smoke", folder=tmp_path, overrides=["evaluation.ks=[2]"])
    draw = np.random.default_rng(0)
    hits = {}
    for cell in study.cells[:2]:
        ranks = torch.from_numpy(draw.integers(0, 4, 50))
        hits[cell.row.key] = (ranks < 2).double().numpy()
        cell.folder.mkdir(parents=True)
        tensors = {"trained.greater": ranks, "trained.equal": torch.zeros_like(ranks)}
        tensors |= {"exposure.low": (torch.arange(50) < 20).to(torch.uint8)}
        save_file(tensors, cell.folder / "ranks.safetensors")
        study.ledger.append(
            {
                "key": cell.key,
                "status": "done",
                "data": "x",
                "queries": "y",
                "finished": "2026",
                "metrics": {"recall@2": float(hits[cell.row.key].mean())},
                "seconds": 1,
            }
        )
    a, b, c = make_table(study).rows
    expected = bootstrap_difference(hits["b"], hits["a"])
    assert b.difference["recall@2"] == pytest.approx([100 * value for value in expected])
    low = bootstrap_difference(hits["b"][:20], hits["a"][:20])
    assert b.difference["low.recall@2"] == pytest.approx([100 * value for value in low])
    assert b.scores["recall@2"].mean == pytest.approx(100 * hits["b"].mean())
    assert b.scores["recall@2"].deviation is None
    assert c.status == "1 not run"
    assert c.difference["recall@2"] is None
    newer = study.ledger.newest()[study.cells[1].key] | {"data": "z", "finished": "2027"}
    study.ledger.append(newer)
    a, b, _ = make_table(study).rows
    assert (a.status, a.scores["recall@2"]) == ("1 on other data", None)
    assert b.difference["recall@2"] is None
    study.ledger.append(newer | {"data": "x", "queries": "others"})
    assert make_table(study).rows[1].difference["recall@2"] is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\n", "must be a study, but its file has no `study` node"),
        ("study: {rows: {}}\n", "must have rows, but has none"),
        (
            "study: {rows: {a: {color: red}}}\n",
            "row a may hold name, set, system, paper and tune, but holds color",
        ),
        ("study: {against: b, rows: {a: {}}}\n", "against must be one of its rows, but is 'b'"),
        ("study: {rows: {a: {set: [loss.alhpa=1]}}}\n", "row a: loss.alhpa=1: unknown key .* loss.alpha"),
        ("study: {rows: {a: {}, b: {set: [loss.alpha=-1]}}}\n", "row b: loss.alpha must be at least 0"),
        ("study: {rows: {a: {}, b: {set: [seed=1]}}}\n", "rows must differ, but a and b come to the same"),
        ("study: {columns: [recall@7], rows: {a: {}}}\n", "columns must be measured, but recall@7 is not"),
        ("study: {rows: {a: {system: gpt}}}\n", r"row a: evaluation.systems\[0\] must be tfidf"),
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


ROOT = Path(__file__).parents[3]
SHIPPED = sorted(
    path.stem
    for path in (ROOT / "experiments/conf/experiment").glob("*.yaml")
    if "\nstudy:" in path.read_text()
)


def test_every_shipped_study_can_be_composed():
    assert {"table2", "table3", "table4", "table5", "table6", "prompt_variants", "scaling"} <= set(SHIPPED)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        for name in SHIPPED:
            for scale in ("smoke", "paper"):
                study = load_study(name, scale=scale, seeds=[0])
                assert len({cell.key for cell in study.cells}) == len(study.cells)


@pytest.fixture(scope="module")
def small_studies(tmp_path_factory):
    """Where all shipped studies are swept to: they share cells."""
    return tmp_path_factory.mktemp("shipped")


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_study_makes_its_table(name, small_studies, overrides, monkeypatch):
    """On the tiny backbone, a step a cell; encoders and depths that it has not are left out."""
    monkeypatch.chdir(ROOT)
    node = compose_study([f"experiment={name}", "scale=smoke"])
    node["rows"] = {
        key: row
        for key, row in node["rows"].items()
        if "sentence_bert" not in row.get("system", "") and not any("layers" in o for o in row.get("set", []))
    }
    node["columns"] = [column for column in node["columns"] if not column.endswith(("100", "1000"))]
    changes = [f"experiment={name}", *overrides, "train.max_steps=1", "mining.min_users=1"]
    study = make_study(name, node, scale="smoke", overrides=changes, folder=small_studies, seeds=[0])
    sweep(study, say=lambda _: None)
    table = make_table(study)
    assert {row.name: row.status for row in table.rows} == {row.name: "" for row in study.rows}
    assert all(any(row.scores.values()) for row in table.rows)
    for column in table.columns:  # few queries may have none whose target is much seen
        assert column.startswith(("low.", "high.")) or any(row.scores[column] for row in table.rows), column


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
    assert {key: entry["status"] for key, entry in ledger.newest().items()} == {"a": "done", "c": "failed"}
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
    assert "TF-IDF, seed 0: done" in shown
    assert "Diverges, seed 0: to run, about" in shown
    assert main(["sweep", *command, "--seeds", "0"]) == 1  # one row fails
    capsys.readouterr()
    assert main(["table", *command]) == 0
    assert "Both losses" in capsys.readouterr().out
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


TUNED = """\
# @package _global_
study:
  columns: [mrr, recall@avg]
  seeds: [0, 1]
  tune: {key: train.lr, values: [1.0e-5, 1e30, 1.0e-3], by: mrr, set: [data.queries=6]}
  rows:
    words: {system: tfidf_full}
    joint: {name: Both losses}
    like: {set: [loss.alpha=1], tune: {like: joint}}
    gcl: {set: [loss=gcl_only], tune: {by: recall@1, set: [data.queries=5]}}
"""


def test_an_option_is_chosen_on_validation(place, overrides):
    write_study(TUNED, "tuned")
    study = load_study("tuned", scale="smoke", overrides=[*overrides, "train.clip_norm=0"], folder="searched")
    assert {cell.row.key for cell in study.cells if cell.is_open} == {"joint", "like", "gcl"}
    assert make_table(study).rows[1].status == "2 not run"
    assert len(plan(study)) == 6 + 7
    entries = sweep(study, say=lambda _: None)
    searched = [entry for entry in entries if entry["searched"]]
    assert [(entry["row"], entry["searched"]) for entry in searched] == [
        (row, f"train.lr={value}") for row in ("joint", "gcl") for value in (1e-5, 1e30, 1e-3)
    ]
    assert {entry["config"]["data"]["held_out"] for entry in searched} == {"validation"}
    assert [entry["config"]["data"]["queries"] for entry in searched] == [6, 6, 6, 5, 5, 5]
    assert [entry["status"] for entry in searched] == ["done", "failed", "done"] * 2
    best = {}
    for row, metric in (("joint", "mrr"), ("gcl", "recall@1")):
        tried = [e for e in searched if e["row"] == row and e["status"] == "done"]
        best[row] = max(tried, key=lambda entry: entry["metrics"][metric])["config"]["train"]["lr"]
    best["like"] = best["joint"]
    tabled = [entry for entry in entries if not entry["searched"]]
    assert {e["config"]["data"]["held_out"] for e in tabled} == {"test"}
    rates = {(e["row"], e["config"]["train"]["lr"]) for e in tabled if e["row"] != "words"}
    assert rates == set(best.items())
    assert {e["status"] for e in tabled} == {"done"}
    again = load_study("tuned", scale="smoke", overrides=[*overrides, "train.clip_norm=0"], folder="searched")
    assert not any(cell.is_open for cell in again.cells)
    table = make_table(again)
    assert all(row.scores["recall@avg"] for row in table.rows)
    assert (
        f"train.lr was chosen among 1e-05, 1e+30, 0.001 on validation notes: Both losses {best['joint']:g}"
        in (table.markdown())
    )
    assert table.header()[-1] == "Avg"
    done = next(entry for entry in tabled if entry["row"] == "gcl")["metrics"]
    ks = again.cells[0].config.evaluation.ks
    assert done["recall@avg"] == pytest.approx(np.mean([done[f"recall@{k}"] for k in ks]))
    assert {entry["status"] for entry in sweep(again, say=lambda _: None)} == {
        "failed"
    }  # those are tried again


def test_a_row_whose_search_finds_nothing_is_not_run(place, overrides):
    write_study(TUNED.replace("1.0e-5, 1e30, 1.0e-3", "1e30, 1e31"), "hopeless")
    study = load_study(
        "hopeless",
        scale="smoke",
        overrides=[*overrides, "train.clip_norm=0"],
        folder="nothing",
        seeds=[0],
    )
    said = []
    entries = sweep(study, say=said.append)
    assert {entry["row"] for entry in entries if entry["status"] == "done"} == {"words"}
    assert sum("its search has found nothing" in line for line in said) == 3
    assert make_table(study).rows[1].status == "1 not run"


def test_behaviour_is_a_baseline_where_users_are_held_out(place, overrides):
    rows = {"behaviour": {"system": "cooccurrence"}, "words": {"system": "bm25"}, "joint": {}}
    node = {"columns": ["recall@10", "mrr"], "rows": rows}
    changes = [*overrides, "data.split=users", "evaluation.generation_notes=0"]
    study = make_study("known", node, scale="smoke", overrides=changes, folder="known")
    entries = sweep(study, say=lambda _: None)
    assert [entry["status"] for entry in entries] == ["done"] * 3
    by_row = {entry["row"]: entry["metrics"] for entry in entries}
    assert by_row["behaviour"]["recall@10"] > by_row["words"]["recall@10"] + 0.2
    assert make_table(study).rows[1].difference["recall@10"].high < 0
    cold = make_study("cold", node, scale="smoke", overrides=overrides, folder="known")
    assert "try data.split=users" in sweep(cold, say=lambda _: None)[0]["error"]


def test_pictures_of_single_queries(swept, place, overrides, capsys):
    study, entries, _ = swept
    command = ["experiment=small", "scale=smoke", *overrides]
    for kind, more in (("recall", []), ("exposure", ["--k", "1"]), ("map", ["--row", "gcl"])):
        files = [place / f"{kind}{i}.svg" for i in (1, 2)]
        for file in files:
            assert main(["plot", *command, "--kind", kind, *more, "--output", str(file)]) == 0
        first, second = (file.read_text() for file in files)
        assert first == second
        assert all(name in first for name in (["gcl"] if kind == "map" else ["TF-IDF", "Both losses", "gcl"]))
        assert "Diverges" not in first
    capsys.readouterr()
    refused = {
        "the row must be one of words, joint, faulty, gcl, but is 'nobody'": ["--row", "nobody"],
        "words must have embeddings in": ["--row", "words"],
    }
    for message, more in refused.items():
        assert main(["plot", *command, "--kind", "map", *more, "--output", "map.svg"]) == 2
        assert message in capsys.readouterr().err
    nothing = ["experiment=small", "scale=laptop", *overrides, "--output", "nothing.svg"]
    assert main(["plot", *nothing, "--kind", "recall"]) == 2
    assert "a finished run with its ranks, but there is none" in capsys.readouterr().err


def test_curves_show_what_was_measured(swept, place, monkeypatch):
    """The recall curve goes through the table's numbers; tenths by exposure hold every query once."""
    from notellm.studies import plot

    study, entries, _ = swept
    done = {
        entry["row"]: entry["metrics"]
        for entry in entries
        if entry["status"] == "done" and entry["seed"] == 0
    }
    drawn = []
    monkeypatch.setattr(plot, "draw", lambda path, title, size, paint: drawn.append(paint))
    plot.plot_recall(study, "recall.svg")
    plot.plot_exposure(study, "exposure.svg", k=1)
    from matplotlib.figure import Figure

    figures = [Figure(), Figure()]
    for paint, figure in zip(drawn, figures, strict=True):
        paint(figure)
    curves = {line.get_label(): dict(zip(*line.get_data(), strict=True)) for line in figures[0].axes[0].lines}
    assert curves["TF-IDF"][1] == pytest.approx(100 * done["words"]["recall@1"])
    assert curves["TF-IDF"][10] == pytest.approx(100 * done["words"]["recall@10"])
    counts = [
        int(label.get_text().split("(")[1].rstrip(")")) for label in figures[1].axes[0].get_xticklabels()
    ]
    assert sum(counts) == 12
    words = next(c for c in figures[1].axes[0].containers if c.get_label() == "TF-IDF")
    mean = sum(n * y for n, y in zip([n for n in counts if n], words.lines[0].get_ydata(), strict=True)) / 12
    assert mean == pytest.approx(100 * done["words"]["recall@1"])
