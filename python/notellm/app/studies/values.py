"""What a finished cell keeps query by query and note by note, from which tables compare rows."""

from __future__ import annotations

import numpy as np
import torch

from notellm.app.pipeline.one_by_one import WORDS
from notellm.app.studies.cell import Cell
from notellm.app.studies.columns import CellValues, Column
from notellm.app.studies.kept_tensors import KeptTensors
from notellm.app.studies.ledger import Entry
from notellm.app.studies.ranks import ranked_values
from notellm.errors import DataError


def measured(cell: Cell, entry: Entry, column: str) -> float | None:
    """A finished cell's number for a column of tables, in 0..1: from the ledger or, if it lacks it, from what is kept.

    Args:
        cell: The cell.
        entry: Its newest entry in the ledger.
        column: Its name.

    Returns:
        None if the cell does not measure it.

    Raises:
        DataError: As `values_of`.
    """
    noted: float | None = entry["metrics"].get(cell.row.metric(column))
    read = Column.read(column)
    if noted is not None or read is None or (kept := values_of(cell, read)) is None:
        return noted
    return kept.macro_mean if read.is_macro else kept.mean


def values_of(cell: Cell, column: Column) -> CellValues | None:
    """What each query, or each note, of a finished cell contributes to a metric; None if the cell does not keep it.

    Raises:
        DataError: If a file is damaged.
    """
    return written_values(cell, column.name) if column.is_of_words else ranked_values(cell, column)


def written_values(cell: Cell, name: str) -> CellValues | None:
    """What each note contributes to a metric of written words; None if the cell has written none, or is older.

    Raises:
        DataError: If the file is damaged.
    """
    path = cell.folder / WORDS
    if not path.exists():
        return None
    kept = KeptTensors.read(path)
    values = np.asarray(kept.row(f"{cell.row.system}.{name}", torch.float64).numpy())
    notes = np.asarray(kept.whole_numbers("note").numpy())
    counting = values[~np.isnan(values)]
    if len(values) != len(notes) or not ((counting >= 0) & (counting <= 1)).all():
        raise DataError(f"{path}: must hold {name} of each note, in 0..1, but does not")
    return CellValues(values, notes)
