"""Interactions: the log of who viewed and clicked which note, or which notes were used together."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from notellm.data.notes import Notes
from notellm.data.tables import Column, Kind, Table, read_table, write_table

__all__ = ["CLICK", "VIEW", "Interactions"]

VIEW, CLICK = 0, 1
"""Codes of ``Interactions.events``."""

_EVENTS = ["view", "click"]

_SCHEMA = {
    "user": Column(Kind.KEY),
    "note": Column(Kind.KEY),
    "time": Column(Kind.INTEGER, is_required=False),
    "event": Column(Kind.KEY, is_required=False),
}


@dataclass(frozen=True, eq=False)
class Interactions:
    """E interactions of users with notes, in the order of the file.

    Attributes:
        users: Shape ``(E,)`` int64; indices into ``user_ids``.
        notes: Shape ``(E,)`` int64; indices into ``note_ids``.
        user_ids: The users' names.
        note_ids: The notes' names; those of a ``Notes`` where one was given.
        times: Shape ``(E,)`` int64 in seconds or any unit; None where the log has no times.
        events: Shape ``(E,)`` int8, 0 a view and 1 a click; None where every row is both.
        ordered: Whether later rows happened later (a log); otherwise each user is a set of notes
            (a basket) and relations are symmetric.

    Raises:
        ValueError: If the arrays differ in length, or a code is out of range.
    """

    users: npt.NDArray[np.int64]
    notes: npt.NDArray[np.int64]
    user_ids: list[str]
    note_ids: list[str]
    times: npt.NDArray[np.int64] | None = None
    events: npt.NDArray[np.int8] | None = None
    ordered: bool = True

    def __post_init__(self) -> None:
        arrays = {"users": self.users, "notes": self.notes, "times": self.times, "events": self.events}
        limits = {"users": len(self.user_ids), "notes": len(self.note_ids), "events": len(_EVENTS)}
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

    def __len__(self) -> int:
        return len(self.users)

    def of_users(self, chosen: npt.NDArray[np.bool_]) -> "Interactions":
        """The interactions of some users, in their order; names stay as they are.

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
        """Reads a log from a Parquet, CSV or JSON lines file.

        The columns are ``user`` and ``note`` (text or integers), and where the log has them ``time``
        (whole numbers, or timestamps of whole seconds) and ``event`` (``view`` or ``click``).

        Args:
            path: A file ending in ``.parquet``, ``.csv`` or ``.jsonl``.
            notes: The notes the log is about: its indices then are theirs, and any other id is an
                error. Without them notes are numbered as they first come.
            ordered: Whether the log has an order; false for baskets.
            columns: The file's name of a column where it is another, as in ``{"note": "item"}``;
                ``{"time": ""}`` says not to read times.

        Raises:
            DataError: If the file is malformed, empty or no UTF-8, a column is missing or has
                another type, a value is missing, or a note or an event is unknown. It names the file
                and the row.
            ValueError: If the suffix or a key of ``columns`` is not known.
            FileNotFoundError: If there is no such file.
        """
        table = read_table(path, _SCHEMA, columns)
        users, user_ids = _coded(table.columns["user"])
        if notes is None:
            items, note_ids = _coded(table.columns["note"])
        else:
            items, note_ids = _known(table, "note", notes.ids, "an id of the notes"), notes.ids
        times = table.columns["time"].to_numpy() if "time" in table.columns else None
        events = None
        if "event" in table.columns:
            events = _known(table, "event", _EVENTS, "view or click").astype(np.int8)
        return cls(users, items, user_ids, note_ids, times, events, ordered)

    def write(self, path: str | Path) -> None:
        """Writes the log to a ``.parquet``, ``.csv`` or ``.jsonl`` file, whole or not at all.

        Raises:
            ValueError: If the suffix is not known.
        """
        columns = {"user": _named(self.users, self.user_ids), "note": _named(self.notes, self.note_ids)}
        if self.times is not None:
            columns["time"] = pa.array(self.times, pa.int64())
        if self.events is not None:
            columns["event"] = _named(self.events, _EVENTS)
        write_table(path, pa.table(columns))


def _coded(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Numbers the values as they first appear: codes of shape ``(E,)`` and the values."""
    encoded = column.combine_chunks().dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_pylist()


def _known(table: Table, name: str, known: list[str], what: str) -> npt.NDArray[np.int64]:
    """The position of each value among ``known``, shape ``(E,)``; another value is an error."""
    column = table.columns[name]
    codes = pc.index_in(column, value_set=pa.array(known, pa.large_string()))
    table.check(codes.is_null(), lambda row: f"{name} must be {what}, but is {column[row].as_py()!r}")
    return np.asarray(codes.to_numpy(), np.int64)


def _named(codes: npt.NDArray[np.integer], names: list[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(names, pa.string()))
