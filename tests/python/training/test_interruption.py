"""Ctrl-C in a training that nobody but its caller handles: what is done is kept."""

import numpy as np
import pytest
import torch

import joint_training
from notellm.loggers.json_lines import read_log
from notellm.models.notellm import NoteLLM
from notellm.training import Trainer, TrainOptions
from processes import run_in_processes

SOURCE = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9])
TARGET = np.array([2, 1, 4, 5, 3, 7, 8, 6, 10])
OPTIONS = TrainOptions(pairs_per_step=3, epochs=2, lr=1e-3, lr_head=1e-2, alpha=0.5, dtype="fp32")


@pytest.fixture
def make(tiny_folder, notes, tmp_path):
    def make(name="cut"):
        model = NoteLLM.from_pretrained(tiny_folder, dim=6)
        folder = None if name is None else tmp_path / name
        return Trainer(model, notes, SOURCE, TARGET, OPTIONS, folder=folder)

    return make


def checkpoints(trainer):
    return [entry.name for entry in (trainer.folder / "checkpoints").glob("*")]


def interrupt_at(step):
    def report(done, total):
        if done == step:
            raise KeyboardInterrupt

    return report


def assert_goes_on(make):
    """The run in ``cut`` goes on to the weights and the log of one that nobody interrupted."""
    whole, resumed = make("whole"), make()
    whole.train()
    resumed.train(resume=True)
    assert resumed.step == 6
    wanted = dict(whole.model.named_parameters())
    assert all(torch.equal(value, wanted[name]) for name, value in resumed.model.named_parameters())
    losses = [[r["loss"] for r in read_log(t.folder / "train.jsonl")] for t in (whole, resumed)]
    assert losses[0] == losses[1]


def test_between_two_steps_the_steps_done_are_kept(make):
    trainer = make()
    with pytest.raises(KeyboardInterrupt):
        trainer.train(progress=interrupt_at(3))
    assert checkpoints(trainer) == ["step-0000003"]
    assert_goes_on(make)


def test_within_a_step_the_steps_before_it_are_kept(make, monkeypatch):
    trainer = make()
    backward = trainer.joint_step.backward

    def interrupted(plan, step):
        sums = backward(plan, step)  # gradients are there, weights are as they were
        if step == 3:
            raise KeyboardInterrupt
        return sums

    monkeypatch.setattr(trainer.joint_step, "backward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert checkpoints(trainer) == ["step-0000003"]
    assert_goes_on(make)


def test_a_torn_update_is_never_kept(make, monkeypatch):
    trainer = make()
    update = trainer.optimizer.step

    def torn():
        update()
        if trainer.step == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(trainer.optimizer, "step", torn)
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert checkpoints(trainer) == []
    with pytest.raises(
        ValueError, match="step 3 was interrupted amid its update or its callbacks; try a new"
    ):
        trainer.train()
    assert_goes_on(make)


def test_the_same_trainer_goes_on_too(make, monkeypatch):
    trainer = make(None)
    with pytest.raises(KeyboardInterrupt):
        trainer.train(progress=interrupt_at(2))
    assert len(trainer.train()) == 4


def test_before_the_first_step_there_is_nothing_to_keep(make):
    trainer = make()
    with pytest.raises(KeyboardInterrupt):
        trainer.train(progress=interrupt_at(0))
    assert checkpoints(trainer) == []


def test_a_checkpoint_of_that_step_is_not_written_twice(make, monkeypatch):
    from notellm.training import trainer as module

    calls = []
    monkeypatch.setattr(module, "save_checkpoint", lambda folder, *rest: calls.append(rest[2]))
    trainer = make()
    with pytest.raises(KeyboardInterrupt):
        trainer.train(progress=interrupt_at(6))  # the last step's checkpoint is there already
    assert calls == [6]


def test_one_interrupted_process_stops_all_after_the_same_step(tiny_folder, tmp_path):
    options = {"max_steps": 6, "shard_weights": True}
    run = joint_training.Run("run", options, folder=str(tmp_path / "run"))
    run_in_processes(2, tmp_path, joint_training.interrupt_one, str(tiny_folder), run)
    assert [entry.name for entry in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-0000002"]
