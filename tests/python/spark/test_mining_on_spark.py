"""Mining on Spark against the core: the same pairs in the same order, to the last bit, and the same report."""

import datetime as dt
import json
import os
import shutil
from dataclasses import replace
from math import inf

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
    pytest.skip("mining on Spark needs Java, which is not here", allow_module_level=True)
pytest.importorskip("pyspark", reason="mining on Spark needs pyspark, which is not installed")

from pyspark.sql import functions as F

from notellm.app import cli
from notellm.data import Interactions, Notes
from notellm.errors import DataError, NotSupportedError
from notellm.mining import mine_pairs
from notellm.spark import (
    explain_on_spark,
    log_frame,
    mine_pairs_on_spark,
    notes_frame,
    read_log,
    read_notes,
    sums,
)
from notellm.spark.scores import bound_units, to_units
from notellm.spark.sums import saturating_sum

NOTES, USERS = 40, 60
IDS = [f"n{i}" for i in np.random.default_rng(0).permutation(NOTES)]  # their order is no order of texts


def random_log(seed, *, times=True, events=True, ordered=True, ticks=1):
    """Users of every kind: one note, one event, views alone, clicks alone, many events; times that tie."""
    random = np.random.default_rng(seed)
    sizes = random.integers(1, 15, USERS)
    sizes[:3] = 1, 60, 90
    users = random.permutation(np.repeat(np.arange(USERS), sizes))
    notes = (NOTES * random.random(len(users)) ** 2 * 0.9).astype(np.int64)
    notes[users == 5] = 7
    kinds = random.integers(0, 2, len(users)).astype(np.int8)
    kinds[users == 6], kinds[users == 7] = 0, 1
    return Interactions(
        users,
        notes,
        [f"u{i}" for i in range(USERS)],
        IDS,
        times=random.integers(-20, 60, len(users)) if times else None,
        events=kinds if events else None,
        ordered=ordered,
        ticks_per_second=ticks,
    )


LOGS = {
    "times and events": {},
    "rows alone": {"times": False},
    "each row is both": {"events": False},
    "milliseconds": {"ticks": 1000},
    "baskets": {"times": False, "events": False, "ordered": False},
    "baskets with events": {"ordered": False},
}

CASES = [
    ("notellm", "times and events", {"lower": 0, "upper": inf, "top": 0}),
    (
        "notellm",
        "each row is both",
        {"lower": 0.1, "upper": 1.2, "top": 3, "min_users": 2, "max_user_events": 60},
    ),
    ("notellm", "rows alone", {"lower": 1 / 3, "top": 2, "max_gap_events": 4}),
    ("notellm", "milliseconds", {"lower": 0, "max_gap_seconds": 2**62, "max_gap_events": 30}),
    ("notellm", "baskets", {"top": 1, "max_user_events": 12}),
    ("count", "baskets with events", {"lower": 2, "upper": 6, "top": 4}),
    ("count", "times and events", {"lower": 0, "max_gap_seconds": 5, "top": 2**63 - 1}),
    ("cosine", "each row is both", {"lower": 0.1, "upper": 0.5, "top": 5}),
    ("cosine", "baskets", {"lower": 0, "min_users": 2, "max_user_events": 60}),
    ("pmi", "rows alone", {"lower": 0, "top": 0, "max_user_events": 60}),
    ("pmi", "baskets with events", {"lower": 0.25, "upper": 1.5, "top": 3}),
    ("swing", "times and events", {"lower": 0, "top": 0, "sample_note_users": 30, "sample_user_notes": 8}),
    ("swing", "baskets", {"lower": 0, "swing_alpha": 0.3, "sample_note_users": 9, "max_user_events": 60}),
    ("swing", "milliseconds", {"lower": 0, "sample_note_users": 1000, "max_gap_events": 5, "min_users": 2}),
    ("notellm", "rows alone", {"lower": 0, "sample_user_notes": 4, "sample_seed": 7}),
    ("pmi", "baskets", {"lower": 0, "sample_user_notes": 3, "sample_note_users": 4, "max_user_events": 12}),
    ("cosine", "each row is both", {"lower": 0, "sample_note_users": 2, "sample_seed": 2**62}),
]


def on_spark(session, log, **options):
    """Pairs of Spark, in memory, and the report."""
    mined = mine_pairs_on_spark(
        log_frame(session, log),
        notes_frame(session, log.note_ids),
        ordered=log.ordered,
        ticks_per_second=log.ticks_per_second,
        **options,
    )
    pairs = mined.to_pairs(log.note_ids)
    mined.unpersist()
    return pairs


def bytes_of(pairs):
    shown = pairs.exposure
    columns = (pairs.source, pairs.target, pairs.score, pairs.users)
    return [column.tobytes() for column in (*columns, shown.events, shown.views, shown.clicks, shown.users)]


@pytest.mark.parametrize(("score", "kind", "options"), CASES)
def test_equals_the_core_to_the_last_bit(session, monkeypatch, score, kind, options):
    monkeypatch.setattr(sums, "CHUNK", 8)  # so that some users are divided
    seed = CASES.index((score, kind, options))
    log = random_log(seed, **LOGS[kind])
    expected = mine_pairs(log, score=score, **options)
    assert len(expected) > 0
    found = on_spark(session, log, score=score, **options)
    assert bytes_of(found) == bytes_of(expected)
    assert found.report == expected.report


def test_every_option_and_score_is_among_the_cases():
    from notellm.mining import MiningOptions
    from notellm.spark.mining import KNOWN
    from notellm.spark.scores import SCORES

    given = {name for _, _, options in CASES for name in options} | {"score"}
    assert given == KNOWN <= set(MiningOptions().to_dict())
    assert {score for score, _, _ in CASES} == set(SCORES)
    assert {kind for _, kind, _ in CASES} == set(LOGS)


def test_a_log_without_pairs_has_a_report_too(session):
    log = Interactions([0, 1], [0, 1], ["u", "v"], ["a", "b", "c"], times=[1, 2])
    found = on_spark(session, log)
    assert len(found) == 0
    assert found.report == mine_pairs(log).report


def test_sums_and_scores_end_at_the_largest_unit(session):
    rows = [("a", 2**62), ("a", 2**62), ("a", 5), ("b", 2**63 - 1), ("b", 0), ("c", 3), ("c", 4)]
    frame = session.createDataFrame(rows, "name string, units bigint").repartition(3)
    totals = frame.groupBy("name").agg(saturating_sum("units").alias("total")).orderBy("name").collect()
    assert [row.total for row in totals] == [2**63 - 1, 2**63 - 1, 7]
    scores = [
        0.0,
        0.5 / 2**40,
        0.49999999999999994 / 2**40,
        2.0**10 + 1.5 / 2**40,
        2.0**23,
        1e300,
        inf,
        1 / 3,
    ]
    frame = session.createDataFrame([(score,) for score in scores], "score double")
    found = [row.units for row in frame.select(to_units(F.col("score")).alias("units")).collect()]
    assert found == [bound_units(score) for score in scores]
    assert found[:7] == [0, 1, 0, 2**50 + 2, 2**63 - 1, 2**63 - 1, 2**63 - 1]


@pytest.fixture
def files(tmp_path):
    """A log in parts, with integers as users and dates as times; notes in one file; and both in one, for the core."""
    log = random_log(3)
    start = dt.datetime(2024, 3, 31, 0, 59, 50)  # summer time begins in Berlin meanwhile
    times = [start + dt.timedelta(minutes=int(time), microseconds=1) for time in log.times]
    table = pa.table(
        {
            "user": log.users,
            "note": np.array(IDS)[log.notes],
            "time": pa.array(times, pa.timestamp("us")),
            "event": np.array(["view", "click"])[log.events],
            "country": ["nl"] * len(log),
        }
    )
    (tmp_path / "log").mkdir()
    bounds = [0, 300, 310, len(log)]  # the smallest part first or last is not the order of the names
    for part, (begin, end) in enumerate(zip(bounds, bounds[1:], strict=False)):
        pq.write_table(table.slice(begin, end - begin), tmp_path / "log" / f"part-0000{part}.parquet")
    pq.write_table(table, tmp_path / "log.parquet")
    Notes(IDS, IDS, IDS, [[]] * NOTES, [""] * NOTES).write(tmp_path / "notes.parquet")
    return tmp_path


def arguments(files, log="log.parquet"):
    data = ["data=files", f"data.notes={files / 'notes.parquet'}", f"data.interactions={files / log}"]
    return [
        "mine",
        *data,
        "data.ordered=true",
        "mining.lower=0",
        "mining.max_gap_seconds=900",
        "mining.top=3",
    ]


def test_the_verb_writes_what_the_core_writes(session, files, capsys):
    core, there, output = files / "core", files / "there", files / "output"
    assert cli.main([*arguments(files), f"run_dir={core}"]) == 0
    said = capsys.readouterr().out
    assert cli.main([*arguments(files), f"run_dir={there}", "--engine", "spark"]) == 0
    assert capsys.readouterr().out == said.replace(str(core), str(there))
    for name in ("pairs.parquet", "data.json"):
        assert (core / name).read_bytes() == (there / name).read_bytes()
    spark = ["--engine", "spark", "--output", str(output)]
    assert cli.main([*arguments(files, "log"), *spark]) == 0
    assert capsys.readouterr().out.splitlines()[:3] == said.splitlines()[:3]
    written, expected = pq.read_table(output / "pairs.parquet"), pq.read_table(core / "pairs.parquet")
    assert written.num_rows > 20
    assert written.to_pydict() == expected.to_pydict()
    known = json.loads((core / "data.json").read_text())
    assert json.loads((output / "mining.json").read_text()) == known["mining"]
    assert cli.main([*arguments(files, "log"), *spark]) == 2
    assert "--output: must be a new folder, but" in capsys.readouterr().err


def test_rows_of_a_folder_are_numbered_by_the_names_of_its_parts(session, files):
    rows = read_log(session, str(files / "log")).orderBy("row").select("user", "row").collect()
    assert [row.row for row in rows] == list(range(len(rows)))
    assert [row.user for row in rows] == pq.read_table(files / "log.parquet")["user"].to_pylist()


def test_the_plan_sends_only_the_best_of_each_task(files, session):
    log, notes = read_log(session, str(files / "log")), read_notes(session, str(files / "notes.parquet"))
    plan = explain_on_spark(log, notes, top=7)
    assert "row_number(), 7, Partial" in plan
    assert "REPARTITION_BY_NUM" in plan


USER_AND_NOTE = "user string, note string, row bigint"


@pytest.mark.parametrize(
    ("schema", "rows", "options", "message"),
    [
        (
            "who string, note string, row bigint",
            [],
            {},
            "log: column 'user' must be there, but the columns are who",
        ),
        (
            "user string, note string",
            [],
            {},
            "log: column 'row' must be there, but .*; try notellm.spark.read_log",
        ),
        (
            "user double, note string, row bigint",
            [],
            {},
            "log: column 'user' must hold text or integers, but holds d",
        ),
        (
            f"{USER_AND_NOTE}, time double",
            [],
            {},
            "log: column 'time' must hold integers, dates or timestamps, but",
        ),
        (f"{USER_AND_NOTE}, event int", [], {}, "log: column 'event' must hold text, but holds int"),
        (USER_AND_NOTE, [("u", "a", 0), (None, "a", 1)], {}, "log row 2: user must be given, but is null"),
        (USER_AND_NOTE, [("u", "a", 0), ("u", "", 1)], {}, "log row 2: note must not be empty, but is ''"),
        (
            USER_AND_NOTE,
            [("u", "a", 7), ("u", "x", 6)],
            {},
            "log row 7: note must be an id of the notes, but is 'x'",
        ),
        (
            f"{USER_AND_NOTE}, event string",
            [("u", "a", 0, "like")],
            {},
            "log row 1: event must be view or click, but is 'like'",
        ),
        (USER_AND_NOTE, [], {"max_gap_seconds": 3}, "a gap limit in time needs event times"),
        (USER_AND_NOTE, [], {"max_gap_events": 3, "ordered": False}, "a gap limit needs an ordered log"),
        (USER_AND_NOTE, [], {"lower": 2, "upper": 1}, "lower must not be above upper"),
    ],
)
def test_a_bad_log_is_one_clear_error(session, schema, rows, options, message):
    notes = session.createDataFrame([("a", 0), ("b", 1)], "id string, index bigint")
    with pytest.raises((DataError, ValueError), match=message) as caught:
        mine_pairs_on_spark(session.createDataFrame(rows, schema), notes, **options)
    assert "\n" not in str(caught.value)


def test_bad_notes_are_one_clear_error(session):
    log = session.createDataFrame([("u", "a", 0)], USER_AND_NOTE)
    for rows, message in (
        ([("a", 0), ("a", 1)], "notes: id must be unique, but 'a' comes 2 times"),
        ([("a", 4), ("b", 4)], "notes: index must be unique, but 4 comes 2 times"),
        ([("a", 0), (None, 1)], "notes: id must be given, but is null or empty in 1 rows"),
    ):
        with pytest.raises(DataError, match=message):
            mine_pairs_on_spark(log, session.createDataFrame(rows, "id string, index bigint"))


class Options:
    """Options that the core might have one day."""

    score = "notellm"

    def __init__(self, **more):
        self.more = more
        self.score = more.get("score", self.score)

    def to_dict(self):
        return {"score": self.score, **self.more}


def test_what_cannot_be_done_on_spark_is_refused_by_name(monkeypatch):
    from notellm.spark import mining

    with pytest.raises(NotSupportedError, match="mining.score must be one of notellm, .*, but is jaccard"):
        mining._refuse_unknown(Options(score="jaccard"))
    monkeypatch.setattr(mining, "MiningOptions", lambda: Options(sample_events=0))
    mining._refuse_unknown(Options(sample_events=0))
    with pytest.raises(
        NotSupportedError, match="mining.sample_events must be 0, but is 5; try notellm.mine_pairs"
    ):
        mining._refuse_unknown(Options(sample_events=5))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--output", "out"], "--output: must come with --engine spark, but the engine is core"),
        (["--engine", "spark", "--output", "out"], "--output: data.source must be files"),
        (["--engine", "spark", "--output", "out", "--conf", "x"], "--conf: must be KEY=VALUE, but is 'x'"),
        (
            [
                "--engine",
                "spark",
                "--output",
                "out",
                "data=files",
                "data.notes=a",
                "data.interactions=none.parquet",
            ],
            "none.parquet: must be a Parquet file or a folder of them, but",
        ),
    ],
)
def test_a_bad_call_of_the_verb_is_one_line(session, given, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["mine", *given]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_order_of_notes_decides_ties(session):
    log = Interactions([0, 0, 0], [0, 1, 2], ["u"], ["a", "b", "c"], ordered=False)
    turned = replace(log, notes=2 - log.notes, note_ids=["c", "b", "a"])
    best = [on_spark(session, each, top=1) for each in (log, turned)]
    partners = [
        [each.note_ids[t] for t in found.target] for each, found in zip((log, turned), best, strict=True)
    ]
    assert partners == [["b", "a", "a"], ["b", "c", "c"]]
