"""Interactions: the log of who viewed and clicked which note, or which notes were used together."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from notellm.data.frames import Frame, GivesRows, frame_name, read_frame_parts
from notellm.data.log_parts import EVENTS, LOG_SCHEMA, read_log
from notellm.data.notes import Notes
from notellm.data.reading import ReadingReport
from notellm.data.remote import local_copy
from notellm.data.tables import Table, read_parts
from notellm.data.times import TICKS, exact_times

__all__ = ["CLICK", "VIEW", "Interactions"]

VIEW, CLICK = 0, 1
"""Codes of ``Interactions.events``."""

_ORDERED_BY_ROWS = (
    "events without a time, so that their rows' order counts; if it means nothing: ordered=false"
)


@dataclass(frozen=True, eq=False)
class Interactions(GivesRows):
    """E interactions of users with notes, in the order of the file.

    Attributes:
        users: Shape ``(E,)`` int64 (any integers may be given); indices into ``user_ids``.
        notes: Shape ``(E,)`` int64; indices into ``note_ids``.
        user_ids: The users' names.
        note_ids: The notes' names; those of a ``Notes`` if one was given.
        times: Shape ``(E,)`` int64; None if the log has no times. Fractions of seconds, dates and NumPy's or
            Python's timestamps may be given, too: they are converted to whole numbers exactly.
        events: Shape ``(E,)`` int8, 0 a view and 1 a click; None if every row is both.
        ordered: Whether later rows happened later (a log); otherwise each user is a set of notes
            (a basket) and relations are symmetric.
        ticks_per_second: How many units of ``times`` a second has; 1 if they are seconds or in an unknown unit. Set
            automatically if the times given are not whole seconds.
        report: What was changed when the log was read; None if it was not read.

    Raises:
        ValueError: If the arrays differ in length, a code is not an integer or out of range, or a time cannot be
            represented exactly.
    """

    users: npt.NDArray[np.int64]
    notes: npt.NDArray[np.int64]
    user_ids: list[str]
    note_ids: list[str]
    times: npt.NDArray[np.int64] | None = None
    events: npt.NDArray[np.int8] | None = None
    ordered: bool = True
    ticks_per_second: int = 1
    report: ReadingReport | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self._settle_arrays()
        arrays = {"users": self.users, "notes": self.notes, "times": self.times, "events": self.events}
        limits = {"users": len(self.user_ids), "notes": len(self.note_ids), "events": len(EVENTS)}
        for name, array in arrays.items():
            if array is None:
                continue
            if array.shape != self.users.shape or array.ndim != 1:
                raise ValueError(
                    f"Interactions: {name} must have shape {self.users.shape}, but has {array.shape}"
                )
            limit = limits.get(name)
            if limit is not None and len(array) and not 0 <= array.min() <= array.max() < limit:
                raise ValueError(
                    f"Interactions: {name} must be in [0, {limit}), but are in [{array.min()}, {array.max()}]"
                )

    def _settle_arrays(self) -> None:
        """Converts the given values to arrays of integers, if nothing is lost."""
        if not isinstance(self.ticks_per_second, int) or self.ticks_per_second < 1:
            raise ValueError(
                f"Interactions: ticks_per_second must be a whole number of at least 1, but is {self.ticks_per_second}"
            )
        for name, kind in (("users", np.int64), ("notes", np.int64), ("events", np.int8)):
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, _whole_numbers(name, given, kind))
        if self.times is None:
            return
        times, ticks = _whole_times(self.times)
        if ticks != 1 and self.ticks_per_second != 1:
            raise ValueError(
                f"Interactions: times in ticks of {self.ticks_per_second} a second must be whole numbers, but are not"
            )
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "ticks_per_second", max(ticks, self.ticks_per_second))

    def __len__(self) -> int:
        return len(self.users)

    def of_users(self, chosen: npt.NDArray[np.bool_]) -> "Interactions":
        """The interactions of some users, in order; names stay as they are.

        Args:
            chosen: Shape ``(U,)`` bool, one for each of ``user_ids``.
        """
        rows = chosen[self.users]
        return replace(
            self,
            users=self.users[rows],
            notes=self.notes[rows],
            times=None if self.times is None else self.times[rows],
            events=None if self.events is None else self.events[rows],
        )

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        notes: Notes | None = None,
        ordered: bool = True,
        columns: Mapping[str, str] | None = None,
    ) -> "Interactions":
        """Reads a log from a Parquet, CSV or JSON lines file, or from a folder of such files.

        `from_frame` takes a table in memory.

        The columns are ``user`` and ``note`` (text or integers), and optionally ``time`` and ``event`` (``view`` or
        ``click``). A time is a number (of seconds, or of any unit you choose), a date, or a date and time
        (``2024-01-02 03:04:05.25``, with a zone, or without one for UTC), as text or as a Parquet type. Nothing is
        rounded: if seconds are not whole, ``ticks_per_second`` gives the unit of the times. Numbers of which more
        than half are dates in digits (``20240131``, also with hour, minute and second behind) are read as dates,
        which ``report`` says; then each must be one.

        The files of a folder are the parts of one log, in the order of their names; those whose names begin with
        ``.`` or ``_`` are no part of it. Ids are replaced by their codes part by part, and of a Parquet file about a
        million rows are in memory as they are in the file. The result is that of one file with all rows.

        Args:
            path: A file ending in ``.parquet``, ``.csv`` or ``.jsonl``, or a folder of such files; or the URL of one
                (``hf://``, ``s3://``), if fsspec and its package for such URLs are installed.
            notes: The notes of the log: indices refer to them, and an unknown id is an error. Without
                them notes are numbered by their first appearance.
            ordered: Whether the log has an order, that of its times or else of its rows; false for baskets.
            columns: The file's names of columns that have another name there, as in ``{"note": "item"}``;
                ``{"time": ""}`` means that times are not read.

        Raises:
            DataError: If a file is malformed or not UTF-8, there is no row, a column is missing or has
                another type, a value is missing, a time cannot be represented exactly, or a note or an
                event is unknown. It names the file and the row. Also if the parts of a folder differ in their
                columns or in the form of their times.
            ValueError: If the suffix or a key of ``columns`` is not known.
            FileNotFoundError: If there is no such file or folder.
        """
        with local_copy(path) as file:
            return cls._of(read_parts(file, LOG_SCHEMA, columns), str(path), notes, ordered, columns)

    @classmethod
    def from_frame(
        cls,
        frame: Frame,
        *,
        notes: Notes | None = None,
        ordered: bool = True,
        columns: Mapping[str, str] | None = None,
    ) -> "Interactions":
        """Takes a log from a table in memory, as `read` takes it from a file with the same content.

        A stream is read part by part: as with files, only codes and times of all its rows are kept.

        Args:
            frame: A table with the Arrow stream protocol: of pandas (2.2 or newer), polars, DuckDB or pyarrow, or a
                `pyarrow.RecordBatchReader`; or a `datasets.Dataset` or `datasets.IterableDataset`.
            notes: As in `read`.
            ordered: As in `read`.
            columns: As in `read`.

        Raises:
            TypeError: If it is no such table.
            DataError: As in `read`; it names the kind of table and the row.
            ValueError: If a key of ``columns`` is not known.

        Example:
            >>> Interactions.from_frame(pa.table({"user": ["u", "u"], "note": ["b", "a"]})).note_ids
            ['b', 'a']
        """
        parts = read_frame_parts(frame, LOG_SCHEMA, columns or {})
        return cls._of(parts, frame_name(frame), notes, ordered, columns)

    @classmethod
    def _of(
        cls,
        parts: Iterable[Table],
        source: str,
        notes: Notes | None,
        ordered: bool,
        columns: Mapping[str, str] | None,
    ) -> "Interactions":
        log = read_log(parts, source, columns or {}, None if notes is None else notes.ids)
        report = log.report
        if ordered and log.times is None:
            report = replace(report, changes={**report.changes, _ORDERED_BY_ROWS: report.rows})
        return cls(
            log.users,
            log.notes,
            log.user_ids,
            log.note_ids,
            log.times,
            log.events,
            ordered,
            log.ticks_per_second,
            report,
        )

    def to_arrow(self) -> pa.Table:
        """The log as a table for `from_frame`.

        Its columns are ``user`` and ``note``, as dictionaries (categorical in pandas), and ``time`` and ``event`` if
        there are any. Times are int64, or decimal numbers of seconds where a tick is a fraction of one, since nothing
        is rounded.

        Raises:
            ValueError: If ``ticks_per_second`` is no power of 1000 that decimals can have.
        """
        columns = {"user": _named(self.users, self.user_ids), "note": _named(self.notes, self.note_ids)}
        if self.times is not None:
            columns["time"] = _seconds(self.times, self.ticks_per_second)
        if self.events is not None:
            columns["event"] = _named(self.events, EVENTS)
        return pa.table(columns)


def _named(codes: npt.NDArray[np.integer], names: list[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(names, pa.large_string()))


def _whole_numbers(name: str, given: object, kind: type[np.integer]) -> npt.NDArray[np.integer]:
    array = np.asarray(given)
    if array.size == 0:
        return array.astype(kind)
    if not np.issubdtype(array.dtype, np.integer) or not np.can_cast(array.dtype, kind):
        limits = np.iinfo(kind)
        if not np.issubdtype(array.dtype, np.integer) or array.min() < limits.min or array.max() > limits.max:
            raise ValueError(
                f"Interactions: {name} must be integers ({kind.__name__}), but are {array.dtype}"
            )
    return array.astype(kind, copy=False)


def _whole_times(given: object) -> tuple[npt.NDArray[np.int64], int]:
    array = np.asarray(given)
    if array.dtype == np.int64 or array.ndim != 1 or array.size == 0:
        return array.astype(np.int64, copy=False), 1

    def fail(row: int | None, problem: str) -> ValueError:
        return ValueError(f"Interactions: times{'' if row is None else f'[{row}]'} {problem}")

    if array.dtype.kind == "M" and np.datetime_data(array.dtype)[0] in ("Y", "M", "W", "h", "m"):
        array = array.astype("M8[s]")  # pyarrow lacks these units
    try:
        column = pa.chunked_array([pa.array(array.astype(array.dtype.newbyteorder("=")))])
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError) as error:
        raise fail(None, f"must be times of one kind, but {error}") from error
    return exact_times(column, fail)


def _seconds(times: npt.NDArray[np.int64], ticks_per_second: int) -> pa.Array:
    """Times as they are written: whole numbers, or decimal seconds if a tick is a known fraction of a second."""
    if ticks_per_second == 1:
        return pa.array(times, pa.int64())
    places = {ticks: 3 * power for power, ticks in enumerate(TICKS.values())}
    if ticks_per_second not in places:
        known = ", ".join(map(str, places))
        raise ValueError(f"Interactions: ticks_per_second must be one of {known}, but is {ticks_per_second}")
    return pa.Array.from_buffers(
        pa.decimal128(38, places[ticks_per_second]),
        len(times),
        [None, pa.py_buffer(np.stack([times, times >> 63], axis=1).tobytes())],
    )
