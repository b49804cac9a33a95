"""Swing and the samples on Spark: logs and options drawn by Hypothesis, and what the samples know users by."""

import os
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
    pytest.skip("mining on Spark needs Java, which is not here", allow_module_level=True)
pytest.importorskip("pyspark", reason="mining on Spark needs pyspark, which is not installed")

from mining_reference import logs, options, word
from notellm.data import Interactions, Notes
from notellm.errors import DataError
from notellm.mining import mine_pairs
from notellm.spark import log_frame, mine_pairs_on_spark, notes_frame, read_log, read_notes, samples
from notellm.spark.words import with_word

pytestmark = pytest.mark.filterwarnings(
    "ignore:mine_pairs. with max_gap_seconds"
)  # true of logs of a few events


def check_equal(session, log, **chosen):
    """The pairs, the exposure and the report of the core, to the last bit."""
    expected = mine_pairs(log, **chosen)
    mined = mine_pairs_on_spark(
        log_frame(session, log), notes_frame(session, log.note_ids), ordered=log.ordered, **chosen
    )
    found = mined.to_pairs(log.note_ids)
    mined.unpersist()
    for name in ("source", "target", "score", "users"):
        assert getattr(found, name).tobytes() == getattr(expected, name).tobytes()
    for name in ("events", "views", "clicks", "users"):
        assert getattr(found.exposure, name).tolist() == getattr(expected.exposure, name).tolist()
    assert found.report == expected.report


def check_drawn(session, data):
    drawn = data.draw(logs().filter(lambda log: len(log.users) > 0))  # a frame without rows has no types
    chosen = data.draw(options(drawn))
    if not (chosen["sample_user_notes"] or chosen["sample_note_users"]):
        chosen["sample_note_users"] = 3
    log = Interactions(
        drawn.users,
        drawn.notes,
        drawn.user_ids,
        drawn.note_ids,
        times=drawn.times,
        events=drawn.events,
        ordered=drawn.ordered,
    )
    check_equal(session, log, **chosen)


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.data())
def test_equals_the_core_on_drawn_logs(session, data):
    check_drawn(session, data)


@pytest.mark.slow
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_equals_the_core_on_many_drawn_logs(session, data):
    check_drawn(session, data)


def test_words_are_those_of_the_core(session):
    numbers = [0, 1, -1, 2**62, -(2**63), 2**63 - 1, 12345]
    rows = [(a, b) for a in numbers for b in numbers]
    mode = session.conf.get("spark.sql.ansi.enabled")
    frame = with_word(session.createDataFrame(rows, "a bigint, b bigint"), "word", (2**62 + 1, 2), ("a", "b"))
    assert session.conf.get("spark.sql.ansi.enabled") == mode
    for row in frame.collect():
        assert row.word % 2**64 == word(2**62 + 1, 2, row.a % 2**64, row.b % 2**64)


@pytest.fixture
def files(tmp_path):
    """A log whose users have names, in no order; and its notes."""
    random = np.random.default_rng(1)
    users, notes = random.integers(0, 40, 400), random.integers(0, 12, 400)
    ids = [f"n{note}" for note in random.permutation(12)]
    names = np.array([f"u{user}" for user in random.permutation(40)])
    pq.write_table(pa.table({"user": names[users], "note": np.array(ids)[notes]}), tmp_path / "log.parquet")
    Notes(ids, ids, ids, [[]] * 12, [""] * 12).write(tmp_path / "notes.parquet")
    return tmp_path


@pytest.mark.parametrize("ordered", [True, False])
def test_users_are_numbered_as_they_first_appear(session, files, monkeypatch, ordered):
    monkeypatch.setattr(samples, "_ROWS_TOGETHER", 3)  # so that there are several blocks
    log = Interactions.read(files / "log.parquet", notes=Notes.read(files / "notes.parquet"), ordered=ordered)
    frame = read_log(session, str(files / "log.parquet"))
    numbers = {row.user: row.number for row in samples.user_numbers(frame).collect()}
    assert numbers == {name: number for number, name in enumerate(log.user_ids)}
    chosen = {"score": "swing", "lower": 0, "sample_user_notes": 5, "sample_note_users": 7}
    expected = mine_pairs(log, **chosen)
    notes = read_notes(session, str(files / "notes.parquet"))
    found = mine_pairs_on_spark(frame, notes, ordered=ordered, **chosen)
    assert found.report == expected.report
    assert found.to_pairs(log.note_ids).to_table() == expected.to_table()
    found.unpersist()


def test_samples_need_numbers_of_users(session):
    notes = session.createDataFrame([("a", 0)], "id string, index bigint")
    log = session.createDataFrame([("u", "a")], "user string, note string")
    with pytest.raises(
        DataError, match="log: column 'row' must be there, but .*; try notellm.spark.read_log"
    ):
        mine_pairs_on_spark(log, notes, ordered=False, sample_user_notes=1)
    log = session.createDataFrame([("u", "a", None)], "user string, note string, user_index bigint")
    with pytest.raises(DataError, match=r"log \(user 'u'\): user_index must be given, but is null"):
        mine_pairs_on_spark(log, notes, ordered=False, sample_user_notes=1)
