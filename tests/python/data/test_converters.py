"""Public data sets' layouts: small files in their form, and the real ones where they are."""

import csv
import gzip
import json
from pathlib import Path

import pytest

from notellm.cli import main
from notellm.data import Interactions, Notes
from notellm.data.converters import amazon_2018, amazon_2023, amazon_items, kuairec
from notellm.errors import DataError

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
        "must be one of amazon-2018, amazon-2023, amazon-items, kuairec, columns" in capsys.readouterr().err
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
