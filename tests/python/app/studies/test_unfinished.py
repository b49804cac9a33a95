"""Cells that cannot be finished now: a full disk, and a folder that another call works in; and those that go on."""

import shutil
import sys
import time

import pytest

from notellm.app.run import alone_in
from notellm.app.studies import make_study, sweep


def test_a_cell_whose_entry_has_no_room_stays_unfinished_and_keeps_its_model(
    place, overrides, tmp_path, monkeypatch, file_size_limit
):
    from notellm.training import Trainer

    node = {"rows": {"joint": {}}}
    study = make_study("full", node, scale="smoke", overrides=overrides, folder=tmp_path)
    study.ledger.append({"key": "other", "status": "done", "long": "x" * 4_000_000})
    before = study.ledger.path.read_bytes()
    with (
        file_size_limit(len(before) + 10),
        pytest.raises(OSError, match=r"ledger\.jsonl: must be written, but"),
    ):
        sweep(study, say=lambda _: None)
    assert study.ledger.path.read_bytes() == before
    (cell,) = study.cells
    assert (cell.folder / "model").exists()
    monkeypatch.setattr(Trainer, "train", lambda *_, **__: pytest.fail("it is trained already"))
    (entry,) = sweep(study, say=lambda _: None)
    assert entry["status"] == "done"
    assert not (cell.folder / "model").exists()


def test_a_cell_whose_folder_another_call_works_in_is_left_alone(place, overrides, tmp_path):
    node = {"rows": {"words": {"system": "tfidf_full"}}}
    study = make_study("busy", node, scale="smoke", overrides=overrides, folder=tmp_path)
    (cell,) = study.cells
    said = []
    with alone_in(cell.folder):
        (cell.folder / "config.yaml").write_text("of that call")
        assert sweep(study, say=said.append) == []
        assert (cell.folder / "config.yaml").read_text() == "of that call"
    assert said == [f"[1/1] words, seed 0: another call works in {cell.folder}"]
    assert [entry["status"] for entry in sweep(study, say=said.append)] == ["done"]


def test_a_cell_that_goes_on_counts_the_time_of_all_calls(place, overrides, tmp_path, monkeypatch):
    from notellm.app.studies.sweep import run_cell

    module = sys.modules[run_cell.__module__]  # `notellm.app.studies.sweep` is the function
    node = {"rows": {"words": {"system": "tfidf_full"}}}
    study = make_study("w", node, scale="smoke", overrides=overrides, folder=tmp_path)

    now, late = time.perf_counter, [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now() + late[0])

    def interrupted(*_):
        late[0] = 1000.0
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "run_cell", interrupted)
        with pytest.raises(KeyboardInterrupt):
            sweep(study, say=lambda _: None)
    (resumed,) = sweep(study, say=lambda _: None)
    assert resumed["status"] == "done"
    assert resumed["seconds"] > 1000
    (again,) = sweep(study, say=lambda _: None, again=["words"])
    assert again["seconds"] < 1000  # it began anew


def test_a_finished_cell_whose_data_are_gone_stops_no_other(place, overrides, tmp_path):
    notes = next(text.partition("=")[2] for text in overrides if text.startswith("data.notes="))
    mine = tmp_path / "notes.parquet"
    shutil.copy(notes, mine)
    node = {
        "rows": {"mine": {"system": "tfidf_full", "set": [f"data.notes={mine}"]}, "words": {"system": "bm25"}}
    }
    study = make_study("gone", node, scale="smoke", overrides=overrides, folder=tmp_path / "runs")
    assert [entry["status"] for entry in sweep(study, say=lambda _: None)] == ["done", "done"]
    mine.unlink()
    said = []
    (entry,) = sweep(study, say=said.append, again=["words"])
    assert (entry["row"], entry["status"]) == ("words", "done")
    assert said[0].startswith(
        "[1/2] mine, seed 0: done before; whether its data are the same cannot be said: FileNotFound"
    )
