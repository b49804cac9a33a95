"""Embeddings in a folder of shards, mapped into memory: none is read before it is used, and none is copied.

A shard is a file of `notellm.pools.columns`. Vectors kept in int8 become fp32 when they are used, a block at a time.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from notellm.errors import DataError
from notellm.io.home import expanded
from notellm.io.json_tree import Node
from notellm.pools.columns import DTYPES, Columns, name_of, read_columns
from notellm.pools.shards import ShardFile, read_manifest

__all__ = ["EmbeddingShard", "Embeddings"]

_BLOCK = 65_536
"""Rows of int8 that become fp32 at a time."""


class EmbeddingShard:
    """Consecutive rows of `Embeddings`: one file, mapped and checked when it is first used.

    Attributes:
        path: The file.
        first: Its first row among all.
    """

    def __init__(self, file: ShardFile, width: int, dtype: torch.dtype, verify: bool) -> None:
        self.path, self.first = file.path, file.first
        self._file, self._width, self._dtype, self._verify = file, width, dtype, verify
        self._mapped: Columns | None = None

    def __len__(self) -> int:
        return self._file.rows

    @property
    def ids(self) -> pa.LargeStringArray:
        """The ids, shape ``(n,)``; mapped, too.

        Raises:
            DataError: If the file is missing or damaged.
        """
        return self._map().ids

    @property
    def vectors(self) -> Tensor:
        """The vectors, shape ``(n, d)``: a view of the file. What is written into it never reaches the file.

        Of vectors in int8: all of them in fp32; `rows` makes fewer.

        Raises:
            DataError: If the file is missing or damaged.
        """
        return self.rows(slice(None))

    def rows(self, which: slice | Tensor) -> Tensor:
        """The vectors of some rows of the shard, as `vectors` has them."""
        return self._map().vectors(which)

    def blocks(self) -> Iterator[tuple[pa.LargeStringArray, Tensor]]:
        """Ids and vectors: all at once where they are mapped, or one block of int8 after the other."""
        size = _BLOCK if self._dtype == torch.int8 else max(1, len(self))
        for first in range(0, max(1, len(self)), size):
            own = slice(first, first + size)
            yield self.ids[own], self.rows(own)

    def _map(self) -> Columns:
        if self._mapped is None:
            (self._file.check if self._verify else self._file.check_size)()
            try:
                self._mapped = read_columns(self.path, len(self), self._width, self._dtype)
            except (OSError, ValueError, pa.ArrowException) as error:
                wanted = (
                    f"an Arrow file of {len(self)} ids and vectors of {self._width} {name_of(self._dtype)}"
                )
                raise DataError(f"{self.path}: must be {wanted}, but: {error}") from None
        return self._mapped


class Embeddings:
    """Embedded notes in a folder of shards, as made by ``notellm embed --output FOLDER/``; see `open`.

    `neighbours` and `target_ranks` take it as a pool, and go through it shard by shard.

    Attributes:
        path: The folder.
        width: Numbers of a vector, ``d``.
        dtype: Of the vectors as they are given: fp32 for those kept in int8.
        storage: How numbers are kept: the name of the dtype, or ``"int8"``.
        made_by: What they were made with: model, options.
        shards: The files, in the order of their rows, each with ``first``, ``ids`` and ``vectors``.

    Example:
        >>> from notellm.pools.columns import write_shard
        >>> from notellm.pools.shards import Plan, Shards
        >>> folder = getfixture("tmp_path") / "vectors"
        >>> shards = Shards.begin(folder, Plan("embeddings", {}, "", rows=3, rows_per_shard=2))
        >>> for index, ids in enumerate((["a", "b"], ["c"])):
        ...     shards.make(index, lambda path: write_shard(path, ids, torch.eye(3)[: len(ids)]))
        >>> shards.finish()
        True
        >>> pool = Embeddings.open(folder)
        >>> len(pool), pool.width, pool.ids[2], pool.find(["b"]), pool.rows(1, 3).tolist()
        (3, 3, 'c', [1], [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    """

    def __init__(
        self,
        path: Path,
        shards: Sequence[EmbeddingShard],
        width: int,
        kept: torch.dtype,
        made_by: Mapping[str, Any],
    ) -> None:
        self.path, self.shards, self.width, self.made_by = path, shards, width, made_by
        self.dtype, self.storage = torch.float32 if kept == torch.int8 else kept, name_of(kept)
        self._starts = [shard.first for shard in shards]

    @classmethod
    def open(cls, path: str | Path, *, verify: bool = True) -> Self:
        """Opens a complete folder: reads the manifest and the sizes of the files, nothing else.

        Args:
            path: The folder.
            verify: Whether a shard's checksum is compared when it is first used, for which it is read once.

        Raises:
            DataError: If the manifest is missing, damaged or not complete, or a file is missing or has another size.
        """
        plan, about, files = read_manifest(path, "embeddings")
        width, dtype = _width(about), _dtype(about)
        shards = [EmbeddingShard(file, width, dtype, verify) for file in files]
        return cls(expanded(path), shards, width, dtype, plan.made_by)

    def __len__(self) -> int:
        return self.shards[-1].first + len(self.shards[-1])

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        """Each id with its vector, shape ``(d,)``."""
        for shard in self.shards:
            for ids, vectors in shard.blocks():
                for own, vector in zip(ids, vectors, strict=True):
                    yield own.as_py(), vector

    @property
    def blocks(self) -> "Blocks":
        """Ids and vectors in pieces, none of which takes much memory; for `NeighbourIndex.from_blocks`, too."""
        return Blocks(self.shards)

    @property
    def ids(self) -> "Ids":
        """The ids, a sequence of ``len(self)`` texts that are made when they are asked for."""
        return Ids(self)

    @property
    def vectors(self) -> Tensor:
        """All vectors, shape ``(N, d)``, without a copy; but those kept in int8 become fp32.

        Raises:
            ValueError: If there are several shards: no tensor spans several files.
        """
        if len(self.shards) != 1:
            raise ValueError(
                f"Embeddings.vectors: there must be one shard, but are {len(self.shards)}; "
                "try .shards, or .rows(begin, end), which copies"
            )
        return self.shards[0].vectors

    def rows(self, begin: int, end: int) -> Tensor:
        """The vectors of the rows ``[begin, end)``, shape ``(end - begin, d)``.

        Returns:
            A view where one shard has them all, and not in int8; otherwise a copy.

        Raises:
            IndexError: If ``0 <= begin <= end <= len(self)`` does not hold.
        """
        if not 0 <= begin <= end <= len(self):
            raise IndexError(
                f"Embeddings.rows: must have 0 <= begin <= end <= {len(self)}, but are {begin} and {end}"
            )
        parts = [
            shard.rows(slice(max(begin - shard.first, 0), end - shard.first))
            for shard in self.shards
            if shard.first < end and begin < shard.first + len(shard)
        ]
        if not parts:
            return torch.empty(0, self.width, dtype=self.dtype)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def take(self, rows: Sequence[int] | Tensor) -> Tensor:
        """Copies the vectors of any rows, shape ``(len(rows), d)``, in their order.

        Raises:
            IndexError: If a row is not in ``[0, len(self))``.
        """
        wanted = torch.as_tensor(rows, dtype=torch.int64).reshape(-1).cpu()
        wrong = wanted[(wanted < 0) | (wanted >= len(self))]
        if len(wrong):
            raise IndexError(f"Embeddings.take: rows must be in [0, {len(self)}), but one is {int(wrong[0])}")
        found = torch.empty(len(wanted), self.width, dtype=self.dtype)
        for shard in self.shards:
            is_own = (wanted >= shard.first) & (wanted < shard.first + len(shard))
            if bool(is_own.any()):
                found[is_own] = shard.rows(wanted[is_own] - shard.first)
        return found

    def find(self, ids: Sequence[str]) -> list[int]:
        """The rows of some ids; all shards' ids are read for it.

        Raises:
            DataError: If an id is not there; names it.
        """
        wanted = pa.array(ids, pa.large_string())
        found: dict[str, int] = {}
        for shard in self.shards:
            rows = np.flatnonzero(pc.is_in(shard.ids, value_set=wanted))
            for row in rows.tolist():
                found.setdefault(shard.ids[row].as_py(), shard.first + row)
        for name in ids:
            if name not in found:
                raise DataError(f"{self.path}: must hold the note {name!r}, but does not")
        return [found[name] for name in ids]

    def verify(self) -> None:
        """Compares the checksums of all shards now.

        Raises:
            DataError: If a file is missing or has changed since it was written; names the first such file.
        """
        for shard in self.shards:
            shard._file.check()

    def _shard_of(self, row: int) -> EmbeddingShard:
        return self.shards[bisect_right(self._starts, row) - 1]


class Blocks(Iterable[tuple[pa.LargeStringArray, Tensor]]):
    """The pieces of `Embeddings`; each time they are gone through, they are made anew."""

    def __init__(self, shards: Sequence[EmbeddingShard]) -> None:
        self._shards = shards

    def __iter__(self) -> Iterator[tuple[pa.LargeStringArray, Tensor]]:
        for shard in self._shards:
            yield from shard.blocks()


class Ids(Sequence[str]):
    """The ids of `Embeddings`, made one by one from the mapped files."""

    def __init__(self, embeddings: Embeddings) -> None:
        self._embeddings = embeddings

    def __len__(self) -> int:
        return len(self._embeddings)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> Any:
        if isinstance(row, slice):
            return [self[own] for own in range(*row.indices(len(self)))]
        row = range(len(self))[row]
        shard = self._embeddings._shard_of(row)
        return shard.ids[row - shard.first].as_py()

    def __iter__(self) -> Iterator[str]:
        for shard in self._embeddings.shards:
            yield from shard.ids.to_pylist()


def _width(about: Node) -> int:
    width = about.count("width")
    if not 1 <= width < 2**31:
        raise DataError(f"{about.where}.width: must be at least 1, but is {width}")
    return width


def _dtype(about: Node) -> torch.dtype:
    name = about.text("dtype")
    if name not in DTYPES:
        raise DataError(f"{about.where}.dtype: must be one of {', '.join(DTYPES)}, but is {name!r}")
    return DTYPES[name]
