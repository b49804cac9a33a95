"""The same content in Parquet, CSV and JSON lines is read as the same; what cannot be read right is refused."""

import csv
import datetime as dt
import decimal
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from notellm.data import lines, tables
from notellm.data.interactions import Interactions
from notellm.data.notes import Notes
from notellm.errors import DataError

SUFFIXES = [".parquet", ".csv", ".jsonl"]
FRAMES = ["pandas", "polars", "pyarrow", "stream", "datasets", "iterable"]
HEADER = ["id", "title", "content", "topics", "category"]


def write(path, rows, separator=",", prefix=b"", encoding="utf-8"):
    """The same cells in the form of the suffix, not written by the code under test."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        lines_ = [json.dumps(row, ensure_ascii=False, default=str) for row in rows]
        path.write_bytes(prefix + "\n".join(lines_).encode(encoding))
    else:
        file = io.StringIO(newline="")
        writer = csv.DictWriter(file, rows[0], delimiter=separator)
        writer.writeheader()
        writer.writerows(rows)
        path.write_bytes(prefix + file.getvalue().encode(encoding))
    return path


def given(tmp_path, form, rows, name="n"):
    """The same cells as a file with a form's suffix, or as a frame."""
    if form.startswith("."):
        return write(tmp_path / f"{name}{form}", rows)
    if form in ("pyarrow", "stream"):
        table = pa.Table.from_pylist(rows)
        return table if form == "pyarrow" else table.to_reader(max_chunksize=1)
    if form in ("datasets", "iterable"):
        found = pytest.importorskip("datasets").Dataset.from_list(rows)
        return found if form == "datasets" else found.to_iterable_dataset()
    return pytest.importorskip(form).DataFrame(rows)


def read(kind, source, **options):
    return (kind.read if isinstance(source, Path) else kind.from_frame)(source, **options)


NAMES = {
    "pandas": "pandas.DataFrame",
    "polars": "polars.DataFrame",
    "pyarrow": "pyarrow.Table",
    "stream": "pyarrow.RecordBatchReader",
    "datasets": "datasets.Dataset",
    "iterable": "datasets.IterableDataset",
}


def place(form, name="n", row=2):
    """How messages name a row of what `given` returns."""
    lines_ = {
        ".csv": f"{name}.csv:{row + 1}",
        ".jsonl": f"{name}.jsonl:{row}",
        ".parquet": f"{name}.parquet: row {row}",
    }
    return lines_.get(form) or f"{NAMES[form]}: row {row}"


def note(**fields):
    return {"id": "a", "title": "t", "content": "c", "topics": "", "category": "k"} | fields


ANY_TEXT = [
    "",
    "a\nb",
    "a\rb",
    "a\r\nb",
    ' "x", ',
    "007",
    "NA",
    "null",
    "x\u2028y",
    "\ufeffx",
    "[1]",
    "#話题 ü",
    "a\tb;c",
]


@pytest.mark.parametrize("form", SUFFIXES + FRAMES)
def test_texts_and_ids_of_any_form(tmp_path, form):
    rows = [
        note(id=f"{i}{text}", title=text, content=text + "x", category=text)
        for i, text in enumerate(ANY_TEXT)
    ]
    rows.append(note(id="x" * 300_000))
    notes = read(Notes, given(tmp_path, form, rows))
    assert notes.ids == [row["id"] for row in rows]
    assert notes.titles == [row["title"] for row in rows]
    assert notes.contents == [row["content"] for row in rows]
    assert notes.categories == [row["category"] for row in rows]


TOPIC_CELLS = [
    ("tea|hot drink", ["tea", "hot drink"]),
    (str(["tea", "hot drink"]), ["tea", "hot drink"]),
    (json.dumps(["tea", "hot drink"]), ["tea", "hot drink"]),
    (json.dumps(["话题", "a|b"]), ["话题", "a|b"]),
    (json.dumps(["话题"], ensure_ascii=False), ["话题"]),
    (str(["it's", 'say "x"', "back\\slash"]), ["it's", 'say "x"', "back\\slash"]),
    (str(("tea", "mud")), ["tea", "mud"]),
    ("[]", []),
    ("[ ]", []),
    ("", []),
    ("['tea', None, nan]", ["tea"]),
    ("tea, hot drink", ["tea", "hot drink"]),
    ("(tea)", ["(tea)"]),
    (" games ||games|", ["games"]),
    ("摄影，旅行", ["摄影", "旅行"]),
]


@pytest.mark.parametrize("form", SUFFIXES + FRAMES)
def test_lists_in_a_cell(tmp_path, form):
    rows = [note(id=str(i), topics=cell) for i, (cell, _) in enumerate(TOPIC_CELLS)]
    notes = read(Notes, given(tmp_path, form, rows))
    assert notes.topics == [topics for _, topics in TOPIC_CELLS]
    assert notes.report.changes["cells read as lists"] == 9


@pytest.mark.parametrize("form", SUFFIXES + FRAMES)
@pytest.mark.parametrize("cell", ["[tea, hot drink]", "['tea' 'mud']", '["tea"', "[1, 2]", '["a", ["b"]]'])
def test_a_cell_that_is_nearly_a_list_is_refused_or_plain(tmp_path, form, cell):
    source = given(tmp_path, form, [note(topics="x"), note(id="b", topics=cell)])
    if cell.endswith("]"):
        with pytest.raises(DataError, match=rf'{place(form)}: topics must be joined by .* like \["tea"'):
            read(Notes, source)
    else:
        assert read(Notes, source).topics[1] == [cell]


@pytest.mark.parametrize("form", [".parquet", ".jsonl", *FRAMES])
def test_lists_and_text_give_the_same_hashtags(tmp_path, form):
    lists = [note(topics=["Salt Lake City, Utah", " tea", "tea ", "", None, "a|b", "two\nlines"])]
    notes = read(Notes, given(tmp_path, form, lists))
    assert notes.topics == [["Salt Lake City", "Utah", "tea", "a|b", "two lines"]]
    assert dict(notes.report.changes) == {
        "hashtags split at a separator": 1,
        "hashtags rid of needless white space, or put in normal form C": 3,
        "hashtags left out as repeated": 1,
        "hashtags left out as empty": 2,
    }
    as_cell = [note(topics=json.dumps(lists[0]["topics"]))]
    assert Notes.read(write(tmp_path / "n.csv", as_cell)).topics == notes.topics


UTC = dt.UTC
EARLY = dt.datetime(2024, 1, 2, 3, 4, 5)
LATE = dt.datetime(2024, 1, 2, 3, 4, 5, 250_000)
SECOND = 1704164645

TIMES = [
    ([5, -3], [5, -3], 1),
    ([2**60 + 1, 1], [2**60 + 1, 1], 1),
    ([3.0, 4.0], [3, 4], 1),
    ([1700000000.9, 1700000000.2], [1700000000900, 1700000000200], 1000),
    ([0.1, 1e-9], [100_000_000, 1], 10**9),
    ([1700000000.123457, 0.5], [1700000000123457, 500_000], 10**6),
    (["1700000000", " 5 "], [1700000000, 5], 1),
    (["1.7e9", "0.25"], [1700000000_000, 250], 1000),
    (["2024-01-02 03:04:05", "2024-01-02T03:04:06"], [SECOND, SECOND + 1], 1),
    (["2024-01-02T03:04:05Z", "2024-01-02 11:04:06+08:00"], [SECOND, SECOND + 1], 1),
    (["2024-01-02", "2024-01-03"], [1704153600, 1704240000], 1),
    (["2024-01-02 03:04:05.25", "2024-01-02 03:04"], [SECOND * 1000 + 250, (SECOND - 5) * 1000], 1000),
    (["2024-01-02 03:04:05.000000001", "1970-01-01"], [SECOND * 10**9 + 1, 0], 10**9),
    (["2500-01-01 00:00:00.5", "1500-01-01"], [16725225600500, -14831769600000], 1000),
]


def log(times):
    return [{"user": "u", "note": f"n{i}", "time": time} for i, time in enumerate(times)]


@pytest.mark.parametrize("form", SUFFIXES + FRAMES)
@pytest.mark.parametrize(("values", "times", "ticks"), TIMES)
def test_times_are_read_exactly(tmp_path, form, values, times, ticks):
    made = read(Interactions, given(tmp_path, form, log(values)))
    assert (made.times.tolist(), made.ticks_per_second) == (times, ticks)
    assert made.times.dtype == np.int64
    for again in [*SUFFIXES, "arrow"]:
        if again == "arrow":
            same = Interactions.from_frame(made)
        else:
            made.write(tmp_path / f"again{again}")
            same = Interactions.read(tmp_path / f"again{again}")
        assert np.array_equal(same.times * made.ticks_per_second, made.times * same.ticks_per_second)


@pytest.mark.parametrize(
    ("values", "times", "ticks"),
    [
        (pa.array([EARLY, EARLY], pa.timestamp("ns")), [SECOND] * 2, 1),
        (pa.array([EARLY, LATE], pa.timestamp("ns")), [SECOND * 1000, SECOND * 1000 + 250], 1000),
        (pa.array([EARLY, LATE], pa.timestamp("ms", "UTC")), [SECOND * 1000, SECOND * 1000 + 250], 1000),
        (pa.array([EARLY, EARLY], pa.timestamp("us", "Asia/Shanghai")), [SECOND] * 2, 1),
        (pa.array([EARLY.date(), LATE.date()], pa.date32()), [1704153600] * 2, 1),
        (pa.array([EARLY.date(), LATE.date()], pa.date64()), [1704153600] * 2, 1),
        (
            pa.array([decimal.Decimal(1700000000), decimal.Decimal(1)], pa.decimal128(38, 0)),
            [1700000000, 1],
            1,
        ),
        (pa.array([decimal.Decimal("1.5"), decimal.Decimal("-2.25")]), [1500, -2250], 1000),
        (pa.array([2**63 - 1, 5], pa.uint64()), [2**63 - 1, 5], 1),
        (pa.array(["7", "8"]).dictionary_encode(), [7, 8], 1),
    ],
)
def test_times_of_parquet_types_are_read_exactly(tmp_path, values, times, ticks):
    table = pa.table({"user": ["u", "u"], "note": ["a", "b"], "time": values})
    pq.write_table(table, tmp_path / "l.parquet")
    read = Interactions.read(tmp_path / "l.parquet")
    assert (read.times.tolist(), read.ticks_per_second) == (times, ticks)


@pytest.mark.parametrize("form", SUFFIXES + FRAMES)
@pytest.mark.parametrize(
    ("first", "second", "problem"),
    [
        ("2024-01-02", "soon", "time must be a date and time like 2024-01-02 03:04:05, but is 'soon'"),
        ("2024-01-02", "5", "time must be a date and time like"),
        ("5", "2024-01-02", "time must be a number with at most nine decimals, or"),
        ("2024-01-02 00:00:00Z", "2024-01-02 00:00:00", "time must have a time zone, as the first one has"),
        (
            "2024-01-02 00:00:00",
            "2024-01-02 00:00:00Z",
            "time must have no time zone, as the first one has none",
        ),
        ("1", "1.0000000001", "time must be a number with at most nine decimals"),
        ("1", "02.01.2024", "time must be a number with at most nine decimals"),
    ],
)
def test_a_time_that_cannot_be_told_is_refused_with_its_row(tmp_path, form, first, second, problem):
    with pytest.raises(DataError, match=f"{place(form, 'l')}: {problem}"):
        read(Interactions, given(tmp_path, form, log([first, second]), "l"))


def test_a_time_beyond_64_bits_is_refused_with_its_row(tmp_path):
    table = pa.table({"user": ["u"], "note": ["a"], "time": pa.array([2**63 + 1], pa.uint64())})
    pq.write_table(table, tmp_path / "l.parquet")
    with pytest.raises(
        DataError, match=r"l.parquet: row 1: time must fit in 64 bits, but is '9223372036854775809'"
    ):
        Interactions.read(tmp_path / "l.parquet")
    for suffix in (".csv", ".jsonl"):
        with pytest.raises(DataError, match=rf"l{suffix}: column 'time' must fit in 64 bits"):
            Interactions.read(write(tmp_path / f"l{suffix}", log([2**63 + 1])))


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path, suffix):
    rows = [note(topics="x"), note(id="b")]
    marked = Notes.read(write(tmp_path / f"n{suffix}", rows, prefix=b"\xef\xbb\xbf"))
    assert marked == Notes.read(write(tmp_path / f"n{suffix}", rows))
    path = write(tmp_path / f"n{suffix}", [note(), note()], prefix=b"\xef\xbb\xbf")
    with pytest.raises(DataError, match="id must be unique"):
        Notes.read(path)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@pytest.mark.parametrize(
    ("encoding", "hint"), [("utf-16", "begins like UTF-16"), ("cp1252", r"byte \d+ is 0xe9")]
)
def test_another_encoding_is_refused_with_its_line(tmp_path, suffix, encoding, hint):
    path = write(tmp_path / f"n{suffix}", [note(), note(id="b", title="Thé")], encoding=encoding)
    line = 1 if encoding == "utf-16" else 3 if suffix == ".csv" else 2
    with pytest.raises(
        DataError, match=rf"n{suffix}:{line}: must be UTF-8, but {hint}; try to save it as UTF-8"
    ):
        Notes.read(path)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("prefix", ["", "\ufeff", "sep={}\r\n", "\ufeffsep={}\n"])
def test_what_separates_columns_is_recognised_and_said(tmp_path, separator, prefix):
    rows = [note(title="a,b;c\td", topics="x|y"), note(id="b")]
    plain = Notes.read(write(tmp_path / "plain.csv", rows))
    path = write(tmp_path / "n.csv", rows, separator, prefix.format(separator).encode())
    read = Notes.read(path)
    assert read == plain
    said = {what: count for what, count in read.report.changes.items() if "between columns" in what}
    names = {",": "commas", ";": "semicolons", "\t": "tabs"}
    is_plain = separator == "," and "sep" not in prefix
    assert said == ({} if is_plain else {f"rows with {names[separator]} between columns": 2})
    assert "between columns" in read.report.describe() or is_plain


def test_a_line_is_counted_with_the_one_that_names_the_separator(tmp_path):
    path = write(tmp_path / "n.csv", [note(), note()], ";", b"sep=;\r\n")
    with pytest.raises(DataError, match=r"n\.csv:4: id must be unique"):
        Notes.read(path)


def test_the_comma_stays_where_names_hold_other_separators(tmp_path):
    (tmp_path / "l.csv").write_text('user,note,"a;b;c;d",x\nu,n,1;2;3;4,5\n')
    assert Interactions.read(tmp_path / "l.csv").note_ids == ["n"]


def test_an_unknown_separator_is_a_hint(tmp_path):
    path = write(tmp_path / "n.csv", [note()], "|")
    with pytest.raises(
        DataError, match="column 'id' must be there, .* try commas, semicolons or tabs between"
    ):
        Notes.read(path)


def test_names_that_differ_by_case_or_space_are_hinted(tmp_path):
    (tmp_path / "n.csv").write_text("ID, title\n1,t\n")
    with pytest.raises(DataError, match=r"try columns=\{'id': 'ID'\}"):
        Notes.read(tmp_path / "n.csv")
    with pytest.raises(DataError, match=r"try columns=\{'title': ' title'\}"):
        Notes.read(tmp_path / "n.csv", columns={"id": "ID"})


def test_a_suffix_may_be_written_in_capitals(tmp_path):
    assert len(Notes.read(write(tmp_path / "n.csv", [note()]).rename(tmp_path / "N.CSV"))) == 1


GOOD = "".join(f"n{i},Title {i},Text {i},,food\n" for i in range(3, 8))
HEAD = "id,title,content,topics,category\n"


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        (HEAD + 'n1,One,Text,,food\nn2,Two,Text,,"food\n' + GOOD, 3, "one of this row never is"),
        (HEAD + 'n1,One,Text,,food\nn2,Two,Text,,"food\n' + GOOD.rstrip(), 3, "one of this row never is"),
        (HEAD + 'n1,One,Text,,food\nn2,"Two,Text,,food\n' + GOOD, 3, "one of this row never is"),
        (HEAD + 'n1,"two\nlines",Text,,food\nn2,Two,Text,,"', 4, "one of this row never is"),
        (HEAD + 'n1,12" vinyl,Text,,food\nn2,Two,Text,,"food\n' + GOOD, 3, "one of this row never is"),
        (
            HEAD + 'n1,One,Text,,"food\n' + GOOD + 'n9,"Nine, x",Text,,food\n',
            2,
            "text follows one of this row",
        ),
        (HEAD + 'n1,"He said \\"hi\\", and left",x,,music\n', 2, "text follows one of this row"),
        (HEAD + 'n1,"long ' + "x" * 200_000 + ",Text,,food\n", 2, "one of this row never is"),
        ("sep=;\n" + (HEAD + 'n1,One,Text,,"food\n').replace(",", ";"), 3, "one of this row never is"),
    ],
)
def test_a_quote_that_is_not_closed_is_refused_with_its_line(tmp_path, text, line, problem):
    (tmp_path / "n.csv").write_text(text)
    with pytest.raises(DataError, match=rf"n\.csv:{line}: a quote .*{problem}; try to write a quote inside"):
        Notes.read(tmp_path / "n.csv")


def test_sound_quotes_are_read(tmp_path, monkeypatch):
    text = HEAD + 'n1,12" vinyl,A 7" too,,music\n"n2","say ""hi"", you","","","a\nb"\nn3,,,,""\n'
    expected = Notes(
        ["n1", "n2", "n3"],
        ['12" vinyl', 'say "hi", you', ""],
        ['A 7" too', "", ""],
        [[]] * 3,
        ["music", "a\nb", ""],
    )
    (tmp_path / "n.csv").write_text(text)
    assert Notes.read(tmp_path / "n.csv") == expected
    for window in (1, 2, 7):  # whatever is looked at together
        monkeypatch.setattr("notellm.data.csv_form._WINDOW", window)
        (tmp_path / "q.csv").write_text(text.replace('12"', "12").replace('7"', "7"))
        assert Notes.read(tmp_path / "q.csv").titles[1] == 'say "hi", you'


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_the_largest_row_is_stated(tmp_path, suffix, monkeypatch):
    path = write(tmp_path / f"n{suffix}", [note(), note(id="b", content="x" * 40_000), note(id="c")])
    monkeypatch.setattr(tables, "_BLOCK_BYTES", (1024, 64 << 10))
    assert len(Notes.read(path).contents[1]) == 40_000
    monkeypatch.setattr(tables, "_BLOCK_BYTES", (1024, 16 << 10))
    monkeypatch.setattr(lines, "LARGEST_LINE", 16 << 10)
    monkeypatch.setattr("notellm.io.json_files.LARGEST_LINE", 16 << 10)
    where, what = (":2", "a line") if suffix == ".jsonl" else ("", "a row")
    with pytest.raises(DataError, match=rf"n{suffix}{where}: {what} must have at most 16,384 bytes, but"):
        Notes.read(path)
