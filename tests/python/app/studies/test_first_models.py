"""Hard negatives in a study: the first model is another row's, and is trained once."""

import pytest

from notellm.app.kept_seconds import TRAINING_TIME
from notellm.app.studies import first_models, make_study, sweep
from notellm.app.studies.budget import Budget
from notellm.app.studies.search import has_diverged
from notellm.training import Trainer

HARD = {"set": ["negatives=first", "negatives.first_rank=1"]}
ROWS = {
    "joint": {},
    "gcl": {"set": ["loss=gcl_only"]},
    "hard": HARD,
    "gcl_hard": {"set": ["loss=gcl_only", *HARD["set"]]},
}


class Only(Budget):
    """Time for these cells alone."""

    def __init__(self, *cells):
        super().__init__()
        self.keys = {cell.key for cell in cells}

    def lacks(self, cell):
        return "" if cell.key in self.keys else "later"


@pytest.fixture
def trained(monkeypatch):
    """Folders in which a model was trained, one after the other."""
    folders, train = [], Trainer.train

    def noted(self, **options):
        folders.append(self.folder)
        return train(self, **options)

    monkeypatch.setattr(Trainer, "train", noted)
    return folders


def study_of(rows, folder, overrides):
    return make_study("firsts", {"rows": rows}, scale="smoke", overrides=overrides, folder=folder)


def results(entries):
    return {entry["row"]: (entry["metrics"], entry["embeddings"]) for entry in entries}


def run(study, **options):
    entries = sweep(study, say=lambda _: None, **options)
    assert [entry["status"] for entry in entries] == ["done"] * len(entries)
    return entries


def models_in(folder):
    return [found for name in ("model*", "first") for found in folder.glob(f"*/*/{name}")]


def test_a_first_model_that_another_row_trains_is_trained_once(place, overrides, tmp_path, trained):
    shared = run(study_of(ROWS, tmp_path / "shared", overrides))
    assert len(trained) == len(set(trained)) == 4
    assert models_in(tmp_path / "shared") == []
    trained.clear()
    hard = {key: row for key, row in ROWS.items() if "hard" in key}
    alone = run(study_of(hard, tmp_path / "alone", overrides))
    assert len(trained) == 4
    assert results(alone) == {row: found for row, found in results(shared).items() if row in hard}
    times = {entry["row"]: entry["training_seconds"] for entry in shared}
    assert times["hard"] > times["joint"]


def test_a_first_model_waits_for_the_rows_that_need_it(place, overrides, tmp_path, trained):
    rows = {key: ROWS[key] for key in ("joint", "gcl", "hard")}
    study = study_of(rows, tmp_path, overrides)
    joint, gcl, hard = study.cells
    run(study, budget=Only(joint, gcl))
    assert [found.parent for found in models_in(tmp_path)] == [joint.folder]
    run(study)
    assert trained == [joint.folder, gcl.folder, hard.folder]
    assert models_in(tmp_path) == []


def test_a_first_model_of_other_code_or_data_is_trained_anew(
    place, overrides, tmp_path, trained, monkeypatch
):
    rows = {key: ROWS[key] for key in ("joint", "hard")}
    study = study_of(rows, tmp_path, overrides)
    joint, hard = study.cells
    run(study, budget=Only(joint))
    monkeypatch.setattr("notellm.app.studies.first_models.versions", lambda: {"commit": "another"})
    run(study)
    assert trained == [joint.folder, hard.folder / "first", hard.folder]
    assert models_in(tmp_path) == []


def test_kept_models_are_used_and_stay(place, overrides, tmp_path, trained):
    rows = {key: ROWS[key] for key in ("joint", "hard")}
    study = study_of(rows, tmp_path, overrides)
    joint, hard = study.cells
    run(study, keep_models=True)
    assert trained == [joint.folder, hard.folder]
    assert sorted(models_in(tmp_path)) == sorted([joint.folder / "model", hard.folder / "model"])


def test_models_that_are_to_stay_are_a_run_s_own_again(place, overrides, tmp_path):
    rows = {key: ROWS[key] for key in ("joint", "hard")}
    study = study_of(rows, tmp_path, overrides)
    joint, hard = study.cells
    run(study, budget=Only(joint))
    run(study, keep_models=True)
    assert sorted(models_in(tmp_path)) == sorted([joint.folder / "model", hard.folder / "model"])


def test_what_a_kill_leaves_of_a_model_is_not_lent(place, overrides, tmp_path, trained, monkeypatch):
    rows = {key: ROWS[key] for key in ("joint", "hard")}
    study = study_of(rows, tmp_path, overrides)
    joint, hard = study.cells
    run(study, budget=Only(joint))
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", interrupt)
        with pytest.raises(KeyboardInterrupt):
            first_models.end_loan(joint, keep=False)
    run(study)
    assert trained == [joint.folder, hard.folder / "first", hard.folder]


def test_a_borrowed_model_counts_once_however_often_the_cell_is_resumed(
    place, overrides, tmp_path, monkeypatch
):
    rows = {key: ROWS[key] for key in ("joint", "hard")}
    study = study_of(rows, tmp_path, overrides)
    joint, hard = study.cells
    run(study, budget=Only(joint))
    TRAINING_TIME.add(joint.folder, 1000)
    with monkeypatch.context() as patch:
        patch.setattr("notellm.app.pipeline.steps.evaluate", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(study)
    (entry,) = run(study)
    assert 1000 < entry["training_seconds"] < 2000
    assert not (hard.folder / "first").exists()


def test_a_diverged_cell_leaves_nothing_of_its_first_model(place, overrides, tmp_path):
    node = {
        "rows": {"hard": {"set": [*HARD["set"], "train.lr=1e30", "train.lr_head=1e30", "train.clip_norm=0"]}}
    }
    study = make_study("diverging", node, scale="smoke", overrides=overrides, folder=tmp_path)
    (entry,) = sweep(study, say=lambda _: None)
    assert has_diverged(entry)
    (cell,) = study.cells
    left = {path.name for path in cell.folder.iterdir()}
    assert not left & {"first", "checkpoints", "training_time.json", "sweep_time.json"}


def interrupt(*_, **__):
    raise KeyboardInterrupt
