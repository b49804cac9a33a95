"""Studies whose split varies with the seed: which cells they have, and what a finished cell keeps."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from notellm.app.cli import main
from notellm.app.config import load_config
from notellm.app.studies import Ledger, datasets, load_study, make_study, make_table, sweep
from notellm.app.studies.budget import Budget
from notellm.app.studies.columns import Column
from notellm.app.studies.values import values_of
from notellm.io.fingerprints import Fingerprint
from notellm.vector_files import load_embeddings
from writing import write_study

ROOT = Path(__file__).parents[4]

CELLS = {
    "powered_csft": 6 * 25,
    "powered_prompts": 6 * 12,
    "powered_sentence_bert": 3 * 5,
    "powered_r": 3 * 12,
    "powered_alpha": 3 * 12,
    "powered_amazon": 6 * 25,
    "powered_pool": 6 * 3,
    "powered_rate": 4 * 3,
    "levers": 15 * 3,
}
OUTCOMES = {
    f"{part}{metric}" for part in ("", "macro.") for metric in ("recall@10", "recall@100", "log_score")
}


@pytest.fixture(scope="module")
def powered(tmp_path_factory):
    """The shipped studies at scale=powered, by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        folder = tmp_path_factory.mktemp("powered")
        return {name: load_study(name, scale="powered", folder=folder) for name in CELLS}


def test_every_row_has_a_cell_for_each_seed_with_a_split_of_its_own(powered):
    assert {name: len(study.cells) for name, study in powered.items()} == CELLS
    for study in powered.values():
        assert len({cell.key for cell in study.cells}) == len(study.cells)
        assert set(study.columns) >= OUTCOMES
        assert not study.searches
        for cell in study.cells:
            config = cell.config
            assert config.data.split_seed == config.seed == cell.seed
            assert (config.dtype, config.data.queries, config.data.pool) == ("bf16", 0, 0)
            is_low = cell.row.system == "sentence_bert" or cell.row.key.startswith("low_")
            assert config.train.lr == (6e-5 if is_low else 2e-4)


def test_what_studies_share_is_run_once(powered):
    owners = defaultdict(set)
    for name, study in powered.items():
        for cell in study.cells:
            owners[cell.key].add((name, cell.row.key, cell.seed))
    (notellm,) = (of for of in owners.values() if ("powered_csft", "notellm", 0) in of)
    assert notellm == {
        ("powered_csft", "notellm", 0),
        ("powered_prompts", "notellm", 0),
        ("powered_sentence_bert", "notellm", 0),
        ("powered_alpha", "alpha_0.01", 0),
        ("powered_rate", "notellm", 0),
        ("levers", "base", 0),
    }
    shared = [of for of in owners.values() if len(of) > 1]
    # random order, popularity and NoteLLM with twelve seeds; alpha = 0 of the rates; TF-IDF and SentenceBERT of levers
    assert len(shared) == 3 * 12 + 3 + 2 * 3
    assert len(owners) == 466
    assert {cell.config.data.pool_notes for cell in powered["powered_pool"].cells} == {"all"}
    assert len({cell.catalogue for cell in powered["powered_csft"].cells}) == 1
    sources = {cell.sources for name in ("powered_csft", "powered_r") for cell in powered[name].cells}
    assert len(sources) == 25  # data.pairs chooses training pairs alone


def test_a_search_may_use_all_validation_queries_by_target(tmp_path):
    tune = {"key": "train.lr", "values": [6e-5, 2e-4], "by": "macro.mrr", "sizes": []}
    study = make_study("s", {"rows": {"a": {}}, "tune": tune}, scale="powered", folder=tmp_path)
    cells = study.searches["a"].cells
    assert [cell.config.train.lr for cell in cells] == [6e-5, 2e-4]
    assert {(cell.config.data.queries, cell.config.data.held_out) for cell in cells} == {(0, "validation")}
    for cell, mrr in zip(cells, (0.1, 0.2), strict=True):
        study.ledger.append(
            {"key": cell.key, "status": "done", "data": "d", "metrics": {"macro.mrr": mrr, "mrr": -mrr}}
        )
    assert [cell.config.train.lr for cell in study.settled().cells] == [2e-4]


NODE = {
    "columns": ["recall@10", "macro.recall@10", "tagged.recall@10", "tagged.mrr", "accuracy", "rougeL"],
    "seeds": [0, 1],
    "against": "small",
    "rows": {
        "words": {"system": "tfidf_full"},
        "small": {"set": ["loss.alpha=0"]},
        "joint": {"set": ["loss.alpha=1"]},
    },
}


def splits_study(folder, overrides):
    changes = [*overrides, "train.max_steps=1", "data.queries=0", "data.split_seed=${seed}"]
    return make_study("splits", NODE, scale="smoke", overrides=changes, folder=folder)


@pytest.fixture(scope="module")
def varied(place, overrides, tmp_path_factory):
    """A small study with a split for each seed, swept, and how often its data were read."""
    read = []
    with pytest.MonkeyPatch.context() as patch:
        whole = datasets.read_catalogue
        patch.setattr(datasets, "read_catalogue", lambda config: read.append(config.seed) or whole(config))
        study = splits_study(tmp_path_factory.mktemp("varied"), overrides)
        sweep(study, say=lambda _: None)
    return study, read


def test_splits_are_made_of_one_reading(varied):
    study, read = varied
    assert read == [0]
    entries = study.ledger.entries()
    assert [(entry["row"], entry["seed"]) for entry in entries] == [
        (row, seed) for seed in (0, 1) for row in ("words", "small", "joint")
    ]
    assert {entry["status"] for entry in entries} == {"done"}
    assert len({entry["data"] for entry in entries}) == len({entry["queries"] for entry in entries}) == 2
    assert len({entry["catalogue"] for entry in entries}) == 1
    for cell in study.cells:
        assert load_config(cell.folder / "config.yaml").data.split_seed == cell.seed
        assert f"split_seed: {cell.seed}\n" in (cell.folder / "config.yaml").read_text()


def test_rows_are_compared_seed_by_seed(varied):
    study, _ = varied
    table = make_table(study)
    words, small, joint = table.rows
    assert words.seeds == small.seeds == joint.seeds == 2
    for row, columns in ((words, NODE["columns"][:4]), (joint, NODE["columns"])):
        for column in columns:
            found = row.comparisons[column].difference.value
            assert found == pytest.approx(row.scores[column].mean - small.scores[column].mean), column
    assert words.comparisons["accuracy"] is None


def test_what_is_kept_suffices_for_every_column(varied):
    """Files of single queries and notes give the ledger's numbers; vectors stay, and their name is recorded."""
    study, _ = varied
    newest = study.ledger.newest()
    for cell in study.cells:
        entry, kept = newest[cell.key], load_file(cell.folder / "ranks.safetensors")
        assert set(np.unique(kept["query.tagged"])) <= {0, 1}
        for column in ("recall@10", "mrr", "accuracy", "illusory", "closed_set", "rouge1", "rougeL"):
            found = values_of(cell, Column.read(column))
            assert (found and found.mean) == pytest.approx(entry["metrics"].get(column)), column
        tagged = values_of(cell, Column.read("tagged.mrr"))
        assert len(tagged.values) == kept["query.tagged"].sum() > 0
        if cell.row.system == "trained":
            (file,) = (cell.folder / "embeddings").iterdir()
            ids, vectors = load_embeddings(file)
            name = Fingerprint(8).add_json(ids).add_array(vectors.numpy()).name()
            assert entry["embeddings"] == {"trained": name}
            assert not (cell.folder / "model").exists()
            notes = load_file(cell.folder / "words.safetensors")["note"]
            assert len(notes) == cell.config.evaluation.generation_notes
            assert set(notes) <= set(np.concatenate([kept["query.note"], kept["query.target"]]))
        else:
            assert entry["embeddings"] == {}


def test_cells_of_an_older_catalogue_are_not_in_the_table(varied, tmp_path):
    study, _ = varied
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for entry in study.ledger.entries():
        newer = {"catalogue": "newer", "finished": "2999"} if entry["seed"] == 1 else {}
        ledger.append(entry | newer)
    older = replace(study, ledger=ledger)
    assert [row.status for row in make_table(older).rows] == ["1 of 2 seeds, 1 on other data"] * 3


def test_a_sweep_ends_in_time_and_goes_on(place, overrides, tmp_path, capsys):
    write_study("# @package _global_\nstudy: {rows: {words: {system: tfidf_full}}}\n")
    node = {"rows": {"words": {"system": "tfidf_full"}}, "seeds": [0, 1, 2, 3]}
    study = make_study(
        "b", node, scale="smoke", overrides=[*overrides, "data.split_seed=${seed}"], folder=tmp_path
    )
    now, said = [0.0], []

    def say(text):
        said.append(text)
        now[0] += (
            3601 if text.endswith("words, seed 0") else 0
        )  # it has begun, and takes longer than there is

    entries = sweep(study, say=say, budget=Budget(hours=1, clock=lambda: now[0]))
    assert [(entry["seed"], entry["status"]) for entry in entries] == [(0, "done")]
    assert sum("0.0 minutes are left" in text for text in said) == 3
    assert [entry["seed"] for entry in sweep(study, say=said.append)] == [1, 2, 3]
    command = ["small", "scale=smoke", *overrides, "--folder", str(tmp_path / "verb")]
    assert main(["sweep", *command, "--hours", "1e-9"]) == 0
    assert not (tmp_path / "verb/smoke/ledger.jsonl").exists()
    with pytest.raises(SystemExit):
        main(["sweep", *command, "--hours", "0"])
    assert "argument --hours: must be above 0, but is 0" in capsys.readouterr().err


def test_a_budget_knows_what_cells_take(place, overrides, tmp_path):
    node = {"rows": {"words": {"system": "tfidf_full"}, "joint": {}}}
    study = make_study("b", node, scale="smoke", overrides=overrides, folder=tmp_path)
    words, joint = study.cells
    now = [0.0]
    budget = Budget(hours=1, clock=lambda: now[0])
    assert budget.lacks(words) == budget.lacks(joint) == ""  # nothing is known of them
    study.ledger.append({"key": joint.key, "status": "done", "seconds": 2000})
    budget.learn(study)
    now[0] = 1599.0
    assert budget.lacks(joint) == ""
    now[0] = 1601.0
    assert budget.lacks(joint) == "33.3 minutes are left, and such a cell takes about 33.3"
    assert budget.lacks(words) == ""
    budget.note(joint, {"seconds": 1000.0, "training_seconds": 0.0})  # this machine is quicker
    assert budget.lacks(joint) == ""
    now[0] = 3600.0
    assert "0.0 minutes are left" in budget.lacks(words)
    assert Budget().lacks(joint) == ""


def test_a_budget_knows_what_more_training_takes(place, overrides, tmp_path):
    """A cell's time is that of its training, by pairs, and the rest."""
    rows = {
        "base": {},
        "long": {"set": ["train.max_steps=40"]},
        "wide": {"set": ["train.pairs_per_step=12"]},
        "epochs": {"set": ["train.max_steps=0"]},
        "hard": {"set": ["negatives=first", "train.max_steps=40"]},
        "words": {"system": "tfidf_full", "set": ["train.max_steps=40"]},
    }
    study = make_study("b", {"rows": rows}, scale="smoke", overrides=overrides, folder=tmp_path)
    cells = {cell.row.key: cell for cell in study.cells}
    study.ledger.append({"key": cells["base"].key, "status": "done", "seconds": 100, "training_seconds": 60})
    budget = Budget(hours=1, clock=lambda: 0.0)
    budget.learn(study)
    expected = {key: budget.expected(cell) for key, cell in cells.items()}
    assert expected == pytest.approx(
        {"base": 100, "long": 640, "wide": 220} | dict.fromkeys(["epochs", "hard", "words"])
    )
    budget.note(
        cells["hard"], {"seconds": 90.0, "training_seconds": 130.0}
    )  # its first model was another row's
    assert budget.expected(cells["hard"]) == 90
    budget.note(cells["wide"], {"seconds": 45.0, "training_seconds": 30.0})
    assert budget.expected(cells["wide"]) == 45
    assert budget.expected(cells["base"]) == pytest.approx(25)  # this machine is quicker
    assert Budget(hours=600 / 3600, clock=lambda: 0.0).lacks(cells["long"]) == ""
    short = Budget(hours=600 / 3600, clock=lambda: 0.0)
    short.learn(study)
    assert short.lacks(cells["long"]) == "10.0 minutes are left, and such a cell takes about 10.7"
    assert short.lacks(cells["base"]) == ""


def test_a_budget_knows_other_studies_of_its_folder(place, overrides, tmp_path):
    def study_of(name, rows):
        return make_study(name, {"rows": rows}, scale="smoke", overrides=overrides, folder=tmp_path)

    first = study_of("first", {"joint": {}})
    (cell,) = first.cells
    entry = {"key": cell.key, "status": "done", "seconds": 100, "training_seconds": 60}
    first.ledger.append(entry | {"config": cell.config.to_dict()})
    for odd in ({}, {"config": "x"}, {"config": {"train": {}}}, {"config": {"evaluation": {"systems": []}}}):
        first.ledger.append({"key": str(odd), "status": "done", "seconds": 7} | odd)
    second = study_of(
        "second", {"other": {"set": ["loss.alpha=1", "train.max_steps=8"]}, "words": {"system": "bm25"}}
    )
    budget = Budget()
    budget.learn(second)
    assert [budget.expected(cell) for cell in second.cells] == [160, None]
