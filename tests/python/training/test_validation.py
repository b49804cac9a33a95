"""Validation: the best model is kept, training may end early, and nothing of it changes the training."""

import shutil

import numpy as np
import pytest
import torch

from joint_training import Run, make_trainer
from notellm.errors import ConfigError, DataError
from notellm.loggers.json_lines import read_log
from notellm.models.notellm import NoteLLM
from notellm.training import TrainOptions
from notellm.training.validation import Validation, recall_on
from samples import make_notes

OPTIONS = {"max_steps": 6, "checkpoint_every": 1, "validate_every": 2}


def numbers(*values):
    """A measure that gives these, one after the other, by how often it is called."""
    left = iter(values)
    return lambda model: next(left)


def by_weights(model):
    """A measure of the weights alone, so that it is the same when a run goes on."""
    return float(torch.sin(1e4 * model.projection.weight.sum()))


@pytest.fixture
def trainer(tiny_folder, tmp_path):
    def make(measure, name="run", lora=None, **options):
        run = Run(name, OPTIONS | options, folder=str(tmp_path / name), lora=lora)
        return make_trainer(tiny_folder, run, validate=measure)

    return make


def weights(model):
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def assert_equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_it_is_measured_when_it_is_time_and_at_the_end(trainer):
    records = trainer(numbers(0.1, 0.2), validate_every=4).train()
    assert [record.get("validation") for record in records] == [None] * 3 + [0.1, None, 0.2]


@pytest.mark.parametrize("lora", [None, {"r": 2}])
def test_the_best_model_is_kept_and_no_bit_of_the_training_changes(lora, trainer):
    plain, cut = (trainer(None, name, lora, validate_every=0) for name in ("plain", "cut"))
    plain.train()
    cut.train(until=4)
    run = trainer(numbers(0.2, 0.5, 0.5), "validated", lora, grad_norms_every=3)
    run.train()
    assert_equal(weights(run.model), weights(plain.model))
    best = NoteLLM.from_pretrained(run.folder / "best")
    if lora is not None:
        cut.model.merge_lora()
    assert_equal(weights(best), weights(cut.model.float()))


@pytest.mark.parametrize(("patience", "steps"), [(0, 6), (1, 4), (2, 6), (3, 6)])
def test_it_ends_once_it_gains_nothing_more(patience, steps, trainer):
    run = trainer(numbers(0.5, 0.4, 0.5), patience=patience)
    assert len(run.train()) == steps
    state = run.callbacks[0].state()
    assert (state["best"], state["best_step"]) == (0.5, 2)


@pytest.mark.parametrize("stop", [1, 2, 3, 4, 5])
def test_a_run_that_goes_on_finds_what_one_that_did_not_stop_finds(stop, trainer):
    whole = trainer(by_weights, "whole", validate_every=1, patience=2)
    whole.train()
    cut = trainer(by_weights, "cut", validate_every=1, patience=2)
    cut.train(until=stop)
    resumed = trainer(by_weights, "cut", validate_every=1, patience=2)
    resumed.train(resume=True)
    found = [[r["validation"] for r in read_log(run.folder / "train.jsonl")] for run in (whole, resumed)]
    assert found[0] == found[1]
    assert resumed.callbacks[0].state() == whole.callbacks[0].state()
    assert_equal(weights(resumed.model), weights(whole.model))
    assert_equal(*(weights(NoteLLM.from_pretrained(run.folder / "best")) for run in (whole, resumed)))


def test_a_training_that_ended_early_does_not_go_on(trainer):
    trainer(numbers(0.5, 0.4), patience=1).train()
    assert trainer(numbers(), patience=1).train(resume=True) == []


def test_without_the_best_model_a_run_does_not_go_on(trainer):
    run = trainer(numbers(0.5))
    run.train(until=2)
    shutil.rmtree(run.folder / "best")
    with pytest.raises(DataError, match="must hold best/, the best model so far, of step 2, but does not"):
        trainer(numbers()).train(resume=True)


def test_a_measure_is_finite(trainer):
    with pytest.raises(ValueError, match="Validation: a measure must be finite, but is nan"):
        trainer(numbers(float("nan"))).train()


def test_a_measure_that_nobody_would_call_is_refused(trainer):
    with pytest.raises(
        ValueError, match="validate_every must be at least 1 where validate is given, but is 0"
    ):
        trainer(numbers(), validate_every=0)
    with pytest.raises(ValueError, match="validate_every must be at least 1 where patience is 3, but is 0"):
        trainer(None, validate_every=0, patience=3)


def test_what_does_not_fit_is_refused(trainer):
    with pytest.raises(ValueError, match="validate must be given where validate_every is 2"):
        trainer(None)
    with pytest.raises(ConfigError, match="patience must be at least 0, but is -1"):
        TrainOptions(patience=-1)
    with pytest.raises(ValueError, match="every must be at least 1 and patience at least 0, but are 0 and 0"):
        Validation(by_weights, every=0)


def test_another_patience_is_another_run(trainer):
    trainer(numbers(0.5)).train(until=2)
    with pytest.raises(DataError, match="patience must be 0 as the run began, but is 1"):
        trainer(numbers(), patience=1).train(resume=True)


def test_recall_is_that_of_scores_by_hand(tiny):
    notes, draw = make_notes(30, seed=1), np.random.default_rng(0)
    source = np.arange(12)
    target = (source + draw.integers(1, 29, 12)) % 30
    vectors = tiny.embed(notes, dtype="fp32").double()
    scores = vectors @ vectors.T
    found = []
    for query, wanted in zip(source, target, strict=True):
        others = np.delete(np.arange(30), query)
        found.append(int((scores[query, others] > scores[query, wanted]).sum()) < 5)
    assert 0 < sum(found) < 12
    assert recall_on(notes, source, target, k=5, dtype="fp32")(tiny) == pytest.approx(np.mean(found))


def test_recall_needs_a_query():
    with pytest.raises(ValueError, match="there must be a query"):
        recall_on(make_notes(3, seed=0), np.arange(0), np.arange(0))
