"""Embedded notes as a verb is given them: a file, which is read, or a folder of shards, which is used in place."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from notellm.errors import DataError
from notellm.indexes.blocks import Vectors, rows_of
from notellm.indexes.index import NeighbourIndex
from notellm.io.id_column import as_column
from notellm.pools.embeddings import Embeddings
from notellm.vector_files import load_embeddings

__all__ = ["StoredVectors"]

_BLOCK = 65_536
"""Rows of a file that are a block."""


class StoredVectors:
    """N ids and as many vectors.

    Attributes:
        path: The file or the folder.
        vectors: Shape ``(N, d)``.
        width: ``d``.

    Raises:
        DataError: If the path is neither a file of vectors nor a folder of shards, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.vectors: Tensor | Embeddings
        if path.is_dir():
            self.vectors = Embeddings.open(path)
            self.width = self.vectors.width
        else:
            ids, self.vectors = load_embeddings(path)
            self._column, self.width = as_column(ids), self.vectors.shape[1]

    def __len__(self) -> int:
        return len(self.vectors)

    def blocks(self) -> Iterable[tuple[pa.LargeStringArray, Tensor]]:
        """Ids and vectors, piece by piece; may be gone through several times."""
        if isinstance(self.vectors, Embeddings):
            return self.vectors.blocks
        firsts = range(0, max(1, len(self)), _BLOCK)
        return [(self._column.slice(i, _BLOCK), self.vectors[i : i + _BLOCK]) for i in firsts]

    def ids(self) -> list[str]:
        """All ids."""
        found: list[str] = self._all_ids().to_pylist()
        return found

    def _all_ids(self) -> pa.LargeStringArray:
        if not isinstance(self.vectors, Embeddings):
            return self._column
        return pa.concat_arrays([column for column, _ in self.blocks()])

    def matrix(self) -> Tensor:
        """All vectors as one tensor, shape ``(N, d)``; those of several shards are copied for it."""
        return self.vectors.rows(0, len(self)) if isinstance(self.vectors, Embeddings) else self.vectors

    def take(self, rows: Tensor) -> Tensor:
        """Shape ``(n, d)``: the vectors of rows, shape ``(n,)`` int64."""
        return rows_of(self.vectors, rows)

    def rows_of(self, ids: Sequence[str]) -> Tensor:
        """Shape ``(n,)`` int64: where ids are; -1 for those that are not here."""
        found = pc.index_in(as_column(ids), value_set=self._all_ids()).fill_null(-1)
        return torch.tensor(found.to_numpy(), dtype=torch.int64)

    def of_index(self, index: NeighbourIndex, index_path: Path) -> Vectors:
        """The vectors of an index's notes, in its order; nothing is copied.

        Raises:
            DataError: If an id of the index is not here, or the widths differ.
        """
        self.check_width(index, index_path)
        places = index.rows_of(self._all_ids())
        is_there = places >= 0
        order = torch.full((len(index),), -1)
        order[places[is_there]] = is_there.nonzero().flatten()
        if bool((order < 0).any()):
            note = index.ids_of((order < 0).nonzero()[:1])[0][0]
            raise DataError(f"{self.path}: must hold the notes of {index_path}, but {note!r} is not there")
        return self.vectors if order.equal(torch.arange(len(self))) else _Reordered(self.vectors, order)

    def check_width(self, index: NeighbourIndex, index_path: Path) -> None:
        """Checks that vectors are as wide as an index.

        Raises:
            DataError: If they are not.
        """
        if self.width != index.width:
            raise DataError(
                f"{self.path}: must have the width of {index_path}, {index.width}, but has {self.width}"
            )


class _Reordered:
    """Vectors in another order."""

    def __init__(self, vectors: Vectors, order: Tensor) -> None:
        self._vectors, self._order = vectors, order

    def take(self, rows: Tensor) -> Tensor:
        """The vectors of rows of this order."""
        return rows_of(self._vectors, self._order[rows])
