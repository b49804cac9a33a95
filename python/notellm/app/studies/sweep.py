"""Runs the cells of a study that have not been run, one after the other."""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from notellm.app.kept import backbone_key
from notellm.app.pipeline import Dataset, Queries, load_data, run_steps
from notellm.app.pipeline.data import fingerprint
from notellm.app.pipeline.encoder import ENCODER
from notellm.app.pipeline.training import MODEL
from notellm.app.run import RUN, RunFolder
from notellm.app.studies.cell import Cell
from notellm.app.studies.ledger import DEFAULTS, Entry
from notellm.app.studies.search import has_diverged
from notellm.app.studies.study import Study
from notellm.evaluation.generation_results import GenerationResult
from notellm.evaluation.results import Evaluation
from notellm.evaluation.retrieval_results import RetrievalResult
from notellm.io.files import locked
from notellm.io.fingerprints import Fingerprint
from notellm.io.json_files import read_json, read_json_object
from notellm.io.json_tree import Node
from notellm.machine import versions
from notellm.training.checkpoint import CHECKPOINTS

Say = Callable[[str], None]


def sweep(
    study: Study, *, keep_models: bool = False, again: Collection[str] = (), say: Say = print
) -> list[Entry]:
    """Runs the missing cells of a study; a cell that fails is recorded, and the others go on.

    Searches come first, then the cells with the values found. Several sweeps may work in one folder: each skips cells
    that another is running, and rows whose search is not finished.

    Args:
        study: From `load_study`, which has checked every configuration.
        keep_models: Whether trained models are kept in the run folders; even a small one takes half a GB.
        again: Keys of rows to run again, with their searches, although they are finished.
        say: Called with messages, line by line.

    Returns:
        The new entries of the ledger.
    """
    sweeper = _Sweeper(_Datasets(), keep_models, frozenset(again), say)
    searched = sweeper.run(study, study.search_cells)
    study = study.settled()
    return searched + sweeper.run(study, study.cells)


def is_fault(entry: Entry) -> bool:
    """Whether an entry of a sweep is a failure; a diverged value of a search is not."""
    return bool(entry["status"] == "failed" and not (entry["searched"] and has_diverged(entry)))


@dataclass(frozen=True)
class _Sweeper:
    """The settings of a sweep, the same for all its cells."""

    datasets: _Datasets
    keep_models: bool
    again: frozenset[str]
    say: Say

    def run(self, study: Study, cells: Sequence[Cell]) -> list[Entry]:
        """Runs the cells that need it; returns the new entries."""
        new, tried = [], set[str]()
        for number, cell in enumerate(cells, 1):
            where = f"[{number}/{len(cells)}] {name_of(cell)}"
            if cell.is_open:
                self.say(
                    f"{where}: not run, since {study.searches[cell.row.key].state(study.ledger.newest())}"
                )
                continue
            if cell.key in tried:  # other rows show more of the same run
                continue
            with locked(cell.folder, wait=False) as is_ours:
                if not is_ours:
                    self.say(f"{where}: another sweep is at it")
                    continue
                found = study.ledger.newest().get(cell.key)
                if finished := self._finished(cell, found):
                    self.say(f"{where}: {finished}")
                    continue
                with locked(cell.folder / RUN, wait=False) as is_free:
                    if not is_free:
                        self.say(f"{where}: another call works in {cell.folder}")
                        continue
                    self.say(where)
                    entry = self._run_recorded(study, cell, found)
                self.say(f"{where}: {entry['status']} in {entry['seconds']:.0f} s {entry['error']}".rstrip())
                new.append(entry)
                tried.add(cell.key)
        return new

    def _finished(self, cell: Cell, found: Entry | None) -> str:
        """Why a cell need not be run; empty if it must be."""
        if found is None or cell.row.key in self.again or found["status"] == "begun":
            return ""
        is_answer = found["status"] == "done" or (cell.searched and has_diverged(found))
        if not is_answer or found["data"] != self.datasets.name_of(cell):
            return ""
        return "done before" if found["status"] == "done" else "has diverged before"

    def _run_recorded(self, study: Study, cell: Cell, before: Entry | None) -> Entry:
        begin, found, error, data = time.perf_counter(), Outcome({}, ""), "", ""
        try:
            dataset, data = self.datasets.of(cell), self.datasets.name_of(cell)
            if _is_outdated(cell, before, data):
                _empty(cell.folder)
            if before and before["status"] == "done":  # its numbers will no longer match its folder
                study.ledger.append(_entry(study, cell, status="begun", data=data))
            found = run_cell(cell, dataset)
            cell.error_file.unlink(missing_ok=True)
        except Exception as failure:  # any error: the other cells go on
            error = f"{type(failure).__name__}: {failure}".splitlines()[0]
            with suppress(OSError):
                cell.error_file.write_text(traceback.format_exc(), encoding="utf-8")
        entry = _entry(
            study,
            cell,
            status="failed" if error else "done",
            error=error,
            metrics=found.metrics,
            data=data,
            queries=found.queries,
            seconds=round(time.perf_counter() - begin, 1),
        )
        study.ledger.append(entry)
        if entry["status"] == "done" and not self.keep_models:
            for name in (MODEL, ENCODER):
                shutil.rmtree(cell.folder / name, ignore_errors=True)
        if has_diverged(entry):  # nothing will resume from there
            shutil.rmtree(cell.folder / CHECKPOINTS, ignore_errors=True)
        return entry


def name_of(cell: Cell) -> str:
    """The name of a cell for messages: its row, its seed and, in a search, the value it tries."""
    return ", ".join([cell.row.name, *([cell.searched] if cell.searched else []), f"seed {cell.seed}"])


def plan(study: Study, *, again: Collection[str] = ()) -> list[tuple[Cell, Entry | None, float | None]]:
    """Each cell, those of searches first, with its entry if it is finished, otherwise with an estimate of its time.

    Args:
        study: The study.
        again: As in `sweep`.

    Returns:
        The estimate is the mean time of the finished runs, in seconds; None if there is none. Whether the data are
        still the same is checked only by `sweep`.
    """
    finished = {key: entry for key, entry in study.ledger.newest().items() if entry["status"] == "done"}
    times = [entry["seconds"] for entry in finished.values()]
    mean = sum(times) / len(times) if times else None
    planned = []
    for cell in [*study.search_cells, *study.cells]:
        found = None if cell.is_open or cell.row.key in again else finished.get(cell.key)
        planned.append((cell, found, None if found else mean))
    return planned


class _Datasets:
    """The data of cells; equal data are read only once."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Dataset, str]] = {}

    def of(self, cell: Cell) -> Dataset:
        return self._get(cell)[0]

    def name_of(self, cell: Cell) -> str:
        """The fingerprint of notes, log and split and, if the backbone is a user's folder, of its files."""
        return self._get(cell)[1]

    def _get(self, cell: Cell) -> tuple[Dataset, str]:
        if cell.sources not in self._known:
            dataset = load_data(cell.config)
            backbone = backbone_key(cell.config)
            self._known[cell.sources] = dataset, "-".join(filter(None, [fingerprint(dataset), backbone]))
        return self._known[cell.sources]


def _entry(study: Study, cell: Cell, **found: Any) -> Entry:
    """A line of the ledger: the facts known for every cell, and the results of this one."""
    known = {
        "study": study.name,
        "row": cell.row.key,
        "searched": cell.searched,
        "seed": cell.seed,
        "scale": study.scale,
        "key": cell.key,
    }
    made = {
        "commit": versions().get("commit", ""),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": cell.config.to_dict(),
    }
    return {**DEFAULTS, **known, **made, **found}


def _is_outdated(cell: Cell, before: Entry | None, data: str) -> bool:
    """Whether the folder must not be resumed: it has other data, code has changed since, or it is finished."""
    made, mined = cell.folder / "run.json", cell.folder / "data.json"
    if not made.exists() or (before is not None and (before["status"] == "done" or before["data"] != data)):
        return True
    if read_json_object(made).get("versions") != versions():
        return True
    return mined.exists() and not data.startswith(Node(read_json(mined), str(mined)).text("fingerprint"))


def _empty(folder: Path) -> None:
    """Removes all that a run folder holds but the lock on it, which is ours."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != f"{RUN}.lock":
            entry.unlink()


class Outcome(NamedTuple):
    """The result of a cell: its metrics, and a name for its queries with their pool."""

    metrics: dict[str, float]
    queries: str


def run_cell(cell: Cell, dataset: Dataset) -> Outcome:
    """Runs one cell in its folder; goes on where an earlier call was interrupted.

    Args:
        cell: The cell.
        dataset: Its data.

    Returns:
        Its metrics are fractions in 0..1, by the names used in tables.
    """
    run = RunFolder.open(cell.config, command=["notellm", "sweep"])
    evaluation, queries = run_steps(run, dataset)
    return Outcome(metrics_of(evaluation, cell.row.system), _name_of(queries))


def _name_of(queries: Queries) -> str:
    return Fingerprint(8).add_array(queries.pool).add_array(queries.source).add_array(queries.target).name()


def metrics_of(evaluation: Evaluation, system: str) -> dict[str, float]:
    """The numbers of one system, by the names used in tables; those of a variant with its name before."""
    metrics: dict[str, float] = {}
    for row in evaluation.systems:
        name, _, variant = row.key.partition(".")
        if name == system:
            metrics |= {
                f"{variant}.{key}".lstrip("."): value for key, value in _retrieval_metrics(row).items()
            }
    for writer in evaluation.writers:
        if writer.key == system:
            metrics |= _generation_metrics(writer)
    return metrics


def _retrieval_metrics(own: RetrievalResult) -> dict[str, float]:
    metrics = {"mrr": own.mrr.value} | _further_metrics(own)
    for side, recall in {
        "": own.recall,
        **{side: part.recall for side, part in own.exposure.items()},
    }.items():
        recalls = {f"recall@{k}": found.value for k, found in recall.items()}
        recalls["recall@avg"] = sum(recalls.values()) / len(recalls)
        metrics |= {f"{side}.{name}".lstrip("."): value for name, value in recalls.items()}
    return metrics


def _further_metrics(own: RetrievalResult) -> dict[str, float]:
    """Those that an evaluation of an older version lacks: of the order, by target, and of lists."""
    metrics = {f"ndcg@{k}": found.value for k, found in own.ndcg.items()}
    metrics |= {f"map@{k}": found.value for k, found in own.map.items()}
    metrics |= {f"coverage@{k}": found.coverage for k, found in own.lists.items()}
    metrics |= {f"popularity@{k}": found.popularity.value for k, found in own.lists.items()}
    if own.log_score is not None:
        metrics["log_score"] = own.log_score.value
    if own.by_target is not None:
        macro = own.by_target
        metrics |= {f"macro.recall@{k}": found.value for k, found in macro.recall.items()}
        metrics |= {f"macro.ndcg@{k}": found.value for k, found in macro.ndcg.items()}
        metrics |= {"macro.mrr": macro.mrr.value, "macro.log_score": macro.log_score.value}
    return metrics


def _generation_metrics(writer: GenerationResult) -> dict[str, float]:
    found = {
        "accuracy": writer.category_accuracy,
        "illusory": writer.illusory,
        "closed_set": writer.closed_set.accuracy if writer.closed_set else None,
        "bleu4": writer.bleu4,
        "rouge1": writer.rouge1,
        "rouge2": writer.rouge2,
        "rougeL": writer.rouge_l,
        "hashtag_f1": writer.hashtags.f1 if writer.hashtags else None,
    }
    return {name: interval.value for name, interval in found.items() if interval is not None}
