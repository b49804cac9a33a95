"""The columns that a file or frame is to have, and those that were read of it."""

import enum
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from notellm.data import lines
from notellm.data.csv_form import CsvForm
from notellm.data.reading import ReadingReport
from notellm.errors import DataError

__all__ = ["Column", "Kind", "Table"]


class Kind(enum.Enum):
    """What a column contains, and its type in memory."""

    KEY = "text or integers"  # large_string, no nulls, not empty
    TEXT = "text"  # large_string, null becomes ""
    TOPICS = "lists of text"  # list of large_string, null becomes []
    INTEGER = "integers"  # int64, no nulls
    TIME = "times"  # as it is read; `exact_times` converts it to whole numbers


@dataclass(frozen=True)
class Column:
    """One column of a schema; one that is not required may be absent from the file."""

    kind: Kind
    is_required: bool = True
    is_coded: bool = False
    """Whether keys are given as int32 codes and their distinct values: a dictionary of large_string."""


@dataclass(frozen=True)
class Table:
    """The columns of one file or frame that a schema asked for, by the schema's names."""

    source: str
    """The file or the kind of frame, as messages name it."""
    columns: dict[str, pa.ChunkedArray]
    path: Path | None = None
    """The file; None for a frame, which has rows but no lines."""
    form: CsvForm | None = None
    """The form of the file, if it is CSV."""
    first_row: int = 0
    """The row of the file that is the first one here; a part of a large file begins later."""
    changes: Counter[str] = field(default_factory=Counter)
    """What was changed while reading, in words, and how often."""

    def fail(self, row: int, problem: str) -> DataError:
        """The error for a row (from 0 here), naming the source and the line or row."""
        number = self.first_row + row
        place = lines.place(self.path, self.form, number) if self.path else f"{self.source}: row {number + 1}"
        return DataError(f"{place}: {problem}")

    def report(self, source: str | Path) -> ReadingReport:
        """What happened when the source, named so, was read."""
        rows = len(next(iter(self.columns.values())))
        changes = {what: count for what, count in self.changes.items() if count}
        return ReadingReport(str(source), rows, changes)

    def check(self, is_bad: pa.ChunkedArray, problem: Callable[[int], str]) -> None:
        """Raises for the first row where ``is_bad``; ``problem`` makes the message from the row number."""
        row = pc.index(is_bad, True).as_py()
        if row >= 0:
            raise self.fail(row, problem(row))
