"""A run with validation: notes are held out of training, and the best model becomes the trained one."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from notellm.app.cli import main
from notellm.app.config import compose, load_config
from notellm.app.pipeline import load_data, prepare, training_pairs
from notellm.app.pipeline.data import with_validation
from notellm.app.pipeline.encoder import train_encoder
from notellm.app.pipeline.training import validation
from notellm.app.run import RunFolder
from notellm.errors import ConfigError
from notellm.models.notellm import NoteLLM
from notellm.training import Trainer

OPTIONS = ["train.validate_every=1", "train.validate_k=3", "train.lr_head=0.1"]


def records_of(path):
    return [json.loads(line) for line in (path / "train.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def run(folder, overrides):
    path = folder / "validated"
    assert main(["train", "--run", str(path), *overrides, *OPTIONS]) == 0
    return RunFolder.open(load_config(path / "config.yaml"), writes=False)


def test_the_model_is_the_best_one(run):
    found = [record["validation"] for record in records_of(run.path)]
    assert len(found) == 4
    assert not (run.path / "best").exists()
    assert not (run.path / "checkpoints").exists()
    dataset = load_data(run.config)
    pairs = training_pairs(run.config, dataset, *prepare(run, dataset).train)
    measure, _ = validation(run.config, with_validation(run.config, dataset), *pairs)
    assert measure(NoteLLM.from_pretrained(run.path / "model")) == pytest.approx(max(found), abs=1e-12)


def test_a_pair_of_the_first_step_is_shown(run, capsys):
    assert main(["show-prompt", "--run", str(run.path)]) == 0
    assert "joint loss:" in capsys.readouterr().out


def test_sentence_bert_is_trained_on_the_same_pairs(run, monkeypatch):
    """It was trained on the validation notes, too."""
    seen = []

    class Encoder:
        def fit(self, texts, source, target, options, progress):
            seen.append((source, target))

        def save(self, folder):
            pass

    monkeypatch.setattr("notellm.app.pipeline.encoder.load_encoder", lambda config: Encoder())
    dataset = load_data(run.config)
    pairs = training_pairs(run.config, dataset, *prepare(run, dataset).train)
    train_encoder(run, dataset, *pairs)
    _, expected = validation(run.config, with_validation(run.config, dataset), *pairs)
    assert np.array_equal(seen, [expected])
    assert len(expected[0]) < len(pairs[0])


def test_no_note_is_on_two_sides(run):
    dataset = load_data(run.config)
    parts = with_validation(run.config, dataset)
    assert not (parts.is_train & parts.is_test).any()
    assert not (parts.is_test & dataset.is_test).any()
    assert np.array_equal(parts.is_train | parts.is_test, dataset.is_train)
    for group in np.unique(dataset.groups):
        assert (
            len(set(parts.is_test[dataset.groups == group] & dataset.is_train[dataset.groups == group])) == 1
        )
    before = training_pairs(run.config, dataset, *prepare(run, dataset).train)
    _, (source, target) = validation(run.config, parts, *before)
    assert 0 < len(source) < len(before[0])
    assert parts.is_train[source].all()
    assert parts.is_train[target].all()


def test_an_interrupted_run_comes_to_the_same_model(run, folder, overrides, monkeypatch):
    path, step = folder / "validated_again", Trainer._train_step

    def interrupt(self):
        if self.step == 2:
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(Trainer, "_train_step", interrupt)
    assert main(["train", "--run", str(path), *overrides, *OPTIONS]) == 130
    monkeypatch.setattr(Trainer, "_train_step", step)
    assert main(["train", "--run", str(path), "--resume"]) == 0
    ours, theirs = (NoteLLM.from_pretrained(one / "model") for one in (path, run.path))
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    assert [r["validation"] for r in records_of(path)] == [r["validation"] for r in records_of(run.path)]


def test_a_projection_that_nothing_trains_is_not_measured(overrides, run, tiny):
    config = compose([*overrides, "train.validate_every=1", "loss.contrastive=false", "loss.alpha=1"])
    dataset = load_data(config)
    pairs = training_pairs(config, dataset, *prepare(run, dataset).train)
    measure, _ = validation(config, with_validation(config, dataset), *pairs)
    before = measure(tiny)
    with torch.no_grad():
        tiny.projection.weight.copy_(torch.randn_like(tiny.projection.weight))
    assert measure(tiny) == before


def test_users_that_are_held_out_have_no_validation(overrides):
    with pytest.raises(ConfigError, match=r"train.validate_every must be 0 where users are held out"):
        compose([*overrides, "data.split=users", "train.validate_every=1"])


def test_the_share_is_that_of_the_rest(run):
    dataset = load_data(run.config)
    none = replace(dataset, is_train=np.zeros_like(dataset.is_train))
    assert not with_validation(run.config, none).is_test.any()
