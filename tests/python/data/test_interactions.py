import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from notellm.data.interactions import Interactions
from notellm.data.notes import Notes
from notellm.errors import DataError

NOTES = Notes(["a", "b", "c"], [""] * 3, [""] * 3, [[]] * 3, [""] * 3)


def csv(path, *lines):
    path.write_text("\n".join([*lines, ""]))
    return path


def fault(path, pattern, **options):
    with pytest.raises(DataError, match=rf"{path.name}{pattern}") as caught:
        Interactions.read(path, **options)
    assert "\n" not in str(caught.value)


def test_a_log_is_numbered_by_the_notes_it_is_about(tmp_path):
    path = csv(tmp_path / "l.csv", "user,note,time,event", "u,c,5,view", "v,a,-3,click", "u,a,5,click")
    log = Interactions.read(path, notes=NOTES)
    assert log.users.tolist() == [0, 1, 0]
    assert log.user_ids == ["u", "v"]
    assert log.notes.tolist() == [2, 0, 0]
    assert log.note_ids == NOTES.ids
    assert log.times.tolist() == [5, -3, 5]
    assert log.events.tolist() == [0, 1, 1]
    assert (log.users.dtype, log.notes.dtype, log.times.dtype) == (np.int64,) * 3
    assert log.events.dtype == np.int8
    assert log.ordered
    assert len(log) == 3


def test_a_log_without_notes_numbers_them_as_they_come(tmp_path):
    log = Interactions.read(csv(tmp_path / "l.csv", "user,note", "u,c", "u,a", "v,c"), ordered=False)
    assert log.notes.tolist() == [0, 1, 0]
    assert log.note_ids == ["c", "a"]
    assert log.times is None
    assert log.events is None
    assert not log.ordered


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
@pytest.mark.parametrize("has_more", [True, False])
def test_what_was_written_is_read(tmp_path, suffix, has_more):
    log = Interactions(
        np.array([0, 1, 0, 1]),
        np.array([2, 2, 0, 1]),
        ["7", "007"],
        NOTES.ids,
        np.array([2**60, 1, 2, 3]) if has_more else None,
        np.array([0, 1, 1, 0], np.int8) if has_more else None,
    )
    log.write(tmp_path / f"l{suffix}")
    again = Interactions.read(tmp_path / f"l{suffix}", notes=NOTES)
    assert again.user_ids == log.user_ids
    for name in ("users", "notes", "times", "events"):
        np.testing.assert_array_equal(getattr(again, name), getattr(log, name))


def test_integer_keys_and_whole_numbers_of_any_type_are_taken(tmp_path):
    rows = {"user": [8, 9], "note": ["a", "b"], "time": [3.0, 4.0]}
    pq.write_table(pa.table(rows), tmp_path / "l.parquet")
    log = Interactions.read(tmp_path / "l.parquet", notes=NOTES)
    assert log.user_ids == ["8", "9"]
    assert log.times.tolist() == [3, 4]
    rows["time"] = pa.array([1000, 2000], pa.timestamp("ms"))
    pq.write_table(pa.table(rows), tmp_path / "l.parquet")
    assert Interactions.read(tmp_path / "l.parquet").times.tolist() == [1, 2]


def test_columns_may_have_other_names(tmp_path):
    path = csv(tmp_path / "l.csv", "user,item,timestamp", "u,a,1")
    columns = {"note": "item", "time": "timestamp"}
    assert Interactions.read(path, columns=columns).times.tolist() == [1]
    columns["time"] = ""
    assert Interactions.read(path, columns=columns).times is None


def test_an_optional_column_that_seems_misspelt_is_not_dropped_in_silence(tmp_path):
    path = csv(tmp_path / "l.csv", "user,note,timestamp", "u,a,1")
    fault(path, r": column 'time' must be there, .*try columns=\{'time': 'timestamp'\}, or 'time': '' if")


@pytest.mark.parametrize("before", [999, 1000, 1500])
@pytest.mark.parametrize(("row", "name"), [({"time": 5}, "time"), ({"event": "view"}, "event")])
def test_an_optional_column_that_begins_late_is_not_dropped_in_silence(tmp_path, before, row, name):
    path = tmp_path / "l.jsonl"
    pair = {"user": "u", "note": "a"}
    path.write_text("".join(json.dumps(one) + "\n" for one in [*[pair] * before, pair | row]))
    fault(path, f":1: {name} must be given, but is null")
    assert Interactions.read(path, columns={name: ""}).times is None


def test_a_text_or_an_inner_key_is_no_optional_column(tmp_path):
    row = {"user": "u", "note": "a", "kind": "time", "inner": {"event": "view"}}
    path = tmp_path / "l.jsonl"
    path.write_text((json.dumps(row) + "\n") * 1001)
    log = Interactions.read(path)
    assert (len(log), log.times, log.events) == (1001, None, None)


def test_an_unknown_note_names_its_row(tmp_path):
    path = csv(tmp_path / "l.csv", "user,note", "u,a", "", "v,zz")
    fault(path, ":4: note must be an id of the notes, but is 'zz'", notes=NOTES)
    pq.write_table(pa.table({"user": ["u", "u"], "note": ["a", "zz"]}), tmp_path / "l.parquet")
    fault(tmp_path / "l.parquet", ": row 2: note must be an id of the notes", notes=NOTES)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("v,,1,view", ":3: note must be given, but is empty"),
        (",a,1,view", ":3: user must be given, but is empty"),
        ("v,a,soon,view", ":3: time must be a number with at most nine decimals, or a date.* but is 'soon'"),
        ("v,a,,view", ":3: time must be a number .*but is ''"),
        ("v,a,1.0123456789,view", ":3: time must be a number with at most nine decimals, .*'1.0123456789'"),
        ("v,a,1,buy", ":3: event must be view or click, but is 'buy'"),
        ("v,a,1", ":3: must have 4 columns, but has 3"),
    ],
)
def test_a_bad_value_names_its_line(tmp_path, line, problem):
    fault(csv(tmp_path / "l.csv", "user,note,time,event", "u,a,0,view", line), problem)


def test_a_bad_value_in_jsonl_names_its_line(tmp_path):
    rows = [{"user": 1, "note": "a", "time": 1}, {"user": 2, "note": "a", "time": [1]}]
    path = csv(tmp_path / "l.jsonl", *map(json.dumps, rows))
    fault(path, r":2: time must hold times, as in the first row, but is \[1\]")
    rows[1] = {"user": "2", "note": "a", "time": 1}
    fault(csv(path, *map(json.dumps, rows)), ":2: user must hold text or integers, as in the first row")
    rows[1] = {"user": 2, "note": "a"}
    fault(csv(path, *map(json.dumps, rows)), ":2: time must be given, but is null")


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ([1.0, float("nan")], ": row 2: time must be a number .* but is 'nan'"),
        ([1, None], ": row 2: time must be given, but is null"),
        (
            [True, False],
            r": column 'time' must hold times \(numbers, text, dates or timestamps\), but holds bool",
        ),
    ],
)
def test_a_bad_time_in_parquet_names_its_row(tmp_path, values, problem):
    table = pa.table({"user": ["u", "u"], "note": ["a", "b"], "time": values})
    pq.write_table(table, tmp_path / "l.parquet")
    fault(tmp_path / "l.parquet", problem)


def test_a_missing_column_lists_what_there_is(tmp_path):
    path = csv(tmp_path / "l.csv", "user,item", "u,a")
    fault(path, r": column 'note' must be there, but the columns are user, item; try columns=\{'note': ")


def test_arrays_must_fit_together():
    zeros = np.zeros(2, np.int64)
    with pytest.raises(ValueError, match=r"notes must have shape \(2,\), but has \(1,\)"):
        Interactions(zeros, zeros[:1], ["u"], ["a"])
    with pytest.raises(ValueError, match=r"notes must be in \[0, 1\), but are in \[0, 1\]"):
        Interactions(zeros, np.array([0, 1]), ["u"], ["a"])
    with pytest.raises(ValueError, match=r"events must be in \[0, 2\)"):
        Interactions(zeros, zeros, ["u"], ["a"], events=np.array([0, 2], np.int8))


def test_arrays_of_a_log_are_settled_exactly():
    made = Interactions([0, 0], [0, 1], ["u"], ["a", "b"], times=[1700000000.9, 1700000000.2])
    assert (made.times.tolist(), made.ticks_per_second) == ([1700000000900, 1700000000200], 1000)
    days = Interactions(
        [0, 0], [0, 1], ["u"], ["a", "b"], times=np.array(["2024-01-02", "2024-01-03"], "M8[D]")
    )
    assert (days.times.tolist(), days.ticks_per_second) == ([1704153600, 1704240000], 1)
    given = Interactions([0, 0], [0, 1], ["u"], ["a", "b"], times=[5, 6], ticks_per_second=1000)
    assert given.of_users(np.array([True])).ticks_per_second == 1000
    for bad in ({"times": [1.0, float("nan")]}, {"times": ["soon", "later"]}, {"users": [0.5, 0.5]}):
        options = {"users": [0, 0], "notes": [0, 1], "user_ids": ["u"], "note_ids": ["a", "b"]} | bad
        with pytest.raises(ValueError, match="Interactions: (times|users)"):
            Interactions(**options)
    with pytest.raises(ValueError, match="must be whole numbers"):
        Interactions([0, 0], [0, 1], ["u"], ["a", "b"], times=[0.5, 1.5], ticks_per_second=1000)
