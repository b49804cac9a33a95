"""Reads a log of interactions part by part: of all earlier parts only codes and times are in memory."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from notellm.data.coding import Coder
from notellm.data.digit_dates import digit_dates
from notellm.data.reading import ReadingReport
from notellm.data.schema import Column, Kind, Table
from notellm.data.times import DATES, NUMBERS, exact_times, form_of_times, in_one_unit
from notellm.errors import DataError

__all__ = ["EVENTS", "LOG_SCHEMA", "LogColumns", "read_log"]

EVENTS = ["view", "click"]
"""The names of events, by their codes."""

LOG_SCHEMA = {
    "user": Column(Kind.KEY, is_coded=True),
    "note": Column(Kind.KEY, is_coded=True),
    "time": Column(Kind.TIME, is_required=False),
    "event": Column(Kind.KEY, is_required=False, is_coded=True),
}


@dataclass(frozen=True)
class LogColumns:
    """The columns of a log of E events, as `notellm.Interactions` has them."""

    users: npt.NDArray[np.int64]
    notes: npt.NDArray[np.int64]
    user_ids: list[str]
    note_ids: list[str]
    times: npt.NDArray[np.int64] | None
    events: npt.NDArray[np.int8] | None
    ticks_per_second: int
    report: ReadingReport


def read_log(
    tables: Iterable[Table], source: str | Path, columns: Mapping[str, str], note_ids: list[str] | None
) -> LogColumns:
    """Reads a log part by part.

    Args:
        tables: The parts, with the columns of `LOG_SCHEMA`.
        source: What they are parts of, for the report.
        columns: Their names of columns that have another name there.
        note_ids: The ids that codes of notes refer to; None: notes are numbered as they first appear.

    Raises:
        DataError: See `notellm.Interactions.read`, as for the other errors.
    """
    parts = _Parts(columns)
    for table in tables:
        parts.add(table)
    users, user_ids = parts.users.finish()
    notes, found = parts.notes.finish()
    if note_ids is not None:
        notes, found = parts.known(notes, found, note_ids), None
    times, ticks = parts.all_times()
    events = np.concatenate(parts.events) if parts.events else None
    changes = {what: count for what, count in parts.changes.items() if count}
    report = ReadingReport(str(source), len(users), changes)
    names = note_ids if note_ids is not None else found.to_pylist()
    return LogColumns(users, notes, user_ids.to_pylist(), names, times, events, ticks, report)


@dataclass
class _Parts:
    """What is kept of the parts that have been read."""

    columns: Mapping[str, str]
    users: Coder = field(default_factory=Coder)
    notes: Coder = field(default_factory=Coder)
    times: list[tuple[npt.NDArray[np.int64], int]] = field(default_factory=list)
    """The times of each part, and their units per second."""
    events: list[npt.NDArray[np.int8]] = field(default_factory=list)
    changes: Counter[str] = field(default_factory=Counter)
    sizes: list[int] = field(default_factory=list)
    empty: list[Table] = field(default_factory=list)
    """The parts without their columns, to name their rows."""
    form: str = ""
    """The form of the first part's times."""

    def add(self, table: Table) -> None:
        """Takes over a part."""
        self.users.add(table.columns["user"])
        self.notes.add(table.columns["note"])
        self.sizes.append(len(table.columns["user"]))
        self.empty.append(replace(table, columns={}))
        self.changes += table.changes
        if "time" in table.columns:
            self.times.append(self._times(table))
        if "event" in table.columns:
            self.events.append(_events(table))

    def _times(self, table: Table) -> tuple[npt.NDArray[np.int64], int]:
        there, column = self.columns.get("time", "time"), table.columns["time"]

        def fail(row: int | None, problem: str) -> DataError:
            if row is None:
                return DataError(f"{table.source}: column {there!r} {problem}")
            return table.fail(row, f"{there} {problem}")

        times, ticks = exact_times(column, fail)
        form = form_of_times(column)
        dates = digit_dates(times) if form == NUMBERS and ticks == 1 else None
        if dates is not None:
            times, form = dates.seconds(times, fail), DATES
            self.changes[f"times read as dates, like {dates.example}"] += len(times)
        self.form = self.form or form
        if form != self.form:
            raise fail(0, f"must be {self.form}, as in the first part of the log, but is {form}")
        return times, ticks

    def all_times(self) -> tuple[npt.NDArray[np.int64] | None, int]:
        """The times of all parts in one unit, and its number per second."""
        if not self.times:
            return None, 1
        return in_one_unit(self.times, lambda part, problem: self.empty[part].fail(0, f"times {problem}"))

    def known(
        self, codes: npt.NDArray[np.int64], values: pa.Array, known: list[str]
    ) -> npt.NDArray[np.int64]:
        """The position of each note among those known, shape ``(E,)``; another id is an error."""
        positions = pc.index_in(values, value_set=pa.array(known, pa.large_string()))
        is_unknown = positions.is_null().to_numpy(zero_copy_only=False)
        if is_unknown.any():
            row = int(is_unknown[codes].argmax())
            ends = list(accumulate(self.sizes))
            part = bisect_right(ends, row)
            value = values[int(codes[row])].as_py()
            raise self.empty[part].fail(
                row - ends[part] + self.sizes[part], f"note must be an id of the notes, but is {value!r}"
            )
        found: npt.NDArray[np.int64] = positions.to_numpy().astype(np.int64)[codes]
        return found


def _events(table: Table) -> npt.NDArray[np.int8]:
    """0 for a view and 1 for a click, shape ``(E,)``; another event is an error."""
    column = table.columns["event"]
    codes = pc.index_in(column.chunk(0).dictionary, value_set=pa.array(EVENTS, pa.large_string()))
    of_rows = pa.chunked_array([codes.take(chunk.indices) for chunk in column.chunks])
    table.check(of_rows.is_null(), lambda row: f"event must be view or click, but is {column[row].as_py()!r}")
    events: npt.NDArray[np.int8] = of_rows.to_numpy().astype(np.int8)
    return events
