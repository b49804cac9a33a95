"""The time of a training that several calls share."""

import time

import pytest

from notellm.app.config import compose
from notellm.app.pipeline.training_time import clocked, training_seconds
from notellm.app.run import RunFolder


def _interrupted(run):
    with clocked(run):
        time.sleep(0.05)
        raise KeyboardInterrupt


def test_times_of_calls_add_up_however_they_end(tmp_path):
    run = RunFolder.open(compose([f"run_dir={tmp_path / 'run'}"]))
    assert training_seconds(run.path) == 0
    with pytest.raises(KeyboardInterrupt):
        _interrupted(run)
    first = training_seconds(run.path)
    assert 0.05 <= first < 5
    with clocked(run):
        time.sleep(0.05)
    assert first + 0.05 <= training_seconds(run.path) < first + 5
