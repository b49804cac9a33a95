"""Runs the cells of a study that have not been run, one after the other."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from safetensors.torch import load_file

from notellm.machine import versions
from notellm.metrics import Ties, hits_at
from notellm.metrics.arrays import FloatArray
from notellm.pipeline import (
    Dataset,
    Queries,
    evaluate,
    load_data,
    prepare,
    select_queries,
    train,
    train_encoder,
    training_pairs,
)
from notellm.pipeline.data import fingerprint
from notellm.pipeline.evaluating import RANKS
from notellm.pipeline.training import MODEL
from notellm.retrieval import Ranks
from notellm.run import RunFolder
from notellm.studies.ledger import Entry
from notellm.studies.search import has_diverged
from notellm.studies.study import Cell, Study

Say = Callable[[str], None]


def sweep(study: Study, *, keep_models: bool = False, say: Say = print) -> list[Entry]:
    """Runs what is missing of a study; a cell that fails is recorded, and the others go on.

    Searches come first, then the cells with what they have found. Several sweeps may work on one folder: each leaves
    alone what another is at, and rows whose search is not finished.

    Args:
        study: From `load_study`, which has checked every configuration.
        keep_models: Whether trained models stay in the run folders; half a GB each for a small one.
        say: Told what happens, line by line.

    Returns:
        The new entries of the ledger.
    """
    datasets = _Datasets()
    searched = _sweep(study, study.search_cells, datasets, keep_models, say)
    study = study.settled()
    return searched + _sweep(study, study.cells, datasets, keep_models, say)


def is_fault(entry: Entry) -> bool:
    """Whether an entry of a sweep is a failure: that a value of a search diverges is none."""
    return bool(entry["status"] == "failed" and not (entry["searched"] and has_diverged(entry)))


def _sweep(
    study: Study, cells: Sequence[Cell], datasets: _Datasets, keep_models: bool, say: Say
) -> list[Entry]:
    new = []
    for number, cell in enumerate(cells, 1):
        where = f"[{number}/{len(cells)}] {name_of(cell)}"
        if cell.is_open:
            say(f"{where}: not run, since {study.searches[cell.row.key].state(study.ledger.newest())}")
            continue
        with _claimed(cell.folder) as is_ours:
            if not is_ours:
                say(f"{where}: another sweep is at it")
                continue
            found = study.ledger.newest().get(cell.key)
            if found and found["status"] == "done" and found["data"] == datasets.name_of(cell):
                say(f"{where}: done before")
                continue
            if found and cell.searched and has_diverged(found):
                say(f"{where}: has diverged before")
                continue
            say(where)
            entry = _run_recorded(study, cell, datasets, found, keep_models)
            say(f"{where}: {entry['status']} in {entry['seconds']:.0f} s {entry['error']}".rstrip())
            new.append(entry)
    return new


def name_of(cell: Cell) -> str:
    """What a cell is called: its row, its seed and, of a search, what it tries."""
    return ", ".join([cell.row.name, *([cell.searched] if cell.searched else []), f"seed {cell.seed}"])


def plan(study: Study) -> list[tuple[Cell, Entry | None, float | None]]:
    """Each cell, those of searches first, its entry if it is finished, and otherwise how long it may take.

    Returns:
        The estimate is the mean time of the finished runs, in seconds; None where there is none. Whether the data are
        still the same is for `sweep` to see.
    """
    finished = {key: entry for key, entry in study.ledger.newest().items() if entry["status"] == "done"}
    times = [entry["seconds"] for entry in finished.values()]
    mean = sum(times) / len(times) if times else None
    found = {cell.key: None if cell.is_open else finished.get(cell.key) for cell in study.cells}
    found |= {cell.key: finished.get(cell.key) for cell in study.search_cells}
    return [
        (cell, found[cell.key], None if found[cell.key] else mean)
        for cell in [*study.search_cells, *study.cells]
    ]


class _Datasets:
    """The data of cells, read once for all that have the same."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Dataset, str]] = {}

    def of(self, cell: Cell) -> Dataset:
        return self._get(cell)[0]

    def name_of(self, cell: Cell) -> str:
        """The fingerprint of notes, log and split."""
        return self._get(cell)[1]

    def _get(self, cell: Cell) -> tuple[Dataset, str]:
        options = cell.config.data.to_dict()
        for drawn_later in ("queries", "pairs", "train_pairs", "pool_notes", "pool"):
            del options[drawn_later]
        key = json.dumps(options)
        if key not in self._known:
            dataset = load_data(cell.config)
            self._known[key] = dataset, fingerprint(dataset)
        return self._known[key]


@contextmanager
def _claimed(folder: Path) -> Iterator[bool]:
    """Whether the folder is ours while the block lasts: the lock goes with the process that holds it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _run_recorded(
    study: Study,
    cell: Cell,
    datasets: _Datasets,
    before: Entry | None,
    keep_models: bool,
) -> Entry:
    begin, found, error = time.perf_counter(), Outcome({}, ""), ""
    try:
        if _is_outdated(cell, before):
            shutil.rmtree(cell.folder, ignore_errors=True)
        found = run_cell(cell, datasets.of(cell))
        cell.error_file.unlink(missing_ok=True)
        if not keep_models:
            shutil.rmtree(cell.folder / MODEL, ignore_errors=True)
    except Exception as failure:  # whatever it is: the other cells go on
        error = f"{type(failure).__name__}: {failure}".splitlines()[0]
        with suppress(OSError):
            cell.error_file.write_text(traceback.format_exc(), encoding="utf-8")
    entry: Entry = {
        "study": study.name,
        "row": cell.row.key,
        "searched": cell.searched,
        "seed": cell.seed,
        "scale": study.scale,
        "key": cell.key,
        "status": "failed" if error else "done",
        "error": error,
        "metrics": found.metrics,
        "data": "" if error else datasets.name_of(cell),
        "queries": found.queries,
        "commit": versions().get("commit", ""),
        "seconds": round(time.perf_counter() - begin, 1),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": cell.config.to_dict(),
    }
    study.ledger.append(entry)
    return entry


def _is_outdated(cell: Cell, before: Entry | None) -> bool:
    """Whether the folder holds what must not be gone on with: of other data, of code since changed, or half-made."""
    if not (cell.folder / "config.yaml").exists():
        return True
    if before is None:  # interrupted
        return False
    return bool(before["status"] == "done" or before["commit"] != versions().get("commit", ""))


class Outcome(NamedTuple):
    """What came of a cell: its metrics, and a name of its queries with their pool."""

    metrics: dict[str, float]
    queries: str


def run_cell(cell: Cell, dataset: Dataset) -> Outcome:
    """Runs one cell in its folder, going on where a former call was interrupted.

    Args:
        cell: The cell.
        dataset: Its data.

    Returns:
        Its metrics are shares in 0..1, by the names that tables use.
    """
    run = RunFolder.open(cell.config, command=["notellm", "sweep"])
    mined = prepare(run, dataset)
    trainers = {"trained": train, "sentence_bert": train_encoder}
    if cell.row.system in trainers:
        trainers[cell.row.system](run, dataset, *training_pairs(cell.config, dataset, *mined.train))
    queries = select_queries(cell.config, dataset, *mined.test)
    document = evaluate(run, dataset, queries)
    return Outcome(metrics_of(document, cell.row.system), _name_of(queries))


def _name_of(queries: Queries) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for part in (queries.pool, queries.source, queries.target):
        digest.update(part.tobytes())
    return digest.hexdigest()


def metrics_of(document: dict[str, Any], system: str) -> dict[str, float]:
    """The numbers of one system in an ``evaluation.json``, by the names that tables use."""
    own = next(row for row in document["systems"] if row["key"] == system)
    metrics = {"mrr": own["mrr"]["value"]}
    for side, part in {"": own, **own["exposure"]}.items():
        recalls = {f"recall@{k}": found["value"] for k, found in part["recall"].items()}
        recalls["recall@avg"] = sum(recalls.values()) / len(recalls)
        metrics |= {f"{side}.{name}".lstrip("."): value for name, value in recalls.items()}
    for writer in document.get("generation", {}).get("systems", []):
        if writer["key"] == system:
            metrics |= _generation_metrics(writer)
    return metrics


def _generation_metrics(writer: dict[str, Any]) -> dict[str, float]:
    found = {
        "accuracy": writer["category_accuracy"],
        "illusory": writer["illusory"],
        "closed_set": (writer["closed_set"] or {}).get("accuracy"),
        "bleu4": writer["bleu4"],
        "rouge1": writer["rouge1"],
        "rouge2": writer["rouge2"],
        "rougeL": writer["rougeL"],
        "hashtag_f1": (writer["hashtags"] or {}).get("f1"),
    }
    return {name: interval["value"] for name, interval in found.items() if interval is not None}


def exposure_of(cell: Cell) -> FloatArray | None:
    """Shape ``(Q,)``: the share of the pool that is less exposed than each query's target; None as in `hits_of`."""
    try:
        return np.asarray(load_file(cell.folder / RANKS)["exposure.place"].numpy(), dtype=np.float64)
    except FileNotFoundError:
        return None


def hits_of(cell: Cell, column: str) -> FloatArray | None:
    """Shape ``(Q,)``: what each query of a finished cell contributes to a recall; None if its ranks are not there.

    Args:
        cell: The cell.
        column: ``"recall@K"``, ``"recall@avg"``, or by exposure: ``"low.recall@K"``, of those queries alone.
    """
    side, _, metric = column.rpartition(".")
    try:
        tensors = load_file(cell.folder / RANKS)
    except FileNotFoundError:
        return None
    ranks = Ranks(tensors[f"{cell.row.system}.greater"], tensors[f"{cell.row.system}.equal"])
    evaluation, k = cell.config.evaluation, metric.removeprefix("recall@")
    ks = evaluation.ks if k == "avg" else [int(k)]
    hits: FloatArray = hits_at(ranks, ks, ties=cast(Ties, evaluation.ties)).mean(axis=1)
    return hits[tensors[f"exposure.{side}"].numpy().astype(bool)] if side else hits
