"""The first half of every run: notes and behaviour, the split, related pairs, queries and their pool.

Each function takes what it needs from the configuration and returns plain data; `prepare` mines the
pairs and keeps them in the run folder.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from notellm.app.config import Config
from notellm.app.kept import made_by
from notellm.app.pipeline.catalogue import Catalogue, contents_of, read_catalogue
from notellm.app.run import RunFolder
from notellm.data import (
    Interactions,
    Notes,
    select_pairs,
    split_by_group,
    within_groups,
)
from notellm.data.tables import Column, Kind, read_table
from notellm.data.writing import write_table
from notellm.errors import DataError
from notellm.io.fingerprints import json_fingerprint
from notellm.io.json_files import read_json_object, write_json
from notellm.mining import Pairs, mine_pairs
from notellm.processes import first_process_first
from notellm.progress import console_progress

__all__ = [
    "Dataset",
    "MinedPairs",
    "Miner",
    "Queries",
    "describe_data",
    "load_data",
    "mine",
    "prepare",
    "reading_reports",
    "read_pairs",
    "select_queries",
    "shuffled",
    "split_catalogue",
    "training_pairs",
    "write_pairs",
]

IntArray = npt.NDArray[np.int64]

Miner = Callable[[Config, Interactions], Pairs]
"""Mines related pairs from a log, with the ``mining`` group of a configuration."""


@dataclass(frozen=True)
class Dataset:
    """Notes, what people did with them, and the split.

    Attributes:
        notes: N notes.
        interactions: The log, over these notes; without the held-out users, if users are held out.
        groups: Shape ``(N,)``: notes of one group are never on both sides of a split of notes.
        is_test: Shape ``(N,)``: true for notes used in the evaluation.
        is_train: Shape ``(N,)``: true for notes used in training. No note is both, unless users are held out:
            then all notes are both.
        held_out_interactions: The log of the held-out users; None if notes are held out.
    """

    notes: Notes
    interactions: Interactions
    groups: IntArray
    is_test: npt.NDArray[np.bool_]
    is_train: npt.NDArray[np.bool_]
    held_out_interactions: Interactions | None = None

    @property
    def exposure(self) -> IntArray:
        """Shape ``(N,)``: in how many events (or baskets) of ``interactions`` each note occurs."""
        return np.bincount(self.interactions.notes, minlength=len(self.notes)).astype(np.int64)


class MinedPairs(NamedTuple):
    """Related pairs of a run; source and target are positions in the notes, shape ``(P,)`` each."""

    train: tuple[IntArray, IntArray]
    """The pairs from which training pairs are taken."""
    test: tuple[IntArray, IntArray]
    """The pairs from which queries are taken: the same pairs, or those of the held-out users' log."""


@dataclass(frozen=True)
class Queries:
    """The queries and the pool for evaluating retrieval.

    Attributes:
        pool: Shape ``(M,)``: the test notes to rank, as positions in the notes, ascending.
        source: Shape ``(Q,)``: the queries, as positions in the pool, distinct.
        target: Shape ``(Q,)``: their ground truths, as positions in the pool.
    """

    pool: IntArray
    source: IntArray
    target: IntArray


def load_data(config: Config) -> Dataset:
    """Reads the notes and the log, downloads them if needed, and splits the notes.

    Args:
        config: Its ``data`` group names the source.

    Returns:
        The data.

    Raises:
        DataError: If a file is malformed, or the data cannot be downloaded.
        FileNotFoundError: If a file does not exist.
    """
    return split_catalogue(read_catalogue(config), config)


def split_catalogue(catalogue: Catalogue, config: Config) -> Dataset:
    """Holds out notes or users of data that have been read; nothing is copied but masks, and the logs of users.

    Args:
        catalogue: The data of the configuration's source.
        config: Its ``data`` group says what is held out.
    """
    notes, log, groups = catalogue.notes, catalogue.interactions, catalogue.groups
    if config.data.split == "users":
        known, held_out = _hold_out(np.arange(len(log.user_ids)), config)
        everything = np.ones(len(notes), np.bool_)
        parts = log.of_users(known), log.of_users(held_out)
        return Dataset(notes, parts[0], groups, everything, everything, parts[1])
    is_train, is_test = _hold_out(groups, config)
    return Dataset(notes, log, groups, is_test, is_train)


def _hold_out(groups: IntArray, config: Config) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Masks of the training and the test notes, shape ``(N,)`` each; groups are not divided.

    For validation, the test side is set aside, and the same share of the rest is drawn in its place.
    """
    data = config.data
    is_test = split_by_group(groups, data.test_fraction, data.split_seed)
    if data.held_out == "test":
        return ~is_test, is_test
    return _drawn_from(~is_test, groups, config)


def _drawn_from(
    is_one: npt.NDArray[np.bool_], groups: IntArray, config: Config
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Divides some notes: masks of those that stay, and of the share that is drawn for validation."""
    among = np.flatnonzero(is_one)
    is_drawn = split_by_group(groups[among], config.data.test_fraction, config.data.split_seed)
    stays, drawn = np.zeros_like(is_one), np.zeros_like(is_one)
    stays[among[~is_drawn]] = drawn[among[is_drawn]] = True
    return stays, drawn


def with_validation(config: Config, dataset: Dataset) -> Dataset:
    """The data amid a training: a share of the training notes is on the test side, the test notes on none."""
    is_train, is_validation = _drawn_from(dataset.is_train, dataset.groups, config)
    return replace(dataset, is_train=is_train, is_test=is_validation)


def mine(config: Config, interactions: Interactions) -> Pairs:
    """Mines related pairs from a log, with the ``mining`` group of the configuration."""
    with console_progress("mining pairs", "notes") as progress:
        return mine_pairs(interactions, config.mining, threads=config.threads, progress=progress)


@first_process_first()
def prepare(run: RunFolder, dataset: Dataset, miner: Miner = mine) -> MinedPairs:
    """The related pairs of a run: mined and saved in its folder, or read from there.

    Writes ``pairs.parquet`` (ids of source and target, score, users), if users are held out also
    ``held_out_pairs.parquet``, and ``data.json`` (sizes and counts).

    Args:
        run: The run folder.
        dataset: Its data.
        miner: What mines a log; all of them find the same pairs.

    Raises:
        DataError: If the log gives no pair; with the report of mining.
    """
    path, held_out_path = run.file("pairs.parquet"), run.file("held_out_pairs.parquet")
    held_out_log = dataset.held_out_interactions
    mined_by = json_fingerprint(made_by(run.config, "pairs"))
    if run.file("data.json").exists():
        _refuse_other_pairs(run, dataset, mined_by)
    else:
        pairs = _some(miner(run.config, dataset.interactions), "data.interactions")
        write_pairs(path, pairs, dataset.notes)
        held_out = pairs
        if held_out_log is not None:
            held_out = _some(miner(run.config, held_out_log), "data.interactions of the users held out")
            write_pairs(held_out_path, held_out, dataset.notes)
        described = describe_data(dataset, pairs, held_out) | {"mined_by": mined_by}
        write_json(run.file("data.json"), described)
    known = read_pairs(path, dataset.notes)
    return MinedPairs(known, known if held_out_log is None else read_pairs(held_out_path, dataset.notes))


def _refuse_other_pairs(run: RunFolder, dataset: Dataset, mined_by: str) -> None:
    """Refuses a folder whose pairs, and so its model, are of other data or options."""
    known = read_json_object(run.file("data.json"))
    changed = ""
    if known.get("fingerprint") != fingerprint(dataset):
        changed = "notes, log or split"
    elif known.get("mined_by", mined_by) != mined_by:
        changed = "options of mining"
    if changed:
        raise DataError(
            f"{run.path}: must be a run on these data, but {changed} have changed since; try another run_dir"
        )


def _some(pairs: Pairs, where: str) -> Pairs:
    """The pairs; there must be at least one.

    Raises:
        DataError: If there is none; with the report of mining.
    """
    if len(pairs) == 0:
        report = pairs.report
        raise DataError(
            f"{where}: must relate notes, but mining keeps no pair; try {report.remedy()}\n{report.describe()}"
        )
    return pairs


def training_pairs(
    config: Config, dataset: Dataset, source: IntArray, target: IntArray
) -> tuple[IntArray, IntArray]:
    """The pairs to train on: both notes on the training side, in different groups.

    Args:
        config: Its ``data.pairs`` says whether both notes must have hashtags, ``data.train_pairs`` the largest number
            of pairs, which are drawn by ``data.split_seed``.
        dataset: The notes' sides and groups.
        source: Shape ``(P,)``, positions in the notes.
        target: Shape ``(P,)``, positions in the notes.

    Returns:
        Source and target of the pairs kept.

    Raises:
        DataError: If there is none.
    """
    chosen = select_pairs(source, target, dataset.groups, ~dataset.is_train, "train")
    if config.data.pairs == "tagged":
        has_tags = np.array([bool(topics) for topics in dataset.notes.topics])
        chosen &= has_tags[source] & has_tags[target]
    if not chosen.any():
        raise DataError(
            f"data: there must be pairs of training notes (data.pairs={config.data.pairs}), but there are none; "
            "try lower mining.lower"
        )
    kept = np.flatnonzero(chosen)
    if config.data.train_pairs and len(kept) > config.data.train_pairs:
        ids = dataset.notes.ids
        # a different draw than for queries, which may come from the same pairs if users are held out
        names = [f"train {ids[source[p]]} {ids[target[p]]}" for p in kept]
        kept = np.sort(shuffled(kept, names, config.data.split_seed)[: config.data.train_pairs])
    return source[kept], target[kept]


def select_queries(config: Config, dataset: Dataset, source: IntArray, target: IntArray) -> Queries:
    """Draws the queries and the pool from the test side; depends on ``data.split_seed`` only.

    Queries are distinct notes; the ground truth of each is one of its partners in another group. The
    pool has both notes of every query, and others drawn at random up to ``data.pool``: from the notes
    in test pairs, or from all test notes, depending on ``data.pool_notes``.

    Args:
        config: ``data.queries``, ``data.pool`` and ``data.pool_notes``.
        dataset: The notes' sides and groups.
        source: Shape ``(P,)``, positions in the notes.
        target: Shape ``(P,)``, positions in the notes.

    Returns:
        Queries and pool.

    Raises:
        DataError: If no test note has a partner.
    """
    chosen = np.flatnonzero(select_pairs(source, target, dataset.groups, dataset.is_test, "test"))
    if len(chosen) == 0:
        raise DataError(
            "data: there must be pairs of test notes, but there are none; try a larger data.test_fraction"
        )
    ids, data = dataset.notes.ids, config.data
    chosen = shuffled(chosen, [f"{ids[source[p]]} {ids[target[p]]}" for p in chosen], data.split_seed)
    _, first = np.unique(source[chosen], return_index=True)  # one pair per query
    kept = chosen[np.sort(first)][: data.queries or None]
    needed = np.union1d(source[kept], target[kept])
    paired = np.union1d(source[chosen], target[chosen])
    others = np.setdiff1d(paired if data.pool_notes == "paired" else np.flatnonzero(dataset.is_test), needed)
    others = shuffled(others, [ids[note] for note in others], data.split_seed)
    room = max(data.pool - len(needed), 0) if data.pool else len(others)
    pool = np.sort(np.concatenate([needed, others[:room]]))
    return Queries(pool, np.searchsorted(pool, source[kept]), np.searchsorted(pool, target[kept]))


def shuffled(values: IntArray, names: Sequence[str], seed: int) -> IntArray:
    """Orders values by a hash of their names: a shuffle that is the same with every version of every library."""
    keys = [hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=16).digest() for name in names]
    return values[np.array(sorted(range(len(values)), key=keys.__getitem__), dtype=np.int64)]


def write_pairs(path: str | Path, pairs: Pairs, notes: Notes) -> None:
    """Writes pairs with the ids of their notes, so that the file can be read without other files."""
    ids = pa.array(notes.ids, pa.large_string())
    columns = {"source": ids.take(pa.array(pairs.source)), "target": ids.take(pa.array(pairs.target))}
    write_table(path, pa.table(columns | {"score": pairs.score, "users": pairs.users}))


def read_pairs(path: str | Path, notes: Notes) -> tuple[IntArray, IntArray]:
    """Reads source and target of pairs, shape ``(P,)`` each, as positions in ``notes``.

    Raises:
        DataError: If the file is damaged or names a note that does not exist.
    """
    schema = {"source": Column(Kind.KEY), "target": Column(Kind.KEY)}
    columns = read_table(path, schema).columns
    return notes.index(columns["source"].to_pylist()), notes.index(columns["target"].to_pylist())


def fingerprint(dataset: Dataset) -> str:
    """A name for the content of all data, which a run records to notice other data."""
    found = contents_of(dataset.notes, dataset.interactions, dataset.groups)
    arrays: list[npt.NDArray[Any] | None] = [dataset.is_test]
    if not np.array_equal(dataset.is_train, ~dataset.is_test):
        arrays.append(dataset.is_train)
    if (held_out := dataset.held_out_interactions) is not None:
        arrays += [held_out.users, held_out.notes, held_out.times, held_out.events]
    for array in arrays:
        found.add_array(array)
    return found.name()


def describe_data(dataset: Dataset, pairs: Pairs, held_out: Pairs) -> dict[str, Any]:
    """The content of ``data.json``: sizes of the data and of the split, and the report of mining."""
    inside = within_groups(pairs.source, pairs.target, dataset.groups)
    train = select_pairs(pairs.source, pairs.target, dataset.groups, ~dataset.is_train, "train")
    test = select_pairs(held_out.source, held_out.target, dataset.groups, dataset.is_test, "test")
    used = int(train.sum()) + int(test.sum()) if held_out is pairs else int(train.sum())
    return {
        "fingerprint": fingerprint(dataset),
        "notes": len(dataset.notes),
        "train_notes": int(dataset.is_train.sum()),
        "test_notes": int(dataset.is_test.sum()),
        "groups": len(np.unique(dataset.groups)),
        "baskets": len(dataset.interactions.user_ids),
        "events": len(dataset.interactions),
        "reading": reading_reports(dataset),
        "hashtag_notes": sum(map(bool, dataset.notes.topics)),
        "categories": len({name for name in dataset.notes.categories if name}),
        "pairs_mined": len(pairs),
        "pairs_train": int(train.sum()),
        "pairs_test": int(test.sum()),
        "pairs_within_groups_left_out": int(inside.sum()),
        "pairs_across_the_split_left_out": len(pairs) - int(inside.sum()) - used,
        "mining": pairs.report.to_dict(),
    }


def reading_reports(dataset: Dataset) -> dict[str, dict[str, int]]:
    """What was changed when the files were read, in words and how often, by file."""
    reports = {"notes": dataset.notes.report, "interactions": dataset.interactions.report}
    return {what: dict(report.changes) for what, report in reports.items() if report is not None}
