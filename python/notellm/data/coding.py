"""Texts become numbers: those of a list, and the values of a column that comes in parts."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["Coder", "numbered"]

_FEW = 1 << 16


def numbered(names: Sequence[str]) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The different ones of N names in alphabetical order, and shape ``(N,)``: each name's place in them.

    It is what ``np.unique`` finds, but no array of texts, in which each has as much room as the longest.

    Example:
        >>> numbered(["b", "a", "b"])
        (['a', 'b'], array([1, 0, 1]))
    """
    known = sorted(set(names))
    place = {name: code for code, name in enumerate(known)}
    return known, np.fromiter((place[name] for name in names), np.int64, len(names))


class Coder:
    """Codes of a column's values, in the order in which values first appear.

    Neither the column nor its values are ever Python objects: of a part its codes (4 bytes a row) and its distinct
    values are kept. Values are compared with those of earlier parts once there are as many new as known ones, so the
    time is proportional to the rows, and the memory to the rows and to at most twice the distinct values.

    Example:
        >>> coder = Coder()
        >>> for part in (["b", "a", "b"], ["c", "a"]):
        ...     coder.add(pa.chunked_array([pa.array(part, pa.large_string()).dictionary_encode()]))
        >>> codes, values = coder.finish()
        >>> codes, values.to_pylist()
        (array([0, 1, 0, 2, 1]), ['b', 'a', 'c'])
    """

    def __init__(self) -> None:
        self._known = pa.array([], pa.large_string())
        self._codes: list[npt.NDArray[np.int32]] = []
        self._waiting: list[tuple[npt.NDArray[np.int32], pa.Array]] = []

    def add(self, part: pa.ChunkedArray) -> None:
        """Adds a part, which is dictionary-encoded; its chunks share one dictionary of large_string."""
        codes = [np.empty(0, np.int32), *(chunk.indices.to_numpy() for chunk in part.chunks)]
        values = part.chunk(0).dictionary if part.num_chunks else self._known.slice(0, 0)
        self._waiting.append((np.concatenate(codes).astype(np.int32, copy=False), values))
        if sum(len(values) for _, values in self._waiting) > max(_FEW, len(self._known)):
            self._settle()

    def finish(self) -> tuple[npt.NDArray[np.int64], pa.Array]:
        """The codes of all parts, shape ``(E,)``, and the values, large_string; the coder is empty afterwards."""
        self._settle()
        codes = np.empty(sum(map(len, self._codes)), np.int64)
        end = len(codes)
        while self._codes:  # from the end, so that each part is freed once it is copied
            part = self._codes.pop()
            codes[end - len(part) : end] = part
            end -= len(part)
        return codes, self._known

    def _settle(self) -> None:
        """Replaces the codes of the waiting parts by those of all values so far."""
        if not self._waiting:
            return
        values = [self._known, *(own for _, own in self._waiting)]
        numbers = [np.arange(0 if i == 0 else len(own), dtype=np.int32) for i, own in enumerate(values)]
        chunks = [
            pa.DictionaryArray.from_arrays(pa.array(number), own)
            for number, own in zip(numbers, values, strict=True)
        ]
        unified = pa.chunked_array(chunks).unify_dictionaries()
        self._known = unified.chunk(0).dictionary
        for (codes, _), new in zip(self._waiting, unified.chunks[1:], strict=True):
            self._codes.append(new.indices.to_numpy()[codes])
        self._waiting = []
