"""Many ids, in the memory that their letters take."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["IdColumn"]


class IdColumn:
    """Ids of any text, by position.

    Example:
        >>> ids = IdColumn()
        >>> ids.extend(["vim", "emacs"])
        >>> ids.extend(["nano"])
        >>> ids.take([2, 0]), ids.positions(["emacs", "ed"])
        (['nano', 'vim'], [1, -1])
    """

    def __init__(self) -> None:
        self._parts: list[tuple[int, pa.LargeStringArray]] = []  # how many ids there are with it, and it

    def __len__(self) -> int:
        return self._parts[-1][0] if self._parts else 0

    def extend(self, ids: Sequence[str] | pa.LargeStringArray) -> None:
        """Appends ids.

        Raises:
            ValueError: If one is not Unicode text.
        """
        column = as_column(ids)
        self._parts.append((len(self) + len(column), column))

    def cut(self, count: int) -> None:
        """Leaves the first ``count`` ids, where there are more."""
        if len(self) > count:
            self._parts = [(count, self._whole()[:count])]

    def take(self, positions: Iterable[int]) -> list[str]:
        """The ids at positions."""
        found: list[str] = self._whole().take(pa.array(positions, pa.int64())).to_pylist()
        return found

    def positions(self, ids: Sequence[str] | pa.LargeStringArray) -> list[int]:
        """Where each id is; -1 for those that are not there."""
        found = pc.index_in(as_column(ids), value_set=self._whole())
        positions: list[int] = found.fill_null(-1).to_pylist()
        return positions

    def repeated(self) -> str | None:
        """An id that is there twice, or None."""
        whole = self._whole()
        if pc.count_distinct(whole).as_py() == len(whole):
            return None
        counts = pc.value_counts(whole)
        at = pc.index(pc.greater(counts.field("counts"), 1), True).as_py()
        twice: str = counts.field("values")[at].as_py()
        return twice

    def buffers(self) -> tuple[memoryview, memoryview]:
        """The bytes of the ids: ``n + 1`` offsets, int64 with the lowest byte first, and UTF-8."""
        whole = self._whole()
        if not len(whole):
            return memoryview(bytes(8)), memoryview(b"")
        _, offsets, letters = whole.buffers()  # of a slice: those of the array that it is a slice of
        starts = np.frombuffer(offsets, np.int64, whole.offset + len(whole) + 1)[whole.offset :]
        text = memoryview(letters or b"")[starts[0] : starts[-1]]
        return memoryview((starts - starts[0]).astype("<i8")).cast("B"), text

    @classmethod
    def from_bytes(cls, data: bytes, count: int) -> "IdColumn":
        """The ids of `buffers`, one after the other.

        Raises:
            ValueError: If the bytes are not those of ``count`` ids.
        """
        size = 8 * (count + 1)
        if count < 0 or len(data) < size:
            raise ValueError(f"{len(data)} bytes are too few for {count} ids")
        offsets = np.frombuffer(data, "<i8", count + 1).astype(np.int64)
        if offsets[0] != 0 or offsets[-1] != len(data) - size or (np.diff(offsets) < 0).any():
            raise ValueError("the ids do not fit together")
        parts = pa.py_buffer(offsets), pa.py_buffer(data[size:])
        column = pa.LargeStringArray.from_buffers(count, *parts)
        column.validate(full=True)  # pyarrow's error is a ValueError
        ids = cls()
        ids.extend(column)
        return ids

    def _whole(self) -> pa.LargeStringArray:
        if len(self._parts) != 1:
            parts = [part for _, part in self._parts]
            whole = pa.concat_arrays(parts) if parts else pa.array([], pa.large_string())
            self._parts = [(len(whole), whole)]
        return self._parts[0][1]


def as_column(ids: Sequence[str] | pa.LargeStringArray) -> pa.LargeStringArray:
    """Ids as pyarrow's array; one is taken as it is.

    Raises:
        ValueError: If one is not Unicode text.
    """
    try:
        column: Any = ids if isinstance(ids, pa.LargeStringArray) else pa.array(ids, pa.large_string())
    except UnicodeEncodeError as error:
        raise ValueError(f"ids must be Unicode text, but one is {error.object!r}") from None
    if column.null_count:
        raise ValueError("ids must be Unicode text, but one is None")
    return column
