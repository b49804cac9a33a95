"""Qilin's layout: small tables in its form."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from converting import converted, events
from notellm.data import Notes
from notellm.data.converters import qilin
from notellm.errors import DataError

NOTE = {"note_idx": 7, "note_title": "题", "note_content": "文", "note_type": 1, "taxonomy1_id": "美食"}
SHOWN = {
    "click": 0,
    "like": 0,
    "note_idx": 7,
    "page_time": float("nan"),
    "position": 1,
    "request_timestamp": 100,
}
REQUEST = {"recent_clicked_note_idxs": [8], "request_idx": 0, "session_idx": 0, "user_idx": 0, "query": None}
DETAILS = "rec_result_details_with_idx"


def write_parquet(path, rows):
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def write_qilin(folder, requests):
    """A catalogue of the notes 7, 8 and 9 in two files, and a log of (user, what was shown)."""
    content = "第一行\n\ufeff#痘坑[话题]#\ufeff \ufeff#点阵 激光[话题]##痘坑[话题]# "
    content += "第3#段 #裸 尾#末[话题]#\n#甲\n乙[话题]#"
    write_parquet(folder / "notes" / "train-00000-of-00002.parquet", [NOTE | {"note_content": content}])
    rest = [
        NOTE | {"note_idx": 8, "note_title": None, "note_content": None, "taxonomy1_id": None},
        NOTE | {"note_idx": 9, "note_title": "看 <b>这里</b>"},
    ]
    write_parquet(folder / "notes" / "train-00001-of-00002.parquet", rest)
    rows = [REQUEST | {"user_idx": user, DETAILS: details} for user, details in requests]
    write_parquet(folder / "recommendation_train" / "train-00000-of-00001.parquet", rows)
    return folder / "notes", folder / "recommendation_train"


def shown(note, position, time, click=0):
    return SHOWN | {"note_idx": note, "position": position, "request_timestamp": time, "click": click}


def test_qilin(tmp_path):
    requests = [
        (3, [shown(9, 2, 200, 1), shown(8, 1, 200)]),  # not in order of position
        (4, [shown(7, 1, 150), shown(1000, 2, 150, 1)]),  # the second is not in the catalogue
        (3, [shown(7, 1, 100, 1)]),
        (5, []),
        (6, None),
    ]
    notes, log = qilin(*write_qilin(tmp_path, requests))
    assert notes == Notes(
        ["7", "8", "9"],
        ["题", "", "看 这里"],
        ["第一行 第3#段 #裸 尾 #甲 乙[话题]#", "", "文"],
        [["痘坑", "点阵 激光", "末"], [], []],
        ["美食", "", "美食"],
    )
    assert list(zip(events(log), log.events.tolist(), strict=True)) == [
        (("3", "7", 100), 0),
        (("3", "7", 100), 1),
        (("4", "7", 150), 0),
        (("3", "8", 200), 0),
        (("3", "9", 200), 0),
        (("3", "9", 200), 1),
    ]
    assert qilin(tmp_path / "notes", None)[1] is None


def test_qilin_reads_a_single_file_and_numbers_as_categories(tmp_path):
    items = write_parquet(tmp_path / "notes.parquet", [NOTE | {"taxonomy1_id": 12}])
    log = write_parquet(tmp_path / "log.parquet", [REQUEST | {DETAILS: [SHOWN]}])
    notes, interactions = qilin(items, log)
    assert notes.categories == ["12"]
    assert events(interactions) == [("0", "7", 100)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{"note_idx": 7, "note_title": "t", "taxonomy1_id": "c"}],
            "must have the columns note_content, but has",
        ),
        ([NOTE, NOTE], r"row 2: note_idx must be unique, but 7 is that of a note before"),
        ([NOTE, NOTE | {"note_idx": None}], "row 2: note_idx must be given, but is null"),
        ([NOTE | {"note_title": 3}], "column 'note_title' must hold text, but holds int64"),
        ([NOTE | {"taxonomy1_id": 0.5}], "row 1: taxonomy1_id must be text or an integer, but is 0.5"),
    ],
)
def test_qilin_says_what_is_wrong_with_its_notes(tmp_path, rows, message):
    with pytest.raises(DataError, match=r"n\.parquet: " + message):
        qilin(write_parquet(tmp_path / "n.parquet", rows), None)


def test_qilin_says_which_file_has_a_note_too(tmp_path):
    folder = write_parquet(tmp_path / "f" / "a.parquet", [NOTE]).parent
    write_parquet(folder / "b.parquet", [NOTE])
    with pytest.raises(DataError, match=r"b\.parquet: row 1: .* before, in .*a\.parquet"):
        qilin(folder, None)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({}, "must have the columns rec_result_details_with_idx, but has recent_clicked_note_idxs"),
        ({DETAILS: [SHOWN], "user_idx": None}, "row 1: user_idx must be given, but is null"),
        ({DETAILS: "[]"}, "row 1: rec_result_details_with_idx must be a list, but is str"),
        ({DETAILS: [7]}, "row 1: rec_result_details_with_idx must hold records, but holds 7"),
        (
            {DETAILS: [{"note_idx": 7, "position": 1}]},
            "row 1: must have 'request_timestamp', but has note_idx, pos",
        ),
        ({DETAILS: [SHOWN | {"click": None}]}, "row 1: click must be a whole number, but is None"),
        ({DETAILS: [SHOWN | {"position": 1.5}]}, "row 1: position must be a whole number, but is 1.5"),
        (
            {DETAILS: [SHOWN | {"note_idx": float("nan")}]},
            "row 1: note_idx must be a whole number, but is nan",
        ),
    ],
)
def test_qilin_says_what_is_wrong_with_its_log(tmp_path, row, message):
    log = write_parquet(tmp_path / "log.parquet", [REQUEST | row])
    with pytest.raises(DataError, match=r"log\.parquet: " + message):
        qilin(write_parquet(tmp_path / "notes.parquet", [NOTE]), log)


def test_qilin_names_the_row_of_a_log(tmp_path):
    log = write_parquet(tmp_path / "log.parquet", [REQUEST | {DETAILS: [SHOWN]}] * 2 + [{"user_idx": None}])
    with pytest.raises(DataError, match="row 3: user_idx must be given"):
        qilin(write_parquet(tmp_path / "notes.parquet", [NOTE]), log)


def test_qilin_says_where_there_is_no_table(tmp_path):
    with pytest.raises(DataError, match="must hold Parquet files, but holds none; try one of the folders"):
        qilin(tmp_path, None)
    with pytest.raises(
        FileNotFoundError, match="must be a Parquet file or a folder of some, but does not exist"
    ):
        qilin(tmp_path / "notes", None)
    (tmp_path / "notes.parquet").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(DataError, match=r"notes\.parquet: must be a Parquet file, but"):
        qilin(tmp_path / "notes.parquet", None)


def test_a_view_and_a_click_of_qilin_make_a_pair(tmp_path):
    requests = [(user, [shown(7, 1, 10), shown(8, 2, 10, 1), shown(9, 3, 10)]) for user in range(2)]
    log, pairs = converted("qilin", write_qilin(tmp_path, requests), tmp_path / "out")
    assert log.events.tolist() == [0, 0, 1, 0] * 2
    assert pairs == [("7", "8")]  # what was only shown is the second of no pair
