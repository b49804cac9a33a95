import json
import re

import numpy as np
import pytest

from notellm.app.config import compose
from notellm.app.pipeline import (
    Dataset,
    load_data,
    prepare,
    read_pairs,
    select_queries,
    training_pairs,
    write_pairs,
)
from notellm.app.pipeline.data import fingerprint
from notellm.app.run import RunFolder
from notellm.data import Interactions, Notes, select_pairs
from notellm.errors import DataError
from notellm.mining import mine_pairs


def make(count=60, seed=0):
    """Random baskets over ``count`` notes, two a group, half of them held out."""
    draw = np.random.default_rng(seed)
    notes = Notes(
        ids=[f"n{i}" for i in range(count)],
        titles=["t"] * count,
        contents=["c"] * count,
        topics=[[] for _ in range(count)],
        categories=[""] * count,
    )
    users = np.repeat(np.arange(80), 5)
    log = Interactions(
        users, draw.integers(0, count, 400), [f"u{i}" for i in range(80)], notes.ids, ordered=False
    )
    groups = np.arange(count) // 2
    data = Dataset(notes, log, groups, groups % 2 == 1, groups % 2 == 0)
    pairs = mine_pairs(log)
    return data, pairs


def test_pairs_survive_the_file(tmp_path):
    data, pairs = make()
    write_pairs(tmp_path / "pairs.parquet", pairs, data.notes)
    source, target = read_pairs(tmp_path / "pairs.parquet", data.notes)
    np.testing.assert_array_equal(source, pairs.source)
    np.testing.assert_array_equal(target, pairs.target)
    with pytest.raises(DataError, match="n59"):
        read_pairs(tmp_path / "pairs.parquet", data.notes.take(range(59)))


def test_training_pairs_stay_on_their_side_and_leave_their_group():
    data, pairs = make()
    source, target = training_pairs(compose(), data, pairs.source, pairs.target)
    assert len(source) > 0
    assert not data.is_test[source].any()
    assert not data.is_test[target].any()
    assert (data.groups[source] != data.groups[target]).all()


@pytest.mark.parametrize("kind", ["all", "paired"])
@pytest.mark.parametrize(("queries", "pool"), [(7, 20), (7, 0), (0, 0), (7, 3)])
def test_queries_are_distinct_related_and_in_the_pool(queries, pool, kind):
    data, pairs = make()
    config = compose([f"data.queries={queries}", f"data.pool={pool}", f"data.pool_notes={kind}"])
    drawn = select_queries(config, data, pairs.source, pairs.target)
    source, target = drawn.pool[drawn.source], drawn.pool[drawn.target]
    related = set(zip(pairs.source.tolist(), pairs.target.tolist(), strict=True))
    assert all(pair in related for pair in zip(source.tolist(), target.tolist(), strict=True))
    assert (data.groups[source] != data.groups[target]).all()
    assert len(set(source.tolist())) == len(source) == (queries or len(source))
    assert data.is_test[drawn.pool].all()
    assert (np.diff(drawn.pool) > 0).all()
    needed = len(np.union1d(source, target))
    in_test_pairs = select_pairs(pairs.source, pairs.target, data.groups, data.is_test, "test")
    paired = np.union1d(pairs.source[in_test_pairs], pairs.target[in_test_pairs])
    candidates = len(paired) if kind == "paired" else data.is_test.sum()
    assert len(drawn.pool) == (min(max(pool, needed), candidates) if pool else candidates)
    if kind == "paired":
        assert np.isin(drawn.pool, paired).all()


def test_training_pairs_can_be_few():
    data, pairs = make()
    every = set(zip(*training_pairs(compose(), data, pairs.source, pairs.target), strict=True))
    few = [
        training_pairs(
            compose(["data.train_pairs=9", f"data.split_seed={seed}"]), data, pairs.source, pairs.target
        )
        for seed in (0, 0, 1)
    ]
    drawn = [set(zip(*both, strict=True)) for both in few]
    assert [len(one) for one in drawn] == [9, 9, 9]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] < every


def test_few_training_pairs_are_drawn_apart_from_the_queries():
    """Where users are held out a pair may be on both sides; the draws must not find the same ones."""
    data, pairs = make(60)
    known = Dataset(data.notes, data.interactions, data.groups, *[np.ones(60, bool)] * 2)
    config = compose(["data.train_pairs=60", "data.queries=20"])
    trained = set(zip(*training_pairs(config, known, pairs.source, pairs.target), strict=True))
    drawn = select_queries(config, known, pairs.source, pairs.target)
    queries = set(zip(drawn.pool[drawn.source], drawn.pool[drawn.target], strict=True))
    share = 60 / len(pairs.source)
    assert len(queries & trained) < 20 * share + 4 * (20 * share) ** 0.5


def write_files(folder):
    notes = Notes([f"n{i}" for i in range(40)], ["t"] * 40, ["c"] * 40, [[] for _ in range(40)], [""] * 40)
    notes.write(folder / "notes.parquet")
    draw = np.random.default_rng(0)
    users = np.repeat(np.arange(30), 4)
    log = Interactions(users, draw.integers(0, 40, 120), [f"u{i}" for i in range(30)], notes.ids)
    log.write(folder / "log.parquet")
    return [
        "data=files",
        f"data.notes={folder / 'notes.parquet'}",
        f"data.interactions={folder / 'log.parquet'}",
    ]


def test_validation_notes_are_neither_trained_on_nor_tested(tmp_path):
    files = write_files(tmp_path)
    test, validation = (
        load_data(compose([*files, f"data.held_out={part}"])) for part in ("test", "validation")
    )
    assert test.is_test.sum() == 12
    assert validation.is_test.sum() == round(0.3 * 28)
    assert (test.is_train == ~test.is_test).all()
    assert not (validation.is_test & test.is_test).any()
    assert (validation.is_train == (test.is_train & ~validation.is_test)).all()
    pairs = mine_pairs(validation.interactions)
    source, target = training_pairs(compose(), validation, pairs.source, pairs.target)
    assert validation.is_train[np.concatenate([source, target])].all()
    drawn = select_queries(compose(), validation, pairs.source, pairs.target)
    assert validation.is_test[drawn.pool].all()
    assert fingerprint(test) != fingerprint(validation)


def test_users_can_be_held_out(tmp_path):
    files = write_files(tmp_path)
    config = compose([*files, "data.split=users", f"run_dir={tmp_path / 'run'}"])
    data = load_data(config)
    assert data.is_test.all()
    assert data.is_train.all()
    known, held_out = (set(log.users.tolist()) for log in (data.interactions, data.held_out_interactions))
    assert (len(known), len(held_out), len(known & held_out)) == (21, 9, 0)
    assert len(data.interactions) + len(data.held_out_interactions) == 120
    run = RunFolder.open(config, command=["test"])
    first, again = prepare(run, data), prepare(run, data)
    for mined, log in zip(first, (data.interactions, data.held_out_interactions), strict=True):
        np.testing.assert_array_equal(mined, [mine_pairs(log).source, mine_pairs(log).target])
    np.testing.assert_array_equal(np.concatenate(first.test), np.concatenate(again.test))
    assert training_pairs(config, data, *first.train)[0].size
    assert select_queries(config, data, *first.test).source.size


def test_pairs_can_be_those_of_tagged_notes():
    data, pairs = make()
    for note in range(0, 60, 3):
        data.notes.topics[note] = ["tag"]
    config = compose(["data.pairs=tagged"])
    source, target = training_pairs(config, data, pairs.source, pairs.target)
    assert len(source) > 0
    assert not (source % 3).any()
    assert not (target % 3).any()
    both = set(zip(*training_pairs(compose(), data, pairs.source, pairs.target), strict=True))
    assert set(zip(source, target, strict=True)) < both


def test_queries_depend_on_the_split_seed_alone():
    data, pairs = make()

    def draw(*overrides):
        return select_queries(
            compose(["data.queries=7", *overrides]), data, pairs.source, pairs.target
        ).source.tolist()

    assert draw() == draw("seed=5", "threads=1")
    assert draw() != draw("data.split_seed=1")


def test_no_pairs_is_an_error():
    data, pairs = make()
    empty = pairs.source[:0]
    with pytest.raises(DataError, match="pairs of training notes"):
        training_pairs(compose(), data, empty, empty)
    with pytest.raises(DataError, match="pairs of test notes"):
        select_queries(compose(), data, empty, empty)


def test_exposure_counts_the_baskets_of_a_note():
    data, _ = make()
    assert data.exposure.sum() == len(data.interactions)
    assert data.exposure[3] == (data.interactions.notes == 3).sum()


def test_groups_come_from_a_column(tmp_path):
    (tmp_path / "notes.csv").write_text(
        "id,title,content,topics,category,family\na,x,,,,1\nb,y,,,,2\nc,z,,,,1\n"
    )
    (tmp_path / "log.csv").write_text("user,note\nu,a\nu,b\n")
    files = [f"data.notes='{tmp_path}/notes.csv'", f"data.interactions='{tmp_path}/log.csv'"]
    data = load_data(compose(["data=files", *files, "data.groups_column=family"]))
    assert data.groups.tolist() == [0, 1, 0]
    assert data.is_test[0] == data.is_test[2]
    with pytest.raises(DataError, match="'kind' must be there"):
        load_data(compose(["data=files", *files, "data.groups_column=kind"]))


def log_of(folder, rows, count=6):
    """A run on ``count`` notes and a log of rows ``user,note[,time]``."""
    header = "user,note,time" if rows and rows[0].count(",") == 2 else "user,note"
    notes = Notes(
        [f"n{i}" for i in range(count)], ["t"] * count, ["c"] * count, [[" a,b", "a"]] * count, [""] * count
    )
    notes.write(folder / "notes.jsonl")
    (folder / "log.csv").write_text("\n".join([header, *rows, ""]))
    files = ["data=files", f"data.notes={folder / 'notes.jsonl'}", f"data.interactions={folder / 'log.csv'}"]
    return [*files, f"run_dir={folder / 'run'}"]


@pytest.mark.parametrize(
    ("rows", "option", "remedy", "report"),
    [
        (
            [f"u{i},n{i}" for i in range(6)],
            [],
            "a log in which users have several",
            "6 users .*, 6 with one note",
        ),
        ([f"u,n{i}" for i in range(6)], ["mining.lower=1"], "a lower mining.lower", "15 pairs found"),
        (["u,n0,5", "u,n1,90"], ["mining.max_gap_seconds=2"], "larger mining.max_gap", "0 pairs found"),
    ],
)
def test_a_log_without_pairs_shows_what_mining_did(tmp_path, rows, option, remedy, report):
    config = compose([*log_of(tmp_path, rows), *option])
    run = RunFolder.open(config, command=["test"])
    for _ in range(2):  # nothing half-written is taken for a result
        with pytest.raises(
            DataError, match=rf"data.interactions: must relate notes, .* try {remedy}"
        ) as caught:
            prepare(run, load_data(config))
        assert re.search(report, str(caught.value))
    assert not run.file("pairs.parquet").exists()


def test_what_reading_changed_is_kept_with_the_data(tmp_path):
    config = compose(log_of(tmp_path, [f"u,n{i}" for i in range(6)]))
    data = load_data(config)
    assert data.notes.topics[0] == ["a", "b"]
    prepare(run := RunFolder.open(config, command=["test"]), data)
    found = json.loads(run.file("data.json").read_text())["reading"]
    assert found == {
        "notes": {"hashtags split at a separator": 6, "hashtags left out as repeated": 6},
        "interactions": {
            "events without a time, so that their rows' order counts; if it means nothing: ordered=false": 6
        },
    }


def test_parts_of_seconds_are_part_of_the_data(tmp_path):
    rows = ["u,n0,1.5", "u,n1,3.0"]
    whole = fingerprint(load_data(compose(log_of(tmp_path, ["u,n0,1500", "u,n1,3000"]))))
    assert fingerprint(load_data(compose(log_of(tmp_path, rows)))) != whole
