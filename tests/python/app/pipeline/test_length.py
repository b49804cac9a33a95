"""A long training is announced after two steps, with what would make it shorter."""

import pytest

from notellm.app.config import compose
from notellm.app.pipeline import length
from notellm.app.pipeline.length import LengthNotice, what_shortens
from notellm.progress import Display


class Shown(Display):
    def __init__(self):
        super().__init__("training", "steps", "step")
        self.now, self.said = 0.0, []
        self.pace._clock = lambda: self.now
        self.pace._begin = 0.0

    def say(self, text):
        self.said.append(text)

    def _show(self):
        pass


def trained(seconds, begin=0, total=60, overrides=()):
    """What is said when steps end at these seconds."""
    display = Shown()
    notice = LengthNotice(display, compose(["experiment=demo", *overrides]), layers=30)
    for done, display.now in enumerate([0.0, *seconds], begin):
        notice(done, total)
    return display.said


def test_a_long_training_is_announced_once_after_two_steps():
    assert trained([300]) == []
    said = trained([300, 340, 380, 420])
    assert len(said) == 1
    assert said[0].startswith("39 min to go (58 steps, 40.0 s a step); Ctrl-C keeps what is done; shorter ")
    assert "train.max_steps=45 (half an hour)" in said[0]


def test_the_first_step_alone_makes_nothing_long():
    assert trained([300, 330]) == []  # 58 steps of 30 s are 29 minutes


def test_a_run_that_goes_on_is_measured_by_its_own_steps():
    assert trained([300, 340], begin=2) != []
    assert trained([300, 340], begin=30) == []  # 28 steps are left


def test_only_what_would_help_is_named(native_bf16, monkeypatch):
    native_bf16(False)
    monkeypatch.setattr(length, "available_cores", lambda: 8)
    config = compose(["experiment=demo", "dtype=bf16", "train.micro_pairs=4", "threads=2"])
    assert what_shortens(config, 30, 12) == (
        "with threads=8, train.micro_pairs=0 (more memory) or in another run_dir with train.max_steps=12 (half an "
        "hour), train.pairs_per_step=12 (half the work a step), model.layers=15 (half the model), "
        "prompt.content_tokens=16, dtype=fp32"
    )
    config = compose(
        ["experiment=demo", "dtype=fp32", "train.pairs_per_step=4", "prompt.content_tokens=16", "threads=0"]
    )
    assert what_shortens(config, 2, 12) == "in another run_dir with train.max_steps=12 (half an hour)"


@pytest.mark.parametrize(("is_native", "faster"), [(True, "bf16"), (False, "fp32")])
def test_the_dtype_is_that_of_the_machine(is_native, faster, native_bf16):
    native_bf16(is_native)
    for dtype in ("bf16", "fp32"):
        said = what_shortens(compose(["experiment=demo", f"dtype={dtype}"]), 30, 12)
        assert said.endswith(f", dtype={faster}") == (dtype != faster)
