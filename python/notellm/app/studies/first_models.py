"""First models of cells (``negatives.model=first``) that another cell trains anyway: they are trained once."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from notellm.app.kept import deciding
from notellm.app.kept_seconds import TRAINING_TIME
from notellm.app.pipeline.models import MODEL
from notellm.app.pipeline.negatives import FIRST_RUN
from notellm.app.studies.cell import Cell
from notellm.app.studies.ledger import Entry
from notellm.hard_negatives import FIRST
from notellm.io.files import atomic_folder
from notellm.io.fingerprints import json_fingerprint
from notellm.io.json_files import read_json_object
from notellm.machine import versions

_LENT = "model-for-others"
"""Where a finished cell's model stays while other cells still need it as their first."""


def lenders(cells: Iterable[Cell]) -> dict[str, Cell]:
    """By key of a cell that trains a first model: the cell of which that is the model, if there is one."""
    with_own = {_without_negatives(cell): cell for cell in cells if not cell.config.negatives.model}
    named = {cell.key: _without_negatives(cell) for cell in cells if cell.config.negatives.model == FIRST}
    return {key: with_own[name] for key, name in named.items() if name in with_own}


def _without_negatives(cell: Cell) -> str:
    """A name for a cell's training, if it had no hard negatives."""
    config = deciding(cell.config, without=["name", "run_dir", "negatives."])
    return json_fingerprint([cell.row.system, config])


def lender_of(cell: Cell, cells: Iterable[Cell], newest: Mapping[str, Entry], data: str) -> Path | None:
    """The run folder with a cell's first model, if another cell has trained it by the same code on the same data.

    Args:
        cell: The cell.
        cells: All cells of its study.
        newest: The newest entries of the ledger, by key.
        data: The name of the cell's data.
    """
    lender = lenders(cells).get(cell.key)
    entry = newest.get(lender.key) if lender else None
    if lender is None or entry is None or entry["status"] != "done" or entry["data"] != data:
        return None
    if _model_in(lender.folder) is None:
        return None
    same_code = read_json_object(lender.folder / "run.json").get("versions") == versions()
    return lender.folder if same_code else None


def lend(lender: Cell) -> None:
    """Keeps a finished cell's model for others, until `end_loan`."""
    with suppress(FileNotFoundError):  # a failed cell has none
        (lender.folder / MODEL).rename(lender.folder / _LENT)


def borrow(lender: Path, folder: Path) -> None:
    """Copies a first model into a run folder, and counts its training, unless it is trained there, or needed no longer.

    Args:
        lender: The run folder with the model.
        folder: The run folder whose first model it is.
    """
    own, model = folder / FIRST_RUN, _model_in(lender)
    if model is None or own.exists() or (folder / MODEL).exists():
        return
    with atomic_folder(own) as temporary:
        shutil.copytree(model, temporary / MODEL)
    TRAINING_TIME.add(folder, TRAINING_TIME.of(lender))


def end_loan(lender: Cell, *, keep: bool) -> None:
    """Ends what `lend` began: the model is a run's own again, or removed.

    Args:
        lender: The cell.
        keep: Whether models stay in run folders.
    """
    lent = lender.folder / _LENT
    if not lent.is_dir():
        return
    if keep:
        lent.rename(lender.folder / MODEL)
    else:
        # under another name first, so that what a kill leaves is not lent
        shutil.rmtree(lent.rename(lender.folder / f"{_LENT}-removed"), ignore_errors=True)


def _model_in(folder: Path) -> Path | None:
    return next((folder / name for name in (_LENT, MODEL) if (folder / name).is_dir()), None)
