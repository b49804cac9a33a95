"""Public data sets' layouts: small files in their form, and the real ones where they are."""

import csv
import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from notellm.cli import main
from notellm.data import Interactions, Notes
from notellm.data.converters import (
    CONVERTERS,
    amazon_2018,
    amazon_2023,
    amazon_items,
    kuairec,
    microlens,
    qilin,
)
from notellm.errors import DataError
from notellm.mining import mine_pairs

REAL = Path(__file__).parents[4] / "shared" / "data"


def write_lines(path, rows):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def events(log):
    """User, note and time, row by row."""
    times = log.times.tolist() if log.times is not None else [None] * len(log)
    names = zip(log.users.tolist(), log.notes.tolist(), times, strict=True)
    return [(log.user_ids[user], log.note_ids[note], time) for user, note, time in names]


def test_amazon_2018(tmp_path):
    items = write_lines(
        tmp_path / "meta_Books.json.gz",
        [
            {"asin": "A", "title": "Tea &amp; <b>mud</b>", "description": ["One.", "Two."], "feature": ["Wet"],
             "category": ["Books", "Food", "Tea", "Tea"], "brand": "Secret"},
            {"asin": "B", "title": "Bare", "category": ["Books"]},
            {"asin": "A", "title": "again", "category": ["Books"]},
        ],
    )  # fmt: skip
    reviews = write_lines(
        tmp_path / "Books.json",
        [
            {"reviewerID": "u", "asin": "B", "unixReviewTime": 9},
            {"reviewerID": "v", "asin": "A", "unixReviewTime": 5},
            {"reviewerID": "u", "asin": "A", "unixReviewTime": 3},
            {"reviewerID": "u", "asin": "gone", "unixReviewTime": 4},
        ],
    )
    notes, log = amazon_2018(items, reviews)
    assert notes == Notes(
        ["A", "B"], ["Tea & mud", "Bare"], ["Wet One. Two.", ""], [["Tea"], []], ["Food", ""]
    )
    assert events(log) == [("u", "A", 3), ("v", "A", 5), ("u", "B", 9)]
    assert amazon_2018(items, None)[1] is None


def test_amazon_2023(tmp_path):
    row = {
        "parent_asin": "P",
        "title": "T",
        "features": ["F"],
        "description": ["D"],
        "categories": ["A", "B", "C"],
    }
    items = write_lines(tmp_path / "meta_A.jsonl", [row])
    reviews = write_lines(
        tmp_path / "A.jsonl", [{"user_id": "u", "parent_asin": "P", "timestamp": 1588687728923}]
    )
    notes, log = amazon_2023(items, reviews)
    assert notes == Notes(["P"], ["T"], ["F D"], [["C"]], ["B"])
    assert events(log) == [("u", "P", 1588687728923)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"asin": "A"}], r":1: must have 'category', but has asin"),
        ([{"asin": "A", "category": []}, []], ":2: must be a JSON object, but is list"),
        ([], "must hold an item, but holds none"),
    ],
)
def test_amazon_says_what_is_missing(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        amazon_2018(write_lines(tmp_path / "meta.json", rows), None)


def test_a_log_of_other_items_is_refused(tmp_path):
    items = write_lines(tmp_path / "meta.json", [{"asin": "A", "title": "t", "category": []}])
    reviews = write_lines(tmp_path / "r.json", [{"reviewerID": "u", "asin": "Z", "unixReviewTime": 1}])
    with pytest.raises(DataError, match="none of its 1 events is of one"):
        amazon_2018(items, reviews)


def test_amazon_items(tmp_path):
    items, inter = tmp_path / "X.item.json", tmp_path / "X.inter.json"
    row = {"title": "t", "description": "d", "brand": "b", "categories": "All,Nuts, Bolts,Deep,Deeper"}
    items.write_text(json.dumps({"7": row, "8": row | {"categories": "All"}}))
    inter.write_text(json.dumps({"0": [8, 7], "1": [7]}))
    notes, log = amazon_items(items, inter)
    assert notes.categories == ["Nuts, Bolts", ""]
    assert notes.topics == [["Deep", "Deeper"], []]
    assert events(log) == [("0", "8", None), ("0", "7", None), ("1", "7", None)]
    items.write_text("[1]")
    with pytest.raises(DataError, match="must be one JSON object, but is list"):
        amazon_items(items, None)


def write_kuairec(path, rows):
    names = ["video_id", "manual_cover_text", "caption", "topic_tag", "first_level_category_name"]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([names, *rows])
    return path


def test_kuairec(tmp_path):
    items = write_kuairec(
        tmp_path / "c.csv",
        [
            ["4", "封面", "#搞笑 这真是\r #五爱市场 完美", "[五爱市场,搞笑]", "时尚"],
            ["5", "UNKNOWN", "", "[]", "UNKNOWN"],
        ],
    )
    log = tmp_path / "big_matrix.csv"
    log.write_text("user_id,video_id,timestamp\n1,5,20.5\n1,4,10.25\n")
    notes, interactions = kuairec(items, log)
    assert notes == Notes(
        ["4", "5"], ["封面", ""], ["这真是 完美", ""], [["五爱市场", "搞笑"], []], ["时尚", ""]
    )
    assert events(interactions) == [("1", "4", 10), ("1", "5", 20)]
    log.write_text("user,video_id\n")
    with pytest.raises(DataError, match="must have the columns user_id, timestamp, but has user, video_id"):
        kuairec(items, log)
    with pytest.raises(DataError, match=r"c\.csv:2: must have 5 fields"):
        kuairec(write_kuairec(tmp_path / "c.csv", [["1", "2"]]), None)


TITLES = (
    "item,title\n"
    '1,"Song, gaga &amp; bad. # comic # Two Yuan"\n'
    "2,# game creator this game will not close down\n"
    '4,"She said ""no"""\n'
)


def write_microlens(folder, titles, pairs, name="pairs.csv"):
    (folder / "titles.csv").write_text(titles, encoding="utf-8")
    (folder / name).write_text(pairs)
    return folder / "titles.csv", folder / name


def test_microlens_50k(tmp_path):
    pairs = "user,item,timestamp\n7,2,1583378629552\n8,1,1583378629550\n7,1,1583378629551\n7,9,5\n"
    files = write_microlens(tmp_path, TITLES, pairs)
    (tmp_path / "tags_to_summary.csv").write_text("1,Comic\n")  # of the other release
    notes, log = microlens(*files)
    titles = [
        "Song, gaga & bad. # comic # Two Yuan",
        "# game creator this game will not close down",
        'She said "no"',
    ]
    assert notes == Notes(["1", "2", "4"], titles, [""] * 3, [[], [], []], [""] * 3)
    assert events(log) == [("8", "1", 1583378629550), ("7", "1", 1583378629551), ("7", "2", 1583378629552)]
    assert log.events is None
    assert microlens(files[0], None)[1] is None


def test_microlens_100k(tmp_path):
    files = write_microlens(
        tmp_path, '11,Bare, with commas\n12,"Quoted, too"\n13,\n', "5\t12 11 99 12\n3\t11\n", "p.tsv"
    )
    assert set(microlens(*files)[0].categories) == {""}
    (tmp_path / "tags_to_summary.csv").write_text("12,Food\n11, Games \n99,Music\n")
    notes, log = microlens(*files)
    assert notes.ids == ["11", "12", "13"]
    assert notes.titles == ["Bare, with commas", "Quoted, too", ""]
    assert notes.categories == ["Games", "Food", ""]
    assert events(log) == [("5", "12", None), ("5", "11", None), ("5", "12", None), ("3", "11", None)]


@pytest.mark.parametrize(
    ("titles", "message"),
    [
        ("", "must hold an item, but holds none"),
        ("item,title\n", "must hold an item, but holds none"),
        ("item,title\n1,a\nb\n", r":3: must be the number of an item and a text, but is 'b'"),
        ("id,name\n1,a\n", r":1: must be the number of an item and a text, but is 'id,name'"),
        ("1\n", r":1: must be the number of an item and a text, but is '1'"),
        ("1,a\n2,b\n1,c\n", r":3: items must be unique, but 1 comes before"),
    ],
)
def test_microlens_says_what_is_wrong_with_its_titles(tmp_path, titles, message):
    with pytest.raises(DataError, match=r"titles\.csv.*" + message):
        microlens(write_microlens(tmp_path, titles, "")[0], None)


def test_microlens_titles_in_another_encoding_are_one_error(tmp_path):
    (tmp_path / "titles.csv").write_bytes("item,title\n1,动画\n".encode("gbk"))
    with pytest.raises(DataError, match=r"titles\.csv:\d: must be CSV in UTF-8, but"):
        microlens(tmp_path / "titles.csv", None)


@pytest.mark.parametrize(
    ("name", "pairs", "message"),
    [
        ("p.csv", "userID,item\n1,1\n", "must have the columns user, timestamp, but has userID, item"),
        ("p.csv", "user,item,timestamp\n1,1,2\n1,1\n", r"p\.csv:3: must have 3 fields"),
        ("p.csv", "user,item,timestamp\n1,1,soon\n", r"p\.csv:2: timestamp must be a whole .* 'soon'"),
        ("p.csv", "user,item,timestamp\n1,99,2\n", "none of its 1 events is of one"),
        ("p.tsv", "1\t1\n2 1\n", r"p\.tsv:2: must be a user, a tab, and items .* '2 1"),
        ("p.tsv", "1\t\n", r"p\.tsv:1: must be a user, a tab, and items"),
        ("p.tsv", "\t1\n", r"p\.tsv:1: must be a user, a tab, and items"),
        ("p.txt", "1\t1\n", r"must be pairs as \.csv or \.tsv, but ends in '\.txt'"),
    ],
)
def test_microlens_says_what_is_wrong_with_its_pairs(tmp_path, name, pairs, message):
    with pytest.raises(DataError, match=message):
        microlens(*write_microlens(tmp_path, TITLES, pairs, name))


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


def run_verb(name, files, output):
    return main(
        ["convert", name, "--items", str(files[0]), "--interactions", str(files[1]), "--output", output]
    )


def converted(name, files, folder):
    """Notes and log as they are read again, and the pairs that two users support."""
    assert run_verb(name, files, str(folder)) == 0
    notes = Notes.read(folder / "notes.parquet")
    assert notes == CONVERTERS[name].convert(files[0], None)[0]
    log = Interactions.read(folder / "log.parquet", notes=notes)
    pairs = mine_pairs(log, lower=0, upper=100, min_users=2)
    return log, [(notes.ids[a], notes.ids[b]) for a, b in zip(pairs.source, pairs.target, strict=True)]


def test_a_view_and_a_click_of_qilin_make_a_pair(tmp_path):
    requests = [(user, [shown(7, 1, 10), shown(8, 2, 10, 1), shown(9, 3, 10)]) for user in range(2)]
    log, pairs = converted("qilin", write_qilin(tmp_path, requests), tmp_path / "out")
    assert log.events.tolist() == [0, 0, 1, 0] * 2
    assert pairs == [("7", "8")]  # what was only shown is the second of no pair


@pytest.mark.parametrize(
    ("name", "lines"),
    [("p.csv", "user,item,timestamp\n0,2,9\n0,1,5\n1,2,9\n1,1,5\n"), ("p.tsv", "0\t1 2\n1\t1 2\n")],
)
def test_microlens_makes_pairs_in_order_of_time(tmp_path, name, lines):
    log, pairs = converted("microlens", write_microlens(tmp_path, TITLES, lines, name), tmp_path / "out")
    assert (log.times is None) == (name == "p.tsv")
    assert pairs == [("1", "2")]


def test_a_log_that_is_refused_leaves_no_files(tmp_path, capsys):
    files = write_microlens(tmp_path, TITLES, "user,item,timestamp\n1,1,soon\n")
    assert run_verb("microlens", files, str(tmp_path / "out")) == 2
    assert "timestamp must be a whole number" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_help_names_every_format(capsys):
    with pytest.raises(SystemExit):
        main(["convert", "--help"])
    said = capsys.readouterr().out
    for name, converter in CONVERTERS.items():
        assert f"  {name} " in said
        assert converter.items.split(",")[0] in said


def test_the_verb(tmp_path, capsys):
    row = {"parent_asin": "P", "title": "T", "categories": ["A", "B", "C"]}
    items = write_lines(tmp_path / "meta.jsonl", [row])
    reviews = write_lines(tmp_path / "r.jsonl", [{"user_id": "u", "parent_asin": "P", "timestamp": 1}])
    output = tmp_path / "out"
    command = ["convert", "amazon-2023", "--items", str(items), "--output", str(output)]
    assert main([*command, "--interactions", str(reviews)]) == 0
    assert "1 notes, 1 with hashtags, 1 categories" in capsys.readouterr().out
    notes = Notes.read(output / "notes.parquet")
    assert len(Interactions.read(output / "log.parquet", notes=notes)) == 1
    (tmp_path / "mine.csv").write_text("sku,title,text,topics,category\n1,t,c,a|b,x\n")
    own = ["convert", "columns", "--items", str(tmp_path / "mine.csv"), "--output", str(tmp_path / "own")]
    assert main([*own, "--columns", "id=sku", "content=text"]) == 0
    assert Notes.read(tmp_path / "own" / "notes.parquet").contents == ["c"]
    assert main(["convert", "netflix", *command[2:]]) == 2
    assert (
        "must be one of amazon-2018, amazon-2023, amazon-items, kuairec, microlens, qilin, columns"
        in capsys.readouterr().err
    )
    assert main([*own, "--columns", "sku"]) == 2


def test_the_real_files():
    if not REAL.is_dir():
        pytest.skip("the data sets are not here")
    folder = REAL / "amazon-scientific"
    notes, log = amazon_items(folder / "Scientific.item.json", folder / "Scientific.inter.json")
    assert (len(notes), len(log), len(log.user_ids)) == (4344, 58492, 8317)
    assert len({name for name in notes.categories if name}) == 25
    assert len({tag for topics in notes.topics for tag in topics}) > 800
    captions, _ = kuairec(REAL / "kuairec-captions" / "kuairec_caption_category.csv", None)
    assert captions.ids == [str(number) for number in range(10728)]
    for content, tags in zip(captions.contents, captions.topics, strict=True):
        assert not any(f"#{tag}" in content for tag in tags)
