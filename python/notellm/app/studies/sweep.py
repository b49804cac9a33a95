"""Runs the cells of a study that have not been run, one after the other."""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from notellm.app.kept_seconds import SWEEP_TIME, TRAINING_TIME
from notellm.app.pipeline import Dataset, Queries, run_steps
from notellm.app.pipeline.encoder import ENCODER
from notellm.app.pipeline.metrics import metrics_of
from notellm.app.pipeline.models import MODEL
from notellm.app.pipeline.negatives import FIRST_RUN
from notellm.app.pipeline.systems import EMBEDDERS, kept_vectors
from notellm.app.run import RUN, RunFolder
from notellm.app.studies import first_models
from notellm.app.studies.budget import Budget
from notellm.app.studies.cell import Cell
from notellm.app.studies.datasets import DataNames, Datasets
from notellm.app.studies.ledger import DEFAULTS, Entry
from notellm.app.studies.search import has_diverged
from notellm.app.studies.study import Study
from notellm.io.fingerprints import Fingerprint
from notellm.io.json_files import read_json, read_json_object, write_json
from notellm.io.json_tree import Node
from notellm.io.locks import locked
from notellm.loggers import Parent, end_parent
from notellm.machine import describe_machine, machine_name, versions
from notellm.training.checkpoint import CHECKPOINTS
from notellm.training.validation import BEST

Say = Callable[[str], None]


def sweep(
    study: Study,
    *,
    rows: Collection[str] | None = None,
    keep_models: bool = False,
    again: Collection[str] = (),
    say: Say = print,
    budget: Budget | None = None,
) -> list[Entry]:
    """Runs the missing cells of a study; a cell that fails is recorded, and the others go on.

    Searches come first, then the cells with the values found. Several sweeps may work in one folder: each skips cells
    that another is running, and rows whose search is not finished.

    Args:
        study: From `load_study`, which has checked every configuration.
        rows: Keys of the rows to run, with their searches; None: all.
        keep_models: Whether trained models are kept in the run folders; even a small one takes half a GB.
        again: Keys of rows to run again, with their searches, although they are finished.
        say: Called with messages, line by line.
        budget: How long it may take; a cell that is likely to take longer is left to the next sweep.

    Returns:
        The new entries of the ledger.
    """
    sweeper = _Sweeper(Datasets(), keep_models, frozenset(again), say, budget or Budget())
    sweeper.budget.learn(study)
    try:
        searched = sweeper.run(study, _cells_of(study, study.search_cells, rows))
        study = study.settled()
        return searched + sweeper.run(study, _cells_of(study, study.cells, rows))
    finally:
        names = {name for cell in study.cells for name in cell.config.train.loggers}
        end_parent(sorted(names), _parent_of(study))


def is_fault(entry: Entry) -> bool:
    """Whether an entry of a sweep is a failure; a diverged value of a search is not."""
    return bool(entry["status"] == "failed" and not (entry["searched"] and has_diverged(entry)))


def _cells_of(study: Study, cells: Sequence[Cell], rows: Collection[str] | None) -> list[Cell]:
    return [cell for cell in cells if rows is None or not study.rows_of(cell).isdisjoint(rows)]


@dataclass(frozen=True)
class _Sweeper:
    """The settings of a sweep, the same for all its cells."""

    datasets: Datasets
    keep_models: bool
    again: frozenset[str]
    say: Say
    budget: Budget

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
                elif entry := self._attend(study, cell, where):
                    new.append(entry)
                    tried.add(cell.key)
        return new

    def _attend(self, study: Study, cell: Cell, where: str) -> Entry | None:
        """Runs a cell that is ours; None if it need not be run, or cannot be now."""
        found = study.ledger.newest().get(cell.key)
        if reason := self._finished(study, cell, found) or self.budget.lacks(cell):
            self.say(f"{where}: {reason}")
            return None
        with locked(cell.folder / RUN, wait=False) as is_free:
            if not is_free:
                self.say(f"{where}: another call works in {cell.folder}")
                return None
            self.say(where)
            entry = self._run_recorded(study, cell, found)
        if entry["status"] == "done":
            self.budget.note(cell, entry)
        self.say(f"{where}: {entry['status']} in {entry['seconds']:.0f} s {entry['error']}".rstrip())
        return entry

    def _finished(self, study: Study, cell: Cell, found: Entry | None) -> str:
        """Why a cell need not be run; empty if it must be."""
        said = _said_before(study, cell, found, self.again)
        try:
            return said if said and found and found["data"] == self.datasets.names_of(cell).data else ""
        except Exception as failure:  # its data are gone: the other cells go on
            return f"{said}; whether its data are the same cannot be said: {_one_line(failure)}"

    def _run_recorded(self, study: Study, cell: Cell, before: Entry | None) -> Entry:
        with SWEEP_TIME.clocked(cell.folder):
            found = self._run(study, cell, before)
        seconds = round(SWEEP_TIME.of(cell.folder), 3)  # of a quick cell no 0
        entry = _entry(study, cell, **found, seconds=seconds)
        study.ledger.append(entry)
        if entry["status"] == "done":
            _settle_models(study, cell, keep=self.keep_models)
        if has_diverged(entry):  # nothing will resume from there
            for name in (CHECKPOINTS, BEST, FIRST_RUN):
                shutil.rmtree(cell.folder / name, ignore_errors=True)
            TRAINING_TIME.forget(cell.folder)
            SWEEP_TIME.forget(cell.folder)
        return entry

    def _run(self, study: Study, cell: Cell, before: Entry | None) -> dict[str, Any]:
        """What the ledger says of a cell that is run, or goes on."""
        found, error, names = Outcome({}, "", {}), "", DataNames("", "")
        try:
            dataset, names = self.datasets.of(cell), self.datasets.names_of(cell)
            if _is_outdated(cell, before, names.data):
                _empty(cell.folder)
            if before and before["status"] == "done":  # its numbers will no longer match its folder
                study.ledger.append(_entry(study, cell, status="begun", **asdict(names)))
            lender = first_models.lender_of(cell, study.cells, study.ledger.newest(), names.data)
            run = _opened(cell, _parent_of(study), names, lender)
            found = run_cell(cell, run, dataset)
            cell.error_file.unlink(missing_ok=True)
        except Exception as failure:  # any error: the other cells go on
            error = _one_line(failure)
            with suppress(OSError):
                cell.error_file.write_text(traceback.format_exc(), encoding="utf-8")
        status = "failed" if error else "done"
        return {"status": status, "error": error, **asdict(names), **found._asdict()}


def _said_before(study: Study, cell: Cell, found: Entry | None, again: Collection[str]) -> str:
    """Why a cell need not be run, as its newest entry says; empty if it must be. Its data may have changed since."""
    if found is None or cell.is_open or not study.rows_of(cell).isdisjoint(again):
        return ""
    if found["status"] == "done":
        return "done before"
    return "has diverged before" if cell.searched and has_diverged(found) else ""


def _one_line(failure: Exception) -> str:
    return f"{type(failure).__name__}: {failure}".splitlines()[0]


def _settle_models(study: Study, cell: Cell, *, keep: bool) -> None:
    """Removes a finished cell's models, unless they are to stay; first models of cells to come are kept for these."""
    finished = {key for key, entry in study.ledger.newest().items() if entry["status"] == "done"}
    lenders = first_models.lenders(study.cells)
    needed = {lender.key for key, lender in lenders.items() if key not in finished}
    lender = lenders.get(cell.key)
    if lender is not None and lender.key not in needed:
        first_models.end_loan(lender, keep=keep)
    if keep:
        return
    if cell.key in needed:
        first_models.lend(cell)
    for name in (MODEL, ENCODER):
        shutil.rmtree(cell.folder / name, ignore_errors=True)


def name_of(cell: Cell) -> str:
    """The name of a cell for messages: its row, its seed and, in a search, the value it tries."""
    return ", ".join([cell.row.name, *([cell.searched] if cell.searched else []), f"seed {cell.seed}"])


class Planned(NamedTuple):
    """A cell, and what a sweep will do with it.

    Attributes:
        cell: The cell.
        said: Why it need not be run; empty if it must be.
        seconds: How long that may take, as cells of its kind took (see `Budget`); None if none has been run, or it need
            not be.
    """

    cell: Cell
    said: str
    seconds: float | None


def plan(study: Study, *, rows: Collection[str] | None = None, again: Collection[str] = ()) -> list[Planned]:
    """The runs of a study, those of searches first, each once, whichever rows show it.

    Whether the data are still the same is checked only by `sweep`.

    Args:
        study: The study.
        rows: As in `sweep`.
        again: Likewise.
    """
    newest, budget = study.ledger.newest(), Budget()
    budget.learn(study)
    planned: dict[str, Planned] = {}
    for cell in _cells_of(study, [*study.search_cells, *study.cells], rows):
        said = _said_before(study, cell, newest.get(cell.key), again)
        if cell.key not in planned or (planned[cell.key].said and not said):  # that row is run again
            planned[cell.key] = Planned(cell, said, None if said else budget.expected(cell))
    return list(planned.values())


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
        "machine": machine_name(describe_machine(cell.config.device)),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        # its run folder stands beside the ledger, which may be moved or shared
        "config": cell.config.to_dict() | {"run_dir": cell.folder.name},
    }
    return {**DEFAULTS, **known, **made, **found}


_SOURCES = "sources.json"
"""In a cell's folder: the names of the data that it was begun with."""


def _is_outdated(cell: Cell, before: Entry | None, data: str) -> bool:
    """Whether the folder must not be resumed: it has other data, code has changed since, or it is finished."""
    made, sources = cell.folder / "run.json", cell.folder / _SOURCES
    if not made.exists() or not sources.exists() or (before is not None and before["status"] == "done"):
        return True
    if read_json_object(made).get("versions") != versions():
        return True
    return Node(read_json(sources), str(sources)).text("data") != data


def _empty(folder: Path) -> None:
    """Removes all that a run folder holds but the lock on it, which is ours."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != f"{RUN}.lock":
            entry.unlink()


class Outcome(NamedTuple):
    """The result of a cell.

    Attributes:
        metrics: Fractions in 0..1, by the names used in tables.
        queries: A name for its queries with their pool.
        embeddings: By system, a name for the vectors of the pool.
        training_seconds: How long its training took; 0 for what is not trained.
    """

    metrics: dict[str, float]
    queries: str
    embeddings: dict[str, str]
    training_seconds: float = 0.0


def _parent_of(study: Study) -> Parent:
    """What the runs of a study belong to where loggers show them."""
    return Parent(study.name, study.ledger.path.parent)


def _opened(cell: Cell, parent: Parent, names: DataNames, lender: Path | None) -> RunFolder:
    """The run folder of a cell, with the first model that another cell has trained, if there is one."""
    run = RunFolder.open(cell.config, command=["notellm", "sweep"], title=name_of(cell), parent=parent)
    write_json(run.file(_SOURCES), asdict(names))
    if lender is not None:
        first_models.borrow(lender, run.path)
    return run


def run_cell(cell: Cell, run: RunFolder, dataset: Dataset) -> Outcome:
    """Runs one cell in its folder; goes on where an earlier call was interrupted.

    Args:
        cell: The cell.
        run: Its folder.
        dataset: Its data.
    """
    evaluation, queries = run_steps(run, dataset)
    return Outcome(
        metrics_of(evaluation, cell.row.system),
        _name_of(queries),
        _vectors_of(cell),
        round(TRAINING_TIME.of(cell.folder), 3),  # a tiny model's training is no 0
    )


def _name_of(queries: Queries) -> str:
    return Fingerprint(8).add_array(queries.pool).add_array(queries.source).add_array(queries.target).name()


def _vectors_of(cell: Cell) -> dict[str, str]:
    """By system that embeds: the fingerprint of the pool's ids and vectors, as its folder keeps them."""
    kept = {key: kept_vectors(cell.folder, key) for key in EMBEDDERS}
    return {
        key: Fingerprint(8).add_json(found[0]).add_array(found[1].numpy()).name()
        for key, found in kept.items()
        if found is not None
    }
