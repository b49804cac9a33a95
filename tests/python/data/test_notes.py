import json
import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notellm.data.notes import Notes
from notellm.errors import DataError
from notellm.hashtags import HashtagRule, clean_hashtags

SUFFIXES = [".parquet", ".csv", ".jsonl"]
NOTES = Notes(
    ["7", "007", "b"],
    ["Tea, green", "2020-01-01", ""],
    ['Says "hi"\nand goes', "NA", "\u7b14\u8bb0"],
    [["drink", "hot tea"], [], ["\u8bdd\u9898"]],
    ["food", "", "null"],
)
GOOD = {"id": "a", "title": "t", "content": "c", "topics": ["x"], "category": "k"}


def jsonl(path, *rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def csv(path, *lines):
    path.write_bytes("\n".join(["id,title,content,topics,category", *lines, ""]).encode())
    return path


def fault(path, pattern, **options):
    with pytest.raises(DataError, match=rf"{path.name}{pattern}") as caught:
        Notes.read(path, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_was_written_is_read(tmp_path, suffix):
    NOTES.write(tmp_path / f"n{suffix}")
    assert Notes.read(tmp_path / f"n{suffix}") == NOTES
    assert [entry.name for entry in tmp_path.iterdir()] == [f"n{suffix}"]


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
topic = text.map(lambda value: "".join(clean_hashtags([value], HashtagRule())))


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    rows=st.lists(
        st.tuples(text, text, st.lists(topic.filter(bool), max_size=3, unique=True), text),
        min_size=1,
        max_size=5,
    )
)
def test_any_text_survives_writing_and_reading(tmp_path, suffix, rows):
    titles, contents, topics, categories = (list(column) for column in zip(*rows, strict=True))
    notes = Notes([f"n{row}" for row in range(len(rows))], titles, contents, topics, categories)
    notes.write(tmp_path / f"n{suffix}")
    assert Notes.read(tmp_path / f"n{suffix}") == Notes(
        notes.ids, *map(composed, (titles, contents)), list(map(composed, topics)), composed(categories)
    )


def composed(texts):
    return [unicodedata.normalize("NFC", one) for one in texts]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_texts_are_read_in_normal_form_c_and_ids_as_they_are(tmp_path, suffix):
    loose, composed = "cafe\u0301", "caf\u00e9"
    Notes([loose], [loose], [loose], [[loose, "x"]], [loose]).write(tmp_path / f"n{suffix}")
    read = Notes.read(tmp_path / f"n{suffix}")
    assert read == Notes([loose], [composed], [composed], [[composed, "x"]], [composed])


def test_take_and_index_follow_each_other():
    assert NOTES.index(["b", "7"]).tolist() == [2, 0]
    assert NOTES.index(["b"]).dtype == np.int64
    assert NOTES.take(np.array([2, 0])).ids == ["b", "7"]
    assert NOTES.take([0, 0]).topics == [["drink", "hot tea"]] * 2
    with pytest.raises(DataError, match="must be those of notes, but one is 'zz'"):
        NOTES.index(["7", "zz"])
    with pytest.raises(DataError, match="must be unique"):
        NOTES.take([0, 0]).index(["7"])
    with pytest.raises(IndexError):
        NOTES.take([3])


def test_columns_must_be_equally_long():
    with pytest.raises(ValueError, match=r"equally long, but have \[1, 1, 1, 0, 1\] rows"):
        Notes(["a"], ["t"], ["c"], [], [""])


def test_columns_may_have_other_names_or_be_absent(tmp_path):
    path = jsonl(tmp_path / "n.jsonl", {"sku": 7, "name": "t", "text": "c", "kind": "k"})
    columns = {"id": "sku", "title": "name", "content": "text", "category": "kind", "topics": ""}
    assert Notes.read(path, columns=columns) == Notes(["7"], ["t"], ["c"], [[]], ["k"])
    with pytest.raises(ValueError, match="keys must be among id, title.*but one is 'name'"):
        Notes.read(path, columns={"name": "title"})


def test_missing_values_are_empty_ones(tmp_path):
    path = jsonl(tmp_path / "n.jsonl", GOOD, {"id": "b", "title": None, "topics": None, "category": None})
    assert Notes.read(path).take([1]) == Notes(["b"], [""], [""], [[]], [""])
    table = pa.table({name: [None if name != "id" else 3] for name in GOOD})
    pq.write_table(table, tmp_path / "n.parquet")
    assert Notes.read(tmp_path / "n.parquet") == Notes(["3"], [""], [""], [[]], [""])


def test_the_first_object_may_lack_what_is_missing(tmp_path):
    path = jsonl(tmp_path / "n.jsonl", {"id": "a", "title": "t"}, {**GOOD, "id": "b"})
    assert Notes.read(path).categories == ["", "k"]


def test_a_cut_parquet_file_is_an_error(tmp_path):
    path = tmp_path / "n.parquet"
    NOTES.write(path)
    path.write_bytes(path.read_bytes()[:-9])
    fault(path, ": must be a Parquet file, but")


def test_a_damaged_parquet_page_is_an_error(tmp_path):
    path = tmp_path / "n.parquet"
    NOTES.write(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:4] + bytes(60) + whole[64:])
    fault(path, ": must be readable, but")


def test_a_row_behind_a_field_longer_than_the_csv_module_allows_is_placed(tmp_path):
    fault(csv(tmp_path / "n.csv", f"a,{'t' * 200_000},c,,", "a,t,c,,"), ":3: id must be unique")


def test_blank_topics_are_left_out(tmp_path):
    path = jsonl(tmp_path / "n.jsonl", {**GOOD, "topics": ["x", "", " ", None]})
    assert Notes.read(path).topics == [["x"]]
    assert Notes.read(csv(tmp_path / "n.csv", "a,t,c,x||y,k")).topics == [["x", "y"]]


def test_parquet_of_other_writers_is_read(tmp_path):
    table = pa.table(
        {
            "id": pa.array([3, 4], pa.int32()),
            "title": pa.array(["t", "t"]).dictionary_encode(),
            "content": pa.array(["c", None], pa.large_string()),
            "topics": pa.array([["x"], None], pa.large_list(pa.string())),
            "category": pa.array(["k", "k"]),
            "more": [1.5, 2.5],
        }
    )
    pq.write_table(table, tmp_path / "n.parquet")
    notes = Notes.read(tmp_path / "n.parquet")
    assert notes == Notes(["3", "4"], ["t", "t"], ["c", ""], [["x"], []], ["k", "k"])


def test_the_columns_of_csv_may_stand_in_any_order_after_a_byte_order_mark(tmp_path):
    path = tmp_path / "n.csv"
    path.write_bytes(b"\xef\xbb\xbfcategory,id,title,content,topics\r\nk,a,t,c,x\r\n")
    assert Notes.read(path) == Notes(["a"], ["t"], ["c"], [["x"]], ["k"])


def test_a_repeated_id_names_its_row(tmp_path):
    fault(
        csv(tmp_path / "n.csv", 'a,"two\nlines",c,,', "", "b,t,c,,", "a,t,c,,"),
        ":6: id must be unique, but 'a' is that of note 1 too",
    )
    fault(jsonl(tmp_path / "n.jsonl", GOOD, "", {**GOOD, "id": "b"}, {**GOOD, "id": "b"}), ":4: .*note 2 too")
    pq.write_table(pa.Table.from_pylist([GOOD, GOOD]), tmp_path / "n.parquet")
    fault(tmp_path / "n.parquet", ": row 2: id must be unique")


def test_a_missing_id_names_its_row(tmp_path):
    fault(csv(tmp_path / "n.csv", "a,t,c,,", ",t,c,,"), ":3: id must be given, but is empty")
    fault(jsonl(tmp_path / "n.jsonl", GOOD, {**GOOD, "id": None}), ":2: id must be given, but is null")
    fault(jsonl(tmp_path / "n.jsonl", GOOD, {"title": "t"}), ":2: id must be given, but is null")
    pq.write_table(pa.Table.from_pylist([GOOD, {**GOOD, "id": None}]), tmp_path / "n.parquet")
    fault(tmp_path / "n.parquet", ": row 2: id must be given")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_missing_column_comes_with_the_nearest_name(tmp_path, suffix):
    path = tmp_path / f"n{suffix}"
    row = {"id": "a", "title": "t", "contents": "c", "topics": "x", "category": "k"}
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist([row]), path)
    elif suffix == ".csv":
        path.write_text("id,title,contents,topics,category\na,t,c,x,k\n")
    else:
        jsonl(path, row)
    fault(path, r": column 'content' must be there, .*contents.*try columns=\{'content': 'contents'\}")


def test_a_column_name_that_comes_twice_is_ambiguous(tmp_path):
    (tmp_path / "n.csv").write_text("id,title,title,content,topics,category\na,t,t,c,x,k\n")
    fault(tmp_path / "n.csv", ": column names must differ, but 'title' comes 2 times")


def test_bad_utf8_names_its_line(tmp_path):
    path = csv(tmp_path / "n.csv", "a,t,c,,")
    path.write_bytes(path.read_bytes() + b"b,caf\xe9,c,,\n")
    fault(path, ":3: must be UTF-8, but byte 6 is 0xe9")
    path = jsonl(tmp_path / "n.jsonl", GOOD)
    path.write_bytes(path.read_bytes() + b'{"id": "b", "title": "caf\xe9"}\n')
    fault(path, ":2: must be UTF-8, but byte 26 is 0xe9")
    path.write_bytes(b'{"id": "b", "title": "caf\xe9"}\n')
    fault(path, ":1: must be UTF-8")
    path = tmp_path / "h.csv"
    path.write_bytes(b"id,caf\xe9\n")
    fault(path, ":1: must be UTF-8")


@pytest.mark.parametrize("name", ["id", "title", "topics"])
def test_bad_utf8_in_parquet_names_its_row(tmp_path, name):
    raw = pa.array([b"ok", b"caf\xe9"], pa.binary())
    bad = pa.StringArray.from_buffers(2, *raw.buffers()[1:])
    columns = {other: pa.array(["a", "b"]) for other in GOOD}
    columns["topics"] = pa.array([["x"], ["y"]])
    columns[name] = pa.ListArray.from_arrays([0, 1, 2], bad) if name == "topics" else bad
    pq.write_table(pa.table(columns), tmp_path / "n.parquet")
    fault(tmp_path / "n.parquet", f": row 2: column '{name}' must be UTF-8")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({**GOOD, "title": 5}, ":2: title must hold text, but is 5"),
        ({**GOOD, "topics": "x"}, ":2: topics must hold lists of text, but is .x."),
        ({**GOOD, "topics": [1]}, r":2: topics must hold lists of text, but is \[1\]"),
        ({**GOOD, "id": 5}, ":2: id must hold text or integers, as in the first row, but is 5"),
        ({**GOOD, "id": True}, ":2: id must hold text or integers"),
        ("[1]", ":2: must be one JSON object, but is a list"),
        ('{"id": "b"', ":2: must be one JSON object, but is damaged: Expecting"),
    ],
)
def test_a_wrong_type_in_jsonl_names_its_line(tmp_path, row, problem):
    fault(jsonl(tmp_path / "n.jsonl", GOOD, row), problem)


@pytest.mark.parametrize(
    ("name", "values", "problem"),
    [
        ("id", [1.5], "column 'id' must hold text or integers, but holds double"),
        ("title", [5], "column 'title' must hold text, but holds int64"),
        ("topics", [[1]], "column 'topics' must hold lists of text, but holds list<"),
    ],
)
def test_a_wrong_type_in_parquet_names_its_column(tmp_path, name, values, problem):
    table = pa.Table.from_pylist([GOOD])
    table = table.set_column(table.schema.names.index(name), name, pa.array(values))
    pq.write_table(table, tmp_path / "n.parquet")
    fault(tmp_path / "n.parquet", f": {problem}")


def test_a_ragged_csv_row_names_its_line(tmp_path):
    fault(csv(tmp_path / "n.csv", 'a,"t\nt",c,,', "b,t,c"), ":4: must have 5 columns, but has 3")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_empty_file_is_an_error(tmp_path, suffix):
    path = tmp_path / f"n{suffix}"
    path.write_bytes(b"")
    fault(path, ": must ")


def test_a_file_without_rows_is_an_error(tmp_path):
    fault(csv(tmp_path / "n.csv"), ": must hold at least one row")
    pq.write_table(pa.Table.from_pylist([GOOD]).slice(0, 0), tmp_path / "n.parquet")
    fault(tmp_path / "n.parquet", ": must hold at least one row")


def test_paths_that_cannot_be_tables_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must end in .parquet, .csv or .jsonl, but ends in '.txt'"):
        NOTES.write(tmp_path / "n.txt")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        Notes.read(tmp_path / "n.csv")


def test_csv_holds_topics_that_look_like_its_own_forms(tmp_path):
    notes = Notes(["a", "b"], ["t"] * 2, ["c"] * 2, [["x|y", 'a "b"'], ["[话题]"]], [""] * 2)
    notes.write(tmp_path / "n.csv")
    assert Notes.read(tmp_path / "n.csv") == notes


def test_hashtags_are_cleaned_as_asked(tmp_path):
    path = jsonl(tmp_path / "n.jsonl", GOOD | {"topics": ["a, b", "a;b"]})
    assert Notes.read(path, hashtags=HashtagRule(())).topics == [["a, b", "a;b"]]
    assert Notes.read(path, hashtags=HashtagRule((";",), 3)).topics == [["a, b"[:3].strip(), "a", "b"]]


@pytest.mark.parametrize(
    "line", ["[" * 100_000, '{"id": ' + "9" * 5000 + "}", '{"id": 99999999999999999999}']
)
def test_json_that_python_cannot_hold_is_refused_with_its_line(tmp_path, line):
    path = tmp_path / "n.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + line + "\n")
    with pytest.raises(DataError, match=r"n\.jsonl:2: "):
        Notes.read(path)
