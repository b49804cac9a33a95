"""What spreadsheets, data frames and warehouses write in their own ways is read right, or refused with its place."""

import decimal
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from notellm.data.interactions import Interactions
from notellm.data.notes import Notes
from notellm.errors import DataError

HEADER = "id,title,content,topics,category\n"
NOTE = {"id": "a", "title": "t", "content": "c", "topics": ["x"], "category": "k"}
SECOND = 1704164645


def log_of(path, *times):
    path.write_text("user,note,time\n" + "".join(f"u,n{i},{time}\n" for i, time in enumerate(times)))
    return Interactions.read(path)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("2024-01-02 03:04:05 UTC", SECOND),
        ("2024-01-02 03:04:05UTC", SECOND),
        ("2024-01-02T03:04:05 GMT", SECOND),
        ("2024-01-02t03:04:05z", SECOND),
        ("2024-01-02 11:04:05 +08:00", SECOND),
        ("2024-01-02 11:04:05 +0800", SECOND),
        ("2024-01-02 04:04:05+01", SECOND),
        ("2024/01/02 03:04:05", SECOND),
        ("2024/1/2 3:04:05", SECOND),
        ("2024-1-2 3:04:05", SECOND),
        ("2024/1/2", 1704153600),
        ("2024/10/12", 1728691200),
    ],
)
def test_dates_with_the_year_first_are_read_however_they_are_written(tmp_path, written, seconds):
    assert log_of(tmp_path / "l.csv", written, written).times.tolist() == [seconds, seconds]


@pytest.mark.parametrize("written", ["02/01/2024", "2.1.2024", "2024/1", "2024/13/45", "2024/1/2 25:00:00"])
def test_dates_that_may_mean_another_day_or_none_are_refused(tmp_path, written):
    with pytest.raises(DataError, match=r"l\.csv:2: time must be .*, but is '"):
        log_of(tmp_path / "l.csv", written)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_times_that_were_rounded_before_are_refused(tmp_path, dtype):
    """Seconds in 32 bits are 128 apart: what happened within two minutes has lost its order."""
    largest = 2048 if dtype is np.float16 else 1.7e9
    table = pa.table({"user": ["u"] * 2, "note": ["a", "b"], "time": np.array([5, largest * 2], dtype)})
    pq.write_table(table, tmp_path / "l.parquet")
    with pytest.raises(DataError, match=r"row 2: time must be exact, but numbers of \d\d bits are rounded"):
        Interactions.read(tmp_path / "l.parquet")
    with pytest.raises(ValueError, match=r"times\[1\] must be exact"):
        Interactions([0, 0], [0, 1], ["u"], ["a", "b"], times=np.array([5, largest * 2], dtype))


@pytest.mark.parametrize(
    ("given", "times"),
    [
        (np.array(["2024-01-02T03", "2024-01-02T04"], "M8[h]"), [1704164400, 1704168000]),
        (np.array(["2024-01", "2025"], "M8[M]"), [1704067200, 1735689600]),
        (np.array([5, 6], ">i8"), [5, 6]),
        (np.array([5, 6], ">f8"), [5, 6]),
    ],
)
def test_arrays_of_any_unit_and_byte_order_are_read(given, times):
    assert Interactions([0, 0], [0, 1], ["u"], ["a", "b"], times=given).times.tolist() == times


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"times": [2**70, 1]}, "times must be times of one kind, but"),
        ({"ticks_per_second": 1.5}, "ticks_per_second must be a whole number of at least 1, but is 1.5"),
        ({"ticks_per_second": float("nan")}, "ticks_per_second must be a whole number of at least 1"),
    ],
)
def test_arrays_that_lose_something_are_refused(bad, message):
    options = {"users": [0, 0], "notes": [0, 1], "user_ids": ["u"], "note_ids": ["a", "b"]} | bad
    with pytest.raises(ValueError, match=message):
        Interactions(**options)


def test_long_integers_of_warehouses_are_ids(tmp_path):
    long = 12345678901234567890123
    ids = pa.array([decimal.Decimal(1), decimal.Decimal(long)], pa.decimal128(38, 0))
    pq.write_table(pa.table({"user": ids, "note": ids}), tmp_path / "l.parquet")
    assert Interactions.read(tmp_path / "l.parquet").user_ids == ["1", str(long)]
    halves = pa.array([decimal.Decimal("1.5")], pa.decimal128(38, 1))
    pq.write_table(pa.table({"user": halves, "note": ["a"]}), tmp_path / "l.parquet")
    with pytest.raises(DataError, match="column 'user' must hold text or integers"):
        Interactions.read(tmp_path / "l.parquet")


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.string(), 2),
        pa.large_list(pa.large_string()),
        pa.list_(pa.dictionary(pa.int32(), pa.string())),
    ],
)
def test_lists_of_any_type_are_hashtags(tmp_path, kind):
    columns = {name: [value] for name, value in NOTE.items()} | {"topics": pa.array([["x", "y"]], kind)}
    pq.write_table(pa.table(columns), tmp_path / "n.parquet")
    assert Notes.read(tmp_path / "n.parquet").topics == [["x", "y"]]


@pytest.mark.parametrize(
    ("cell", "topics"),
    [
        ("array(['tea', 'hot drink'], dtype=object)", ["tea", "hot drink"]),
        ("array(['tea'], dtype='<U3')", ["tea"]),
        ("frozenset({'tea'})", ["tea"]),
        ("deque(['tea', 'mud'])", ["tea", "mud"]),
        ("set()", []),
        ("array([], dtype=object)", []),
        ("set(tea)", ["set(tea)"]),
        ("array of things", ["array of things"]),
    ],
)
def test_lists_as_python_and_numpy_write_them_are_no_hashtags(tmp_path, cell, topics):
    (tmp_path / "n.csv").write_text(f'{HEADER}a,t,c,"{cell}",k\n')
    assert Notes.read(tmp_path / "n.csv").topics == [topics]


def test_an_array_that_is_no_list_of_text_is_refused(tmp_path):
    (tmp_path / "n.csv").write_text(f'{HEADER}a,t,c,"array([1, 2])",k\n')
    with pytest.raises(DataError, match=r"n\.csv:2: topics must be joined by"):
        Notes.read(tmp_path / "n.csv")


@pytest.mark.parametrize("first", ['"sep=;"', "SEP=;", "Sep=;"])
def test_the_line_that_names_the_separator_may_be_quoted_or_in_capitals(tmp_path, first):
    (tmp_path / "n.csv").write_text(first + "\r\n" + HEADER.replace(",", ";") + "a;t, u;c;;k\n")
    assert Notes.read(tmp_path / "n.csv").titles == ["t, u"]


def test_a_header_without_a_line_end_is_an_empty_table(tmp_path):
    (tmp_path / "n.csv").write_text(HEADER.rstrip())
    with pytest.raises(DataError, match=r"n\.csv: must hold at least one row, but is empty"):
        Notes.read(tmp_path / "n.csv")


def test_utf_16_without_a_mark_is_refused_as_such(tmp_path):
    (tmp_path / "n.csv").write_bytes(HEADER.encode("utf-16-le"))
    with pytest.raises(DataError, match=r"n\.csv:1: must be UTF-8, but its column names hold NUL bytes"):
        Notes.read(tmp_path / "n.csv")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"id": "b", "id": "c"}', "must be one JSON object, but has the key 'id' more than once"),
        ('{"id": "b", "x": 1e999}', "must be one JSON object, but has a number that is too large: 1e999"),
        ('{"id": "\\ud800"}', "id must be Unicode text, but has half a surrogate pair"),
        ('{"id": "b", "title": NaN}', "title must hold text, but is NaN"),
        ('{"id": "b"}, ', "must be one JSON object, but is damaged: Extra data"),
        ('{"id": "b", "x": ' + "[" * 99_999, "must be one JSON object, but is nested too deeply"),
    ],
)
def test_json_that_readers_take_differently_is_refused_with_its_line(tmp_path, line, problem):
    (tmp_path / "n.jsonl").write_text(json.dumps(NOTE) + "\n" + line + "\n")
    with pytest.raises(DataError, match=rf"n\.jsonl:2: {problem}"):
        Notes.read(tmp_path / "n.jsonl")


@pytest.mark.parametrize("time", ["NaN", "Infinity", "-Infinity"])
def test_a_time_in_json_that_is_no_number_is_refused_with_its_line(tmp_path, time):
    (tmp_path / "l.jsonl").write_text(
        f'{{"user": "u", "note": "a", "time": 5.5}}\n{{"user": "u", "note": "b", "time": {time}}}\n'
    )
    with pytest.raises(
        DataError, match=rf"l\.jsonl:2: time must hold times, as in the first row, but is {time}"
    ):
        Interactions.read(tmp_path / "l.jsonl")
