"""Options chosen on validation notes."""

import json

import pytest

from notellm.app.studies import Ledger, load_study, make_study, make_table, sweep
from notellm.app.studies.sweep import is_fault, plan
from notellm.errors import ConfigError
from writing import write_study

TUNED = """\
# @package _global_
study:
  columns: [mrr, recall@avg]
  seeds: [0, 1]
  tune: {key: train.lr, values: [1.0e-5, 1e30, 1.0e-2], by: mrr, set: [data.queries=6]}
  rows:
    words: {system: tfidf_full}
    joint: {name: Both losses}
    like: {set: [loss.alpha=1], tune: {like: joint}}
    gcl: {set: [loss=gcl_only], tune: {by: recall@1, set: [data.queries=5]}}
    fixed: {set: [train.lr=2.0e-3]}
"""


@pytest.fixture(scope="module")
def free(overrides):
    """The small configuration, without a learning rate, and without what hides divergence."""
    return [*(text for text in overrides if not text.startswith("train.lr=")), "train.clip_norm=0"]


def test_an_option_is_chosen_on_validation(place, free):
    write_study(TUNED, "tuned")
    study = load_study("tuned", scale="smoke", overrides=free, folder="searched")
    assert {cell.row.key for cell in study.cells if cell.is_open} == {"joint", "like", "gcl"}
    assert make_table(study).rows[1].status == "2 not run"
    assert len(plan(study)) == 6 + 9
    entries = sweep(study, say=lambda _: None)
    searched = [entry for entry in entries if entry["searched"]]
    assert [(entry["row"], entry["searched"]) for entry in searched] == [
        (row, f"train.lr={value}") for row in ("joint", "gcl") for value in (1e-5, 1e30, 1e-2)
    ]
    assert {entry["config"]["data"]["held_out"] for entry in searched} == {"validation"}
    assert [entry["config"]["data"]["queries"] for entry in searched] == [6, 6, 6, 5, 5, 5]
    assert [entry["status"] for entry in searched] == ["done", "failed", "done"] * 2
    assert not any(map(is_fault, entries))
    best = {"fixed": 2e-3}
    for row, metric in (("joint", "mrr"), ("gcl", "recall@1")):
        tried = [e for e in searched if e["row"] == row and e["status"] == "done"]
        best[row] = max(tried, key=lambda entry: entry["metrics"][metric])["config"]["train"]["lr"]
    best["like"] = best["joint"]
    tabled = [entry for entry in entries if not entry["searched"]]
    assert {e["config"]["data"]["held_out"] for e in tabled} == {"test"}
    rates = {(e["row"], e["config"]["train"]["lr"]) for e in tabled if e["row"] != "words"}
    assert rates == set(best.items())
    assert {e["status"] for e in tabled} == {"done"}
    again = load_study("tuned", scale="smoke", overrides=free, folder="searched")
    assert not any(cell.is_open for cell in again.cells)
    table = make_table(again)
    assert all(row.scores["recall@avg"] for row in table.rows)
    found = f"train.lr was chosen among 1e-05, 1e+30, 0.01 on validation notes: Both losses {best['joint']:g}"
    assert found in table.markdown()
    assert table.header()[-1] == "Avg"
    assert [planned.said for planned in plan(again)[:3]] == [
        "done before",
        "has diverged before",
        "done before",
    ]
    assert all(planned.said for planned in plan(again))
    said = []
    assert sweep(again, say=said.append) == []
    assert sum("has diverged before" in line for line in said) == 2
    diverged = next(e for e in again.ledger.entries() if e["status"] == "failed")
    again.ledger.append(diverged | {"data": "others"})
    assert [e["row"] for e in sweep(again, say=said.append)] == [
        diverged["row"]
    ]  # it is an answer for its data alone


def test_a_row_whose_search_finds_nothing_is_not_run(place, free):
    write_study(TUNED.replace("1.0e-5, 1e30, 1.0e-2", "1e30, 1e31"), "hopeless")
    study = load_study("hopeless", scale="smoke", overrides=free, folder="nothing", seeds=[0])
    said = []
    entries = sweep(study, say=said.append)
    assert {entry["row"] for entry in entries if entry["status"] == "done"} == {"words", "fixed"}
    assert sum("its search has found nothing" in line for line in said) == 3
    assert make_table(study).rows[1].status == "1 not run"


def written(search, folder, entries):
    """A ledger that holds these entries of a search's runs, one for each value."""
    ledger = Ledger(folder / "ledger.jsonl")
    for cell, entry in zip(search.cells, entries, strict=True):
        ledger.append({"key": cell.key, "status": "done", "error": "", "data": "d", **entry})
    return ledger.newest()


@pytest.fixture
def search(place, free):
    """A search over three values by MRR."""
    tune = {"key": "train.lr", "values": [1e-5, 1e-4, 1e-3]}
    return make_study("s", {"rows": {"a": {}}, "tune": tune}, scale="smoke", overrides=free).searches["a"]


def results(*values, metric="mrr"):
    return [{"metrics": {metric: value}} for value in values]


DIVERGED = {"status": "failed", "error": "FloatingPointError: loss must be finite", "metrics": {}, "data": ""}
BROKEN = {**DIVERGED, "error": "OSError: no space left"}


@pytest.mark.parametrize(
    ("entries", "choice", "state"),
    [
        (results(0.1, 0.3, 0.2), 1e-4, ""),
        (results(0.1, 0.3, 0.3), 1e-4, ""),
        ([*results(0.1, 0.3), DIVERGED], 1e-4, ""),
        ([*results(0.1, 0.3), {**DIVERGED, "data": "e"}], None, "its search is on several data"),
        ([*results(0.1, 0.3), BROKEN], None, "its search is not finished"),
        ([DIVERGED] * 3, None, "its search has found nothing"),
        ([*results(0.1, 0.3), {"metrics": {"mrr": 0.2}, "data": "e"}], None, "its search is on several data"),
        (results(0.1, 0.2, 0.3, metric="accuracy"), None, "its search has no mrr"),
    ],
    ids=str,
)
def test_the_choice(entries, choice, state, search, tmp_path):
    newest = written(search, tmp_path, entries)
    assert search.choice(newest) == choice
    assert search.state(newest) == state
    newest.pop(search.cells[1].key)
    assert search.choice(newest) is None
    assert search.state(newest) == "its search is not finished"


def test_an_option_that_is_set_is_not_searched(place, free):
    write_study(TUNED, "tuned")
    study = load_study("tuned", scale="smoke", overrides=[*free, "train.lr=7e-4"])
    assert not study.searches
    rates = {cell.row.key: cell.config.train.lr for cell in study.cells}
    assert rates == {"words": 7e-4, "joint": 7e-4, "like": 7e-4, "gcl": 7e-4, "fixed": 2e-3}


def test_an_option_that_the_file_sets_is_not_searched(place, free):
    study = "study: {rows: {a: {}}, tune: {key: train.lr, values: [1, 2]}}\n"
    write_study(f"# @package _global_\ntrain: {{lr: 3.0e-4}}\n{study}", "set")
    assert not load_study("set", scale="smoke").searches


def test_studies_in_python_are_tuned_as_their_scale_says(place, free):
    node = {"rows": {"a": {"set": ["loss.alpha=1"]}}, "tune": {"values": [1e-4, 1e-3]}}
    search = make_study("mine", node, scale="laptop", overrides=free).searches["a"]
    assert [cell.config.train.lr for cell in search.cells] == [1e-4, 1e-3]
    assert {cell.config.data.pool for cell in search.cells} == {1000}
    assert not make_study("mine", node, scale="smoke", overrides=free).searches  # no key


@pytest.mark.parametrize(
    ("tune", "row", "message"),
    [
        ({"lke": 1}, {}, "tune may hold key, values, by, sizes, set, seed, like, but holds lke"),
        ({}, {"lke": "b"}, "tune may hold key, values, by, sizes, set, seed, like, but holds lke"),
        ({"key": "loss"}, {}, "tune.key must be a key of the configuration, but is 'loss'"),
        ({"by": "illusory"}, {}, "row a: tune.by must be a metric that the search measures"),
        ({"by": "accuracy", "set": ["evaluation.generation_notes=0"]}, {}, "tune.by must be a metric"),
        ({}, {"like": "b"}, "row a must be tuned like a row that is searched, but b is not"),
        ({"set": ["data.quries=1"]}, {}, "row a: .*unknown key data.quries"),
    ],
)
def test_faults_of_a_search_are_found_before_the_first_run(tune, row, message, place, free):
    node = {"rows": {"a": {"tune": row}}, "tune": {"key": "train.lr", "values": [1e-4], **tune}}
    with pytest.raises(ConfigError, match=message):
        make_study("faulty", node, scale="smoke", overrides=free)


def test_a_row_is_left_to_the_sweep_that_searches_it(place, free):
    import fcntl

    node = {"rows": {"a": {}}, "tune": {"key": "train.lr", "values": [1e-4, 1e-3]}}
    study = make_study("shared", node, scale="smoke", overrides=free, folder="left")
    folder = study.search_cells[1].folder
    folder.parent.mkdir(parents=True)
    said = []
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        entries = sweep(study, say=said.append)
    assert [entry["searched"] for entry in entries] == ["train.lr=0.0001"]
    assert said[-1] == "[1/1] a, seed 0: not run, since its search is not finished"
    assert [entry["searched"] for entry in sweep(study, say=said.append)] == ["train.lr=0.001", ""]
    assert json.loads(study.ledger.path.read_text().splitlines()[-1])["status"] == "done"


def test_a_search_of_several_rows_is_run_again_with_each_of_them(place, free, tmp_path):
    tune = {"key": "train.lr", "values": [1e-4, 1e-3], "set": ["evaluation.dims=[]"]}
    rows = {
        "whole": {},
        "bytes": {"system": "trained.int8"},
        "like": {"set": ["loss.alpha=1"], "tune": {"like": "whole"}},
    }
    changes = [*free, "evaluation.dims=[2]", "evaluation.generation_notes=0"]
    study = make_study(
        "shared", {"rows": rows, "tune": tune}, scale="smoke", overrides=changes, folder=tmp_path
    )
    assert len(study.search_cells) == 2
    for cell in study.search_cells:
        study.ledger.append({"key": cell.key, "status": "done", "data": "d", "metrics": {"mrr": 0.1}})

    def to_run(row):
        return [
            planned.cell.searched
            for planned in plan(study, again=[row])
            if not planned.said and planned.cell.searched
        ]

    assert [to_run(row) for row in rows] == [["train.lr=0.0001", "train.lr=0.001"]] * 3
    assert all(len([p for p in plan(study, rows=[row]) if p.cell.searched]) == 2 for row in rows)
    said = []
    sweep(study, say=said.append, again=["whole"])
    assert not [line for line in said if "done before" in line]
