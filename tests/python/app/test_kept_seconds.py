"""The time of work that several calls share."""

import time

import pytest

from notellm.app.kept_seconds import SWEEP_TIME, TRAINING_TIME
from notellm.errors import DataError

KINDS = pytest.mark.parametrize("kept", [TRAINING_TIME, SWEEP_TIME])


def _interrupted(kept, folder):
    with kept.clocked(folder):
        time.sleep(0.05)
        raise KeyboardInterrupt


@KINDS
def test_times_of_calls_add_up_however_they_end(kept, tmp_path):
    assert kept.of(tmp_path) == 0
    with pytest.raises(KeyboardInterrupt):
        _interrupted(kept, tmp_path)
    first = kept.of(tmp_path)
    assert 0.05 <= first < 5
    with kept.clocked(tmp_path):
        time.sleep(0.05)
    assert first + 0.05 <= kept.of(tmp_path) < first + 5


@KINDS
def test_what_is_forgotten_meanwhile_does_not_count(kept, tmp_path):
    kept.add(tmp_path, 1000)
    with kept.clocked(tmp_path):
        kept.forget(tmp_path)
    assert kept.of(tmp_path) < 5


def test_a_damaged_file_stops_a_training_before_it_begins(tmp_path):
    (tmp_path / TRAINING_TIME.file).write_text("{}")
    worked = False
    with pytest.raises(DataError, match="seconds"), TRAINING_TIME.clocked(tmp_path):
        worked = True
    assert not worked


def test_a_damaged_file_of_what_no_result_shows_counts_as_none(tmp_path):
    (tmp_path / SWEEP_TIME.file).write_text("{")
    with SWEEP_TIME.clocked(tmp_path):
        pass
    assert SWEEP_TIME.of(tmp_path) < 5
