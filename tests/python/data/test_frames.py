"""Tables in memory: what their kinds bring beside the cells of a file, in parts, and back."""

import sys

import numpy as np
import pyarrow as pa
import pytest

from notellm.data import frames
from notellm.data.interactions import Interactions
from notellm.data.notes import Notes
from notellm.errors import DataError, NotSupportedError

NOTES = Notes(["7", "b"], ["Tea", "Mud, wet"], ["Green.", ""], [["drink", "a|b"], []], ["food", ""])
LOG = Interactions([0, 1, 0], [1, 0, 0], ["u", "v"], ["7", "b"], times=[5, 6, 7], events=[0, 1, 1])


@pytest.fixture
def pandas():
    return pytest.importorskip("pandas")


@pytest.fixture
def polars():
    return pytest.importorskip("polars")


@pytest.fixture
def datasets():
    return pytest.importorskip("datasets")


def same(one, other):
    pairs = (
        (one.users, other.users),
        (one.notes, other.notes),
        (one.times, other.times),
        (one.events, other.events),
    )
    return (one.user_ids, one.note_ids) == (other.user_ids, other.note_ids) and all(
        np.array_equal(a, b) for a, b in pairs
    )


def test_notes_and_log_come_back_from_frames(pandas, polars):
    for frame in (NOTES, NOTES.to_arrow(), NOTES.to_pandas(), polars.DataFrame(NOTES)):
        assert Notes.from_frame(frame) == NOTES
    for frame in (LOG, LOG.to_arrow(), LOG.to_pandas(), polars.DataFrame(LOG)):
        assert same(Interactions.from_frame(frame, notes=NOTES), LOG)
    assert list(LOG.to_pandas().event) == ["view", "click", "click"]


def test_times_in_ticks_come_back(pandas):
    log = Interactions([0, 0], [0, 0], ["u"], ["a"], times=[1500, -2250], ticks_per_second=1000)
    again = Interactions.from_frame(log.to_pandas())
    assert (again.times.tolist(), again.ticks_per_second) == ([1500, -2250], 1000)
    with pytest.raises(ValueError, match="ticks_per_second must be one of 1, 1000, .* but is 7"):
        Interactions([0], [0], ["u"], ["a"], times=[1], ticks_per_second=7).to_arrow()


def test_categories_and_an_index_of_pandas(pandas):
    frame = NOTES.to_pandas().astype({"category": "category", "title": "category"})
    frame.loc[1, "content"] = None
    assert Notes.from_frame(frame) == NOTES
    assert Notes.from_frame(frame.set_index("id")) == NOTES
    assert Notes.from_frame(frame[::-1]).ids == ["b", "7"]


def test_categories_and_enumerations_of_polars(polars):
    frame = polars.DataFrame(NOTES)
    kinds = {"category": polars.Categorical, "title": polars.Enum(NOTES.titles)}
    assert Notes.from_frame(frame.cast(kinds)) == NOTES
    log = polars.DataFrame(LOG)
    assert same(Interactions.from_frame(polars.concat([log[:2], log[2:]]), notes=NOTES), LOG)


def test_topics_of_categories_of_polars(polars):
    column = polars.Series("topics", [["b", "a"], None, [], ["a", "c"]], polars.List(polars.Categorical))
    frame = polars.DataFrame(column).with_columns(id=polars.Series(["1", "2", "3", "4"]))
    absent = dict.fromkeys(("title", "content", "category"), "")
    topics = [["b", "a"], [], [], ["a", "c"]]
    assert Notes.from_frame(frame, columns=absent).topics == topics
    assert Notes.from_frame(frame[1:], columns=absent).topics == topics[1:]
    assert Notes.from_frame(polars.concat([frame[3:], frame[:1]]), columns=absent).topics == [
        topics[3],
        topics[0],
    ]


@pytest.mark.parametrize("make", [pa.list_, pa.large_list, lambda item: pa.list_(item, 2)])
@pytest.mark.parametrize("text", [pa.string(), pa.string_view()])
def test_topics_of_a_dictionary_in_pieces_of_any_list(make, text):
    items = pa.DictionaryArray.from_arrays(pa.array([2, 0, None, 1, 1, 0]), pa.array(["a", "b", "c"], text))
    pairs = pa.FixedSizeListArray.from_arrays(items, 2)
    if make(text) != pa.list_(text, 2):
        kind = pa.ListArray if make is pa.list_ else pa.LargeListArray
        pairs = kind.from_arrays([0, 2, 4, 6], items)
    table = pa.table({"id": ["1", "2", "3"], "topics": pairs})
    absent = dict.fromkeys(("title", "content", "category"), "")
    assert Notes.from_frame(table, columns=absent).topics == [["c", "a"], ["b"], ["b", "a"]]
    assert Notes.from_frame(table[1:], columns=absent).topics == [["b"], ["b", "a"]]


def test_rows_that_a_dataset_has_chosen(datasets):
    whole = datasets.Dataset.from_dict(NOTES.to_arrow().to_pydict())
    assert Notes.from_frame(whole.select([1])) == NOTES.take([1])
    assert Notes.from_frame(whole.filter(lambda row: row["id"] == "7")) == NOTES.take([0])
    with pytest.raises(DataError, match="datasets.Dataset: must hold at least one row, but is empty"):
        Notes.from_frame(whole.select([]))
    with pytest.raises(TypeError, match="but is a datasets.DatasetDict; try one of its splits"):
        Notes.from_frame(datasets.DatasetDict({"train": whole}))


def test_columns_of_other_names_are_given_or_hinted():
    table = pa.table({"sku": [1], "Title": ["t"], "content": ["c"], "topics": [["x"]], "category": ["k"]})
    assert Notes.from_frame(table, columns={"id": "sku", "title": "Title"}).ids == ["1"]
    with pytest.raises(DataError, match=r"pyarrow.Table: column 'title' .* try columns=\{'title': 'Title'\}"):
        Notes.from_frame(table, columns={"id": "sku"})
    with pytest.raises(ValueError, match="keys must be among id, .* but one is 'sku'"):
        Notes.from_frame(table, columns={"sku": "id"})


def test_a_stream_is_taken_in_parts(monkeypatch):
    rows = [{"user": f"u{i % 3}", "note": f"n{i % 7}", "time": i} for i in range(20)]
    table = pa.Table.from_pylist(rows)
    whole = Interactions.from_frame(table)
    monkeypatch.setattr(frames, "PART_ROWS", 4)
    for chunk in (1, 3, 20):
        assert same(Interactions.from_frame(table.to_reader(max_chunksize=chunk)), whole)
    known = Notes([f"n{i}" for i in range(6)], *([""] * 6 for _ in range(2)), [[]] * 6, [""] * 6)
    with pytest.raises(
        DataError, match="RecordBatchReader: row 7: note must be an id of the notes, but is 'n6'"
    ):
        Interactions.from_frame(table.to_reader(max_chunksize=3), notes=known)


def test_a_stream_that_breaks_is_a_data_error():
    batch = pa.record_batch({"user": ["u"], "note": ["n"]})

    def batches():
        yield batch
        raise OSError("the line is dead")

    with pytest.raises(DataError, match="must be readable as Arrow, but .*the line is dead"):
        Interactions.from_frame(pa.RecordBatchReader.from_batches(batch.schema, batches()))


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        ([None], "row 1: id must be given, but is null"),
        ([""], "row 1: id must be given, but is empty"),
        ([1.5], "column 'id' must hold text or integers, but holds double"),
    ],
)
def test_bad_ids_are_refused(column, problem):
    kind = pa.string() if column == [None] else None
    with pytest.raises(DataError, match=f"pyarrow.Table: {problem}"):
        Interactions.from_frame(
            pa.table({"id": pa.array(column, kind), "note": ["n"]}), columns={"user": "id"}
        )


def test_a_column_of_mixed_values_is_a_data_error(pandas):
    with pytest.raises(DataError, match="pandas.DataFrame: must be readable as Arrow, but .*column id"):
        Notes.from_frame(pandas.DataFrame({"id": pandas.Series(["a", 5], dtype=object)}))


def test_what_is_no_frame_is_refused(polars):
    lazy = polars.LazyFrame({"id": ["a"]})
    with pytest.raises(TypeError, match=r"but is a polars.LazyFrame; try frame.collect\(\)"):
        Notes.from_frame(lazy)
    with pytest.raises(TypeError, match=r"but is a builtins.list; try pyarrow.table"):
        Notes.from_frame([{"id": "a"}])


def test_pandas_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(
        NotSupportedError, match="pandas must be installed, but is not; try `pip install pandas`"
    ):
        NOTES.to_pandas()
