"""Loggers: each package gets the numbers of every step, also of a run that goes on, and of all runs of a study."""

import json
import os
import struct
import sys
import time

import pytest

from joint_training import Run, make_trainer
from notellm.errors import NotSupportedError
from notellm.loggers import LOGGERS, About, Loggers, Parent, check_installed, end_parent
from notellm.loggers.json_lines import read_log
from notellm.loggers.logger import Logger, package

OPTIONS = {"max_steps": 4, "checkpoint_every": 2}


def needs(name):
    return pytest.importorskip(name, reason=f"{name} is not installed")


@pytest.fixture
def train(tiny_folder, tmp_path):
    """Two steps, and two more by another trainer."""

    def train(logger):
        run = Run(logger, OPTIONS | {"loggers": ("jsonl", logger)}, folder=str(tmp_path / "run"))
        make_trainer(tiny_folder, run).train(until=2)
        make_trainer(tiny_folder, run).train(resume=True)
        loggers = Loggers((logger,), About("run", tmp_path / "run"))
        loggers.summary({"recall@10": 0.25})
        loggers.close(failed=False)
        return [record["loss"] for record in read_log(tmp_path / "run/train.jsonl")]

    return train


def about(folder, name="run", **given):
    (folder / name).mkdir(exist_ok=True)
    return About(name, folder / name, {"seed": 0, "train": {"lr": 0.1}}, **given)


def log_runs_of_a_study(logger, folder):
    """Two runs, the second of which is interrupted."""
    for name in ("first", "second"):
        loggers = Loggers((logger,), about(folder, name, parent=Parent("study", folder)), 0)
        loggers.step({"step": 0, "loss": 0.5, "generative": None})
        loggers.close(failed=name == "second")


def test_tensorboard_has_every_step(train, tmp_path):
    needs("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    losses = train("tensorboard")
    events = EventAccumulator(str(tmp_path / "run/tensorboard"))
    events.Reload()
    assert {e.step: e.value for e in events.Scalars("loss")} == pytest.approx(dict(enumerate(losses)))
    assert {"scale", "tokens_per_second", "evaluation/recall@10"} <= set(events.Tags()["scalars"])


def test_tensorboard_reads_runs_of_one_second_in_their_order(tmp_path):
    """TensorBoard sorts files by name, where the tenth comes before the ninth, and so would be purged by it."""
    needs("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    name = ""
    while not name.endswith("8"):  # files are numbered over a whole process
        writer = SummaryWriter(str(tmp_path / "other"))
        name = writer.file_writer.event_writer._file_name
        writer.close()
    for step in range(2):
        loggers = Loggers(("tensorboard",), About("run", tmp_path), step)
        loggers.step({"step": step, "loss": 0.5})
        loggers.close(failed=False)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("loss")] == [0, 1]


@pytest.fixture
def mlflow(tmp_path, monkeypatch):
    module = needs("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path}/mlruns")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a database takes seconds to make
    client = module.tracking.MlflowClient()
    return lambda: client.search_runs([client.get_experiment_by_name("notellm").experiment_id]), client


@pytest.mark.filterwarnings("ignore")  # of the package itself
def test_mlflow_has_one_run_of_a_training_that_goes_on(mlflow, train):
    runs, client = mlflow
    losses = train("mlflow")
    (run,) = runs()
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(entry.step, entry.value) for entry in history] == list(enumerate(losses))
    assert run.info.status == "FINISHED"
    assert run.data.metrics["recall_at_10"] == 0.25
    assert (run.data.params["max_steps"], run.info.run_name) == ("4", "run")


@pytest.mark.filterwarnings("ignore")
def test_mlflow_has_a_parent_of_the_runs_of_a_study(mlflow, tmp_path):
    log_runs_of_a_study("mlflow", tmp_path)
    runs, _ = mlflow
    found = {run.info.run_name: run for run in runs()}
    parent = found.pop("study")
    assert parent.info.status == "RUNNING"
    assert {name: run.info.status for name, run in found.items()} == {"first": "FINISHED", "second": "FAILED"}
    assert {run.data.tags["mlflow.parentRunId"] for run in found.values()} == {parent.info.run_id}
    assert found["first"].data.params == {"seed": "0", "train.lr": "0.1"}
    end_parent(["mlflow"], Parent("study", tmp_path))
    assert {run.info.status for run in runs() if run.info.run_name == "study"} == {"FINISHED"}


def records_of(data, block=32_768, header=7):
    """The records of a log in LevelDB's format, behind a header of the file: parts of them lie in blocks."""
    place, record = header, b""
    while place + header < len(data):
        if block - place % block < header:  # too short for another part
            place += block - place % block
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        record += data[place + header : place + header + length]
        place += header + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


class Offline:
    """What wandb wrote into its offline folders; a process of its own may write yet when a run is finished."""

    def __init__(self, folder, parts):
        deadline = time.monotonic() + 30
        while True:
            self.read(folder)
            if self.ended == parts or time.monotonic() > deadline:
                return
            time.sleep(0.1)

    def read(self, folder):
        from wandb.proto.wandb_internal_pb2 import Record

        self.history, self.runs, self.summary, self.ended = [], [], {}, 0
        for path in sorted(folder.rglob("*.wandb"), key=lambda path: path.stat().st_mtime_ns):
            for data in records_of(path.read_bytes()):
                record = Record()
                record.ParseFromString(data)
                self.take(record)

    def take(self, record):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            self.runs.append((record.run.run_id, record.run.run_group, record.run.display_name))
        elif kind == "history":
            items = {
                ".".join([*i.nested_key]) or i.key: json.loads(i.value_json) for i in record.history.item
            }
            self.history.append(items)
        elif kind == "exit":
            self.ended += 1
        elif kind == "summary":
            self.summary |= {i.key: json.loads(i.value_json) for i in record.summary.update}


@pytest.fixture
def wandb(tmp_path, monkeypatch):
    needs("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    return lambda parts: Offline(tmp_path, parts)


@pytest.mark.filterwarnings("ignore")
def test_wandb_has_one_run_of_a_training_that_goes_on(wandb, train):
    losses = train("wandb")
    found = wandb(parts=3)
    assert sorted((line["_step"], line["loss"]) for line in found.history) == list(enumerate(losses))
    assert len({run for run, *_ in found.runs}) == 1
    assert found.summary["recall@10"] == 0.25


@pytest.mark.filterwarnings("ignore")
def test_wandb_has_a_group_of_the_runs_of_a_study(wandb, tmp_path):
    log_runs_of_a_study("wandb", tmp_path)
    assert {(group, name) for _, group, name in wandb(parts=2).runs} == {
        ("study", "first"),
        ("study", "second"),
    }


@pytest.mark.filterwarnings("ignore")
def test_trackio_has_one_run_of_a_training_that_goes_on(train, tmp_path, monkeypatch):
    trackio = needs("trackio")
    from trackio.sqlite_storage import SQLiteStorage

    for name in ("trackio.utils", "trackio.sqlite_storage"):
        monkeypatch.setattr(f"{name}.TRACKIO_DIR", tmp_path / "trackio")
    losses = train("trackio")
    (name,) = SQLiteStorage.get_runs("notellm")
    assert name.startswith("run ")
    lines = SQLiteStorage.get_logs("notellm", name)
    assert [(line["step"], line["loss"]) for line in lines if "loss" in line] == list(enumerate(losses))
    assert [line["evaluation/recall@10"] for line in lines if "loss" not in line] == [0.25]
    assert trackio.__name__ == "trackio"


class Away(Logger):
    """A package whose server is away."""

    def __init__(self, about, first_step):
        self.calls = []

    def step(self, record):
        if record["step"] == 1:
            raise ConnectionError("nobody answers")


def test_a_package_that_fails_is_left_out_and_the_training_goes_on(
    tiny_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(LOGGERS, "wandb", Away)
    monkeypatch.setattr("notellm.loggers.opening.PACKAGES", {})
    run = Run("run", OPTIONS | {"loggers": ("wandb", "jsonl")}, folder=str(tmp_path))
    make_trainer(tiny_folder, run).train()
    assert len(read_log(tmp_path / "train.jsonl")) == 4
    assert capsys.readouterr().err.splitlines() == [
        "Away gets nothing more of this run, since it fails: nobody answers"
    ]


class Closed(Logger):
    """Cannot be opened: its server is away already."""

    def __init__(self, about, first_step):
        raise ConnectionError("nobody answers")


def test_a_package_that_cannot_be_opened_is_left_out(tiny_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(LOGGERS, "wandb", Closed)
    monkeypatch.setattr("notellm.loggers.opening.PACKAGES", {})
    run = Run("run", OPTIONS | {"loggers": ("wandb", "jsonl")}, folder=str(tmp_path))
    make_trainer(tiny_folder, run).train()
    assert len(read_log(tmp_path / "train.jsonl")) == 4
    assert capsys.readouterr().err.splitlines() == [
        "wandb gets nothing of this run, since it cannot be opened: nobody answers"
    ]


def test_a_full_disk_ends_the_training(tiny_folder, tmp_path, monkeypatch):
    def full(*_):
        raise OSError("no room")

    monkeypatch.setattr("notellm.loggers.json_lines.append_whole", full)
    with pytest.raises(OSError, match="no room"):
        make_trainer(tiny_folder, Run("run", OPTIONS, folder=str(tmp_path))).train()


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb", "trackio"])
def test_a_missing_package_is_named_before_the_training(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr("notellm.loggers.opening.find_spec", lambda _: None)
    with pytest.raises(
        NotSupportedError, match=rf"{name} must be installed, but is not; .*'notellm\[{name}\]'"
    ):
        check_installed(("jsonl", name))
    with pytest.raises(NotSupportedError):
        package(name, name)


def test_without_a_folder_there_are_no_loggers(tiny_folder, monkeypatch):
    monkeypatch.setattr("notellm.loggers.opening.PACKAGES", {})
    with pytest.raises(
        ValueError, match="loggers must have a folder, but folder is None beside jsonl, wandb"
    ):
        make_trainer(tiny_folder, Run("run", {"loggers": ("jsonl", "wandb")}))


def test_without_jsonl_there_is_no_file(tiny_folder, tmp_path):
    make_trainer(tiny_folder, Run("run", OPTIONS | {"loggers": ()}, folder=str(tmp_path))).train()
    assert sorted(os.listdir(tmp_path)) == ["checkpoints"]
