"""Public data sets' layouts: small files in their form, and the real ones where they are."""

import csv
import gzip
import json
from pathlib import Path

import pytest

from converting import converted, events, run_verb
from notellm.app.cli import main
from notellm.data import Interactions, Notes
from notellm.data.converters import (
    CONVERTERS,
    amazon_2018,
    amazon_2023,
    amazon_items,
    kuairec,
    microlens,
)
from notellm.data.converters.reading import whole
from notellm.errors import DataError

REAL = Path(__file__).parents[4] / "shared" / "data"


def write_lines(path, rows):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


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
        tmp_path / "A.jsonl",
        [
            {"user_id": user, "parent_asin": "P", "timestamp": 1588687728923 - i}
            for i, user in enumerate("uv")
        ],
    )
    notes, log = amazon_2023(items, reviews)
    assert notes == Notes(["P"], ["T"], ["F D"], [["C"]], ["B"])
    assert events(log) == [
        ("v", "P", 1588687728),
        ("u", "P", 1588687728),
    ]  # seconds, in order of milliseconds


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reviewerID": None}, ":2: reviewerID must be given, but is None"),
        ({"asin": ""}, ":2: asin must be given, but is ''"),
        ({"unixReviewTime": None}, ":2: unixReviewTime must be a whole number, but is None"),
        ({"unixReviewTime": True}, ":2: unixReviewTime must be a whole number, but is True"),
        ({"unixReviewTime": 10**400}, ":2: unixReviewTime must be a whole number, but is 1000"),
        ({"unixReviewTime": "soon"}, ":2: unixReviewTime must be a whole number, but is 'soon'"),
    ],
)
def test_amazon_takes_nothing_for_a_user_an_item_or_a_time(tmp_path, change, message):
    items = write_lines(tmp_path / "meta.json", [{"asin": "A", "title": "t", "category": []}])
    row = {"reviewerID": "u", "asin": "A", "unixReviewTime": 1}
    with pytest.raises(DataError, match=r"r\.json" + message):
        amazon_2018(items, write_lines(tmp_path / "r.json", [row, row | change]))


@pytest.mark.parametrize("value", [2**53 + 1, str(2**53 + 1), -(2**63) + 1])
def test_whole_numbers_of_64_bits_are_kept(value):
    """As floating point the first is 2^53: another note's number."""
    assert whole({"note": value}, "note", "file") == int(value)
    assert whole({"note": 3.0}, "note", "file") == whole({"note": "3.0"}, "note", "file") == 3


def test_a_torn_gzip_file_is_one_error(tmp_path):
    rows = [{"asin": str(i), "title": "t", "category": []} for i in range(500)]
    compressed = gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())
    (tmp_path / "meta.json.gz").write_bytes(compressed[: len(compressed) // 2])
    with pytest.raises(DataError, match=r"meta\.json\.gz: must be a whole gzip file, but after line \d+ "):
        amazon_2018(tmp_path / "meta.json.gz", None)


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
    with pytest.raises(DataError, match="must be an object, but is a list"):
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
    for time in ("", "nan", "soon"):
        log.write_text(f"user_id,video_id,timestamp\n1,4,1\n1,4,{time}\n")
        with pytest.raises(
            DataError, match=rf"big_matrix\.csv:3: timestamp must be a number, but is '{time}'"
        ):
            kuairec(items, log)
    log.write_text("user_id,video_id,timestamp\n,4,1\n")
    with pytest.raises(DataError, match=r"big_matrix\.csv:2: user_id must be given, but is ''"):
        kuairec(items, log)
    twice = write_kuairec(tmp_path / "t.csv", [["4", "", "", "", ""], ["4", "", "", "", ""]])
    with pytest.raises(DataError, match=r"t\.csv:3: video_id must be unique, but 4 comes before"):
        kuairec(twice, None)
    with pytest.raises(DataError, match=r"c\.csv:2: must have 5 fields"):
        kuairec(write_kuairec(tmp_path / "c.csv", [["1", "2"]]), None)


def test_kuairec_takes_a_text_of_lines_but_no_rows_for_a_text(tmp_path):
    rows = write_kuairec(tmp_path / "c.csv", [["1", "two\nlines", "", "[]", ""], ["2", "", "", "[]", ""]])
    assert kuairec(rows, None)[0].ids == ["1", "2"]
    text = rows.read_text()
    rows.write_text(text + '3,"open,,[],\n4,,,[],\n5,"a" b,,[],\n')
    with pytest.raises(
        DataError, match=r"c\.csv:5: a quote that closes a field must be its end, but text follo"
    ):
        kuairec(rows, None)
    rows.write_text(text + '3,"open,,[],\n4,,,[],\n')
    with pytest.raises(
        DataError, match=r"c\.csv:5: a quote that begins a field must be closed, but one of this"
    ):
        kuairec(rows, None)


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
    assert events(log) == [("8", "1", 1583378629), ("7", "1", 1583378629), ("7", "2", 1583378629)]
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
        (
            '1,a\n\n2,"Tea\n3,Mud\n4,"Hot" tea\n',
            ":3: a row must be one line, but a quote in this one is not closed",
        ),
        ('1,a\n2,"Tea\n', ":2: a row must be one line, but a quote in this one is not closed"),
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
        (
            "p.csv",
            'user,item,timestamp\n1,1,2\n"2,1,3\n3,1,4\n',
            r"p\.csv:3: a quote that begins a field must be closed",
        ),
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


@pytest.mark.parametrize("suffix", [".json", ".json.gz"])
def test_json_lines_may_begin_with_a_byte_order_mark_and_must_be_utf8(tmp_path, suffix):
    def write(content):
        path = tmp_path / f"meta{suffix}"
        path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
        return path

    row = json.dumps({"asin": "A", "category": ["a", "b"], "title": "T"}).encode()
    assert amazon_2018(write(b"\xef\xbb\xbf" + row), None)[0].ids == ["A"]
    with pytest.raises(DataError, match=rf"meta{suffix}:2: must be UTF-8, but"):
        amazon_2018(write(row + b'\n{"asin": "caf\xe9"}'), None)
    with pytest.raises(DataError, match=rf"meta{suffix}:2: must be a JSON object, but"):
        amazon_2018(write(row + b"\n" + b"[" * 100_000), None)


def test_a_csv_in_another_encoding_is_refused_with_its_line(tmp_path):
    (tmp_path / "v.csv").write_bytes(
        b"video_id,manual_cover_text,caption,topic_tag,first_level_category_name\n1,\xe9,,,\n"
    )
    with pytest.raises(DataError, match=r"v\.csv:2: must be UTF-8, but byte 3 is 0xe9"):
        kuairec(tmp_path / "v.csv", None)
