"""The moments of a training: which, in what order, and what a callback may do there."""

import json

import numpy as np
import pytest
import torch

from joint_training import Run, make_trainer
from notellm.errors import DataError
from notellm.loggers.json_lines import read_log
from notellm.training.callbacks import Callback

OPTIONS = {"max_steps": 4, "checkpoint_every": 2}


class Watch(Callback):
    """Writes down what is called."""

    def __init__(self, name, seen):
        self.name, self.seen = name, seen

    def before_training(self, training):
        self.seen.append((self.name, "before", training.step))

    def after_step(self, training, record):
        self.seen.append((self.name, "step", training.step, record["step"]))

    def after_checkpoint(self, training, path):
        self.seen.append((self.name, "checkpoint", path.name, (path / "state.json").exists()))

    def after_training(self, training, error):
        self.seen.append((self.name, "after", type(error).__name__))


class Count(Callback):
    """Counts steps through interruptions; stops at one."""

    def __init__(self, until=0):
        self.done, self.until = 0, until

    def after_step(self, training, record):
        self.done += 1
        record["done"] = self.done
        if self.done == self.until:
            training.stop()

    def state(self):
        return {"done": self.done}

    def load_state(self, state):
        self.done = state["done"]


class Fail(Callback):
    def __init__(self, moment):
        self.moment = moment

    def fail(self, *_):
        raise RuntimeError("as it should")

    def __getattribute__(self, name):
        moment = object.__getattribute__(self, "moment") if name != "moment" else None
        return object.__getattribute__(self, "fail" if name == moment else name)


@pytest.fixture
def trainer(tiny_folder, tmp_path):
    def make(*callbacks, name="run", **options):
        run = Run(name, OPTIONS | options, folder=str(tmp_path / name))
        return make_trainer(tiny_folder, run, callbacks=callbacks)

    return make


def weights(run):
    return {name: value.detach().clone() for name, value in run.model.named_parameters()}


def assert_equal(ours, theirs):
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_moments_come_in_order(trainer):
    seen = []
    trainer(Watch("a", seen), Watch("b", seen)).train(until=2)
    both = [(name, *what) for what in [("step", 0, 0), ("step", 1, 1)] for name in "ab"]
    assert seen[:2] == [("a", "before", 0), ("b", "before", 0)]
    assert seen[2:6] == both
    assert seen[6:8] == [(name, "checkpoint", "step-0000002", True) for name in "ab"]
    assert seen[8:] == [("b", "after", "NoneType"), ("a", "after", "NoneType")]


def test_they_change_no_bit_and_are_told_where_a_run_goes_on(trainer):
    seen = []
    whole, cut = trainer(name="whole"), trainer(Watch("a", seen), Count(), name="cut")
    whole.train()
    cut.train(until=2)
    resumed = trainer(Watch("a", seen), Count(), name="cut")
    resumed.train(resume=True)
    assert_equal(weights(resumed), weights(whole))
    assert [what for what in seen if what[1] == "before"] == [("a", "before", 0), ("a", "before", 2)]
    assert [record["done"] for record in read_log(resumed.folder / "train.jsonl")] == [1, 2, 3, 4]


@pytest.mark.parametrize("moment", ["before_training", "after_step", "after_checkpoint"])
def test_an_error_in_one_ends_the_training_and_all_are_told(moment, trainer):
    seen = []
    with pytest.raises(RuntimeError, match="as it should"):
        trainer(Watch("a", seen), Fail(moment), Watch("b", seen)).train()
    ends = [what for what in seen if what[1] == "after"]
    begun = ["a"] if moment == "before_training" else ["b", "a"]
    assert ends == [(name, "after", "RuntimeError") for name in begun]


def test_a_step_counts_once_its_callbacks_are_done(trainer):
    run = trainer(Fail("after_step"))
    with pytest.raises(RuntimeError):
        run.train()
    assert run.step == 0
    with pytest.raises(
        ValueError, match="must be those of whole steps, but step 0 was interrupted amid its update or"
    ):
        run.train()


def test_stop_ends_with_a_checkpoint_and_a_run_may_go_on(trainer):
    run = trainer(Count(until=3))
    assert [record["step"] for record in run.train()] == [0, 1, 2]
    assert [path.name for path in (run.folder / "checkpoints").iterdir()] == ["step-0000003"]
    whole, resumed = trainer(name="whole"), trainer(Count())
    whole.train()
    assert len(resumed.train(resume=True)) == 1
    assert_equal(weights(resumed), weights(whole))


def test_an_interruption_keeps_the_state_of_the_steps_that_count(trainer):
    def report(done, total):
        if done == 3:
            raise KeyboardInterrupt

    seen = []
    run = trainer(Count(), Watch("a", seen))
    with pytest.raises(KeyboardInterrupt):
        run.train(progress=report)
    assert seen[-2:] == [("a", "checkpoint", "step-0000003", True), ("a", "after", "KeyboardInterrupt")]
    (path,) = (run.folder / "checkpoints").iterdir()
    assert json.loads((path / "state.json").read_text())["callbacks"] == {"Count": {"done": 3}}


def test_two_states_under_one_name_are_refused(trainer):
    with pytest.raises(ValueError, match="must be of different classes, but 2 are Count"):
        trainer(Count(), Count())


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({}, "must hold the state of Count, but its load_state fails: KeyError: 'done'"),
        (3, "must be an object, but is 3"),
    ],
)
def test_a_damaged_state_is_refused(state, says, trainer):
    run = trainer(Count())
    run.train(until=2)
    path = run.folder / "checkpoints/step-0000002/state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"callbacks": {"Count": state}}))
    with pytest.raises(DataError, match=says):
        trainer(Count()).train(resume=True)


def test_a_checkpoint_of_before_there_were_callbacks_is_read(trainer):
    run = trainer(Count())
    run.train(until=2)
    path = run.folder / "checkpoints/step-0000002/state.json"
    state = json.loads(path.read_text())
    del state["callbacks"]
    path.write_text(json.dumps(state))
    resumed = trainer(Count())
    assert [record["done"] for record in resumed.train(resume=True)] == [1, 2]


class Keep(Callback):
    """Keeps and logs what it is given."""

    def __init__(self, value):
        self.value = value

    def after_step(self, training, record):
        record["kept"] = self.value

    def state(self):
        return {"kept": self.value}


@pytest.mark.parametrize("value", [np.float32(0.5), np.int64(3), torch.tensor(0.5), np.array([1, 2])])
def test_numbers_of_numpy_and_torch_are_plain_ones(value, trainer):
    run = trainer(Keep(value))
    run.train(until=2)
    (path,) = (run.folder / "checkpoints").iterdir()
    state = json.loads((path / "state.json").read_text())["callbacks"]
    assert state == {"Keep": {"kept": value.tolist()}}
    assert [record["kept"] for record in read_log(run.folder / "train.jsonl")] == [value.tolist()] * 2


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"inner": {1, 2}}, r"\['inner'\] must be plain data, but is a set"),
        ({(1, 2): 3}, r" must have texts as keys, but has \(1, 2\), of the type tuple"),
        ({7: 3}, " must have texts as keys, but has 7, of the type int"),  # would come back as "7"
    ],
    ids=["set", "tuple", "number"],
)
def test_a_state_that_no_checkpoint_can_keep_is_told_before_the_first_step(value, says, trainer):
    run = trainer(Keep(value))
    with pytest.raises(TypeError, match=rf"Keep.state\['kept'\]{says}"):
        run.train()
    assert run.step == 0
