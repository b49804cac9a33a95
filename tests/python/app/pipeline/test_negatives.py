"""Hard negatives in a run: a model is trained first, and what it finds near is kept and trained with."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from notellm.app.cli import main
from notellm.app.config import compose, load_config
from notellm.app.pipeline import load_data, prepare, read_pairs, training_pairs
from notellm.app.pipeline.data import with_validation
from notellm.app.pipeline.negatives import earlier_model_key
from notellm.app.run import RunFolder
from notellm.errors import ConfigError
from notellm.training import Trainer

FIRST = ["negatives=first", "negatives.first_rank=1", "negatives.per_pair=2", "loss.log_q=1"]


def train(path, overrides, *changes):
    return main(["train", "--run", str(path), *overrides, *changes])


def negatives_of(path):
    (file,) = path.glob("hard_negatives-*.safetensors")
    return load_file(file)


def records_of(path):
    return [json.loads(line) for line in (path / "train.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def run(folder, overrides):
    path = folder / "with-negatives"
    assert train(path, overrides, *FIRST) == 0
    return path


def test_a_run_trains_its_first_model_and_keeps_what_it_finds(run):
    assert {"model", "pairs.parquet", "train.jsonl"} <= {entry.name for entry in run.iterdir()}
    assert not (run / "first").exists()
    assert not (run / "checkpoints").exists()
    assert all(record["negatives"] > 0 for record in records_of(run))
    assert all(record["notes"] == 8 + record["negatives"] for record in records_of(run))


def test_no_negative_is_related_or_of_the_test_side(run):
    config = load_config(run / "config.yaml")
    dataset = load_data(config)
    mined = prepare(RunFolder.open(config, writes=False), dataset)
    source, _ = training_pairs(config, dataset, *mined.train)
    kept = negatives_of(run)
    pairs = np.repeat(np.arange(len(source)), np.diff(kept["offsets"]))
    assert len(kept["notes"]) > 0
    assert dataset.is_train[kept["notes"]].all()
    ends = read_pairs(run / "pairs.parquet", dataset.notes)
    related = set(zip(*ends, strict=True)) | set(zip(*reversed(ends), strict=True))
    found = zip(source[pairs].tolist(), kept["notes"].tolist(), strict=True)
    assert not [pair for pair in found if pair in related or pair[0] == pair[1]]


def test_no_negative_is_held_out_for_validation(folder, overrides):
    path = folder / "validated-negatives"
    changes = ["train.validate_every=2", "data.test_fraction=0.3"]
    assert train(path, [*overrides, *changes], *FIRST) == 0
    config = load_config(path / "config.yaml")
    notes = negatives_of(path)["notes"]
    learnt_from = with_validation(config, load_data(config)).is_train
    assert len(notes) > 0
    assert learnt_from[notes].all()
    assert not (path / "first").exists()


def test_another_run_s_model_may_find_them(run, folder, overrides, capsys):
    changes = [f"negatives.model={run}", "negatives.first_rank=1", "negatives.candidates=20"]
    path = folder / "by-another"
    assert train(path, overrides, *changes) == 0
    assert "hard negatives: " in capsys.readouterr().out
    assert len(np.unique(negatives_of(path)["notes"])) <= 20
    by_run, by_model = (compose([f"negatives.model={name}"]) for name in (run, run / "model"))
    assert earlier_model_key(by_run) == earlier_model_key(by_model) != ""


def test_a_margin_that_leaves_nothing_is_told(run, folder, overrides, capsys):
    changes = [f"negatives.model={run}", "negatives.absolute_margin=2"]
    assert train(folder / "too-strict", overrides, *changes) == 0
    out = capsys.readouterr().out
    assert "hard negatives: 0, for 0 of" in out
    assert "try smaller margins" in out


def test_an_interrupted_run_goes_on_to_the_same_weights(run, folder, overrides, monkeypatch):
    step, path, taken = Trainer._train_step, folder / "interrupted-negatives", []

    def interrupt(self):
        taken.append(self.step)
        if len(taken) in (3, 8):  # in the first model's training, and in the second one's
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(Trainer, "_train_step", interrupt)
    assert train(path, overrides, *FIRST) == 130
    assert (path / "first" / "checkpoints").exists()
    assert not list(path.glob("hard_negatives*"))
    assert main(["train", "--run", str(path), "--resume"]) == 130
    assert negatives_of(path)["notes"].tolist() == negatives_of(run)["notes"].tolist()
    assert main(["train", "--run", str(path), "--resume"]) == 0
    name = "model/model.safetensors"
    assert (path / name).read_bytes() == (run / name).read_bytes()


def test_without_the_contrastive_loss_they_are_refused():
    with pytest.raises(ConfigError, match="negatives.model must be empty where there is no contrastive loss"):
        compose(["negatives=first", "loss=csft_only"])


def test_a_folder_without_a_model_is_refused(folder, overrides, tmp_path, capsys):
    assert train(folder / "none", overrides, f"negatives.model={tmp_path}") == 2
    assert "must hold a trained NoteLLM" in capsys.readouterr().err
