"""Loggers of a sweep: a parent run for the study, and a run for each cell with what its evaluation has found."""

import pytest

from notellm.app.studies import load_study, sweep
from writing import write_study

STUDY = """\
# @package _global_
study:
  title: A logged study
  rows:
    words: {name: TF-IDF, system: tfidf_full}
    joint: {name: Both losses}
"""


@pytest.mark.filterwarnings("ignore")  # of the package itself
def test_mlflow_has_the_study_and_its_runs(place, overrides, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{place}/mlruns")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    write_study(STUDY, "logged")
    changes = [*overrides, "train.loggers=[jsonl,mlflow]", "loss.alpha=0.5"]
    study = load_study("logged", scale="smoke", overrides=changes)
    entries = {entry["row"]: entry for entry in sweep(study, say=lambda _: None)}
    client = mlflow.tracking.MlflowClient()
    (experiment,) = (one for one in client.search_experiments() if one.name == "notellm")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert runs.keys() == {"logged", "TF-IDF, seed 0", "Both losses, seed 0"}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    parent = runs.pop("logged").info.run_id
    assert {run.data.tags["mlflow.parentRunId"] for run in runs.values()} == {parent}
    words, joint = runs["TF-IDF, seed 0"], runs["Both losses, seed 0"]
    for run, row in ((words, "words"), (joint, "joint")):
        assert run.data.metrics["recall_at_10"] == entries[row]["metrics"]["recall@10"]
    assert joint.data.params["loss.alpha"] == "0.5"
    steps = client.get_metric_history(joint.info.run_id, "loss")
    assert [step.step for step in steps] == list(range(study.cells[0].config.train.max_steps))
