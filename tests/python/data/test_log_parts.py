"""A log in parts is read as the log that all its rows make."""

import json
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notellm.data import coding, tables
from notellm.data.interactions import Interactions
from notellm.data.notes import Notes
from notellm.errors import DataError

NOTES = Notes(["a", "b", "c"], [""] * 3, [""] * 3, [[]] * 3, [""] * 3)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr(tables, "PART_ROWS", 3)
    monkeypatch.setattr(coding, "_FEW", 2)


def write(path, rows):
    """Writes rows, all with the same columns; of CSV with a header even if there is none."""
    if path.suffix == ".parquet":
        columns = (
            {name: [row[name] for row in rows] for name in rows[0]} if rows else {"user": [], "note": []}
        )
        pq.write_table(pa.table(columns), path, row_group_size=2)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)] if rows else []
        path.write_text("".join(line + "\n" for line in lines))
    return path


def write_parts(folder, suffix, rows, cuts):
    folder.mkdir()
    bounds = [0, *sorted(cuts), len(rows)]
    for number, (begin, end) in enumerate(zip(bounds, bounds[1:], strict=False)):
        if begin < end or suffix != ".parquet":
            write(folder / f"part-{number:05d}{suffix}", rows[begin:end])
    return folder


def numbered(values):
    """Codes by first appearance, and the values as text."""
    known = {}
    codes = [known.setdefault(str(value), len(known)) for value in values]
    return codes, list(known)


def columns_of(log):
    return [log.users, log.notes, log.times, log.events]


IDS = st.sampled_from(["u", "v", "007", "7", "\u00e9", "x y"]) | st.text("abc", min_size=1, max_size=2)


@st.composite
def rows(draw):
    ids = draw(st.sampled_from([IDS, st.integers(0, 9), st.integers(2**62, 2**63 - 1)]))
    made = {"user": ids, "note": ids}
    if draw(st.booleans()):
        made["time"] = draw(st.sampled_from([st.integers(-9, 9), st.sampled_from([1.5, 2.0, 0.25, -3.001])]))
    if draw(st.booleans()):
        made["event"] = st.sampled_from(["view", "click"])
    found = draw(st.lists(st.fixed_dictionaries(made), min_size=1, max_size=30))
    return [{name: row[name] for name in made} for row in found]  # in one order, for CSV


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_folder_is_read_as_one_file_of_all_rows(tmp_path_factory, data):
    given_rows = data.draw(rows())
    cuts = data.draw(st.lists(st.integers(0, len(given_rows)), max_size=5))
    suffix = data.draw(st.sampled_from([".parquet", ".csv", ".jsonl"]))
    folder = tmp_path_factory.mktemp("parts")
    (users, user_ids), (notes, note_ids) = (
        numbered([row[name] for row in given_rows]) for name in ("user", "note")
    )
    files = [
        write(folder / f"log{suffix}", given_rows),
        write_parts(folder / "log", suffix, given_rows, cuts),
    ]
    for log in map(Interactions.read, files):
        assert (log.users.tolist(), log.user_ids) == (users, user_ids)
        assert (log.notes.tolist(), log.note_ids) == (notes, note_ids)
        assert (log.users.dtype, log.notes.dtype) == (np.int64, np.int64)
        if "time" in given_rows[0]:
            times = [Decimal(str(row["time"])) for row in given_rows]
            assert [Decimal(int(time)) / log.ticks_per_second for time in log.times] == times
        if "event" in given_rows[0]:
            assert log.events.tolist() == [["view", "click"].index(row["event"]) for row in given_rows]
        assert log.report.rows == len(given_rows)
    one, parts = map(Interactions.read, files)
    assert one.ticks_per_second == parts.ticks_per_second
    for a, b in zip(columns_of(one), columns_of(parts), strict=True):
        assert (a is None and b is None) or a.tobytes() == b.tobytes()
    known = Notes(sorted(note_ids), *[[""] * len(note_ids)] * 2, [[]] * len(note_ids), [""] * len(note_ids))
    log = Interactions.read(files[1], notes=known)
    assert [log.note_ids[note] for note in log.notes] == [str(row["note"]) for row in given_rows]


def test_parts_are_in_the_order_of_their_names_and_others_are_no_parts(tmp_path):
    for name, user in (("part-10", "z"), ("part-02", "y"), ("_SUCCESS", ""), (".part-02.crc", "")):
        suffix = ".csv" if user else ""
        (tmp_path / f"{name}{suffix}").write_text(f"user,note\n{user},a\n" if user else "")
    (tmp_path / "part-05.csv").write_text("")
    assert Interactions.read(tmp_path).user_ids == ["y", "z"]


def test_units_of_times_are_those_of_the_whole_log(tmp_path):
    write_parts(tmp_path / "log", ".csv", [{"user": "u", "note": "a", "time": t} for t in ("1", "2.5")], [1])
    log = Interactions.read(tmp_path / "log")
    assert (log.times.tolist(), log.ticks_per_second) == ([1000, 2500], 1000)


ROW = {"user": "u", "note": "a", "time": "1"}


@pytest.mark.parametrize(
    ("first", "second", "problem"),
    [
        (
            [ROW],
            [{"user": "u", "note": "a"}],
            r"part-00001.csv: columns must be those of part-00000.csv \(user, ",
        ),
        (
            [ROW],
            [ROW | {"time": "2024-01-02"}],
            "part-00001.csv:2: time must be numbers, as in the first part ",
        ),
        (
            [ROW | {"time": "2024-01-02 00:00:00"}],
            [ROW | {"time": "2024-01-02 00:00:00Z"}],
            "time must be dates and times without a zone, .*, but is dates and times with a zone",
        ),
        ([ROW], [ROW, ROW | {"note": "d"}], "part-00001.csv:3: note must be an id of the notes, but is 'd'"),
        ([ROW], [ROW, ROW | {"user": ""}], "part-00001.csv:3: user must be given, but is empty"),
        ([ROW], [ROW | {"time": "soon"}], "part-00001.csv:2: time must be a number"),
        (
            [ROW | {"time": 2**62}],
            [ROW | {"time": "0.5"}],
            "part-00000.csv:2: times must fit in 64 bits in one unit, but do not",
        ),
    ],
)
def test_faults_of_parts_name_their_file_and_row(tmp_path, first, second, problem):
    folder = write_parts(tmp_path / "log", ".csv", first + second, [len(first)])
    write(folder / "part-00001.csv", second)
    with pytest.raises(DataError, match=problem):
        Interactions.read(folder, notes=NOTES)


def test_faults_of_a_large_parquet_file_name_its_row(tmp_path):
    many = [{"user": "u", "note": "a", "event": "view"}] * 10
    for name, value, problem in (
        ("note", "d", "note must be an id of the notes, but is 'd'"),
        ("user", "", "user must be given, but is empty"),
        ("user", None, "user must be given, but is null"),
        ("event", "tap", "event must be view or click, but is 'tap'"),
    ):
        path = write(tmp_path / "l.parquet", [*many, many[0] | {name: value}])
        with pytest.raises(DataError, match=f"l.parquet: row 11: {problem}"):
            Interactions.read(path, notes=NOTES)


def test_a_folder_without_rows_or_with_folders_is_refused(tmp_path):
    with pytest.raises(DataError, match="must hold files, but holds none"):
        Interactions.read(tmp_path)
    write(tmp_path / "a.parquet", [])
    with pytest.raises(DataError, match="must hold at least one row, but is empty"):
        Interactions.read(tmp_path)
    (tmp_path / "day=1").mkdir()
    with pytest.raises(DataError, match="must hold files alone, but day=1 is a folder"):
        Interactions.read(tmp_path)
    with pytest.raises(FileNotFoundError, match="must be a file or a folder of files, but does not exist"):
        Interactions.read(tmp_path / "none")


def test_a_log_without_times_that_counts_as_ordered_says_so(tmp_path):
    (tmp_path / "log.csv").write_text("user,note\nu,a\nu,b\n")
    log = Interactions.read(tmp_path / "log.csv")
    assert log.ordered
    assert "2 events without a time, so that their rows' order counts" in log.report.describe()
    assert Interactions.read(tmp_path / "log.csv", ordered=False).report.changes == {}
    (tmp_path / "log.csv").write_text("user,note,time\nu,a,1\nu,b,2\n")
    assert Interactions.read(tmp_path / "log.csv").report.changes == {}
