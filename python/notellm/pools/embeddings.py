"""Embeddings in a folder of shards, mapped into memory: none of them is read before it is used, and none is copied.

A shard is an Arrow IPC file (also called Feather, version 2) without compression, with the columns ``id`` and
``vector``, a list of fixed size. In such a file the numbers of a column lie one after the other, as in memory, so the
file's own pages are the tensor. Parquet cannot be used so: its pages have to be decoded into memory of one's own.
"""

import mmap
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from notellm.errors import DataError
from notellm.io.files import atomic_write
from notellm.io.json_tree import Node
from notellm.pools.shards import ShardFile, read_manifest

__all__ = ["EmbeddingShard", "Embeddings", "write_shard"]

_DTYPES = {"float16": torch.float16, "float32": torch.float32, "float64": torch.float64}


class EmbeddingShard:
    """Consecutive rows of `Embeddings`: one file, mapped and checked when it is first used.

    Attributes:
        path: The file.
        first: Its first row among all.
    """

    def __init__(self, file: ShardFile, width: int, dtype: torch.dtype, verify: bool) -> None:
        self.path, self.first = file.path, file.first
        self._file, self._width, self._dtype, self._verify = file, width, dtype, verify
        self._mapped: tuple[pa.Array, Tensor] | None = None

    def __len__(self) -> int:
        return self._file.rows

    @property
    def ids(self) -> pa.LargeStringArray:
        """The ids, shape ``(n,)``; mapped, too.

        Raises:
            DataError: If the file is missing or damaged.
        """
        return self._map()[0]

    @property
    def vectors(self) -> Tensor:
        """The vectors, shape ``(n, d)``: a view of the file. What is written into it never reaches the file.

        Raises:
            DataError: If the file is missing or damaged.
        """
        return self._map()[1]

    def _map(self) -> tuple[pa.Array, Tensor]:
        if self._mapped is None:
            (self._file.check if self._verify else self._file.check_size)()
            try:
                self._mapped = _mapped(self.path, len(self), self._width, self._dtype)
            except (OSError, ValueError, pa.ArrowException) as error:
                wanted = f"an Arrow file of {len(self)} ids and vectors of {self._width} {_name(self._dtype)}"
                raise DataError(f"{self.path}: must be {wanted}, but: {error}") from None
        return self._mapped


class Embeddings:
    """Embedded notes in a folder of shards, as made by ``notellm embed --output FOLDER/``; see `open`.

    `neighbours` and `target_ranks` take it as a pool, and go through it shard by shard.

    Attributes:
        path: The folder.
        width: Numbers of a vector, ``d``.
        dtype: Of the vectors.
        made_by: What they were made with: model, options.
        shards: The files, in the order of their rows, each with ``first``, ``ids`` and ``vectors``.

    Example:
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
        dtype: torch.dtype,
        made_by: Mapping[str, Any],
    ) -> None:
        self.path, self.shards, self.width, self.dtype, self.made_by = path, shards, width, dtype, made_by
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
        return cls(Path(path), shards, width, dtype, plan.made_by)

    def __len__(self) -> int:
        return self.shards[-1].first + len(self.shards[-1])

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        """Each id with its vector, shape ``(d,)``."""
        for shard in self.shards:
            for own, vector in zip(shard.ids, shard.vectors, strict=True):
                yield own.as_py(), vector

    @property
    def ids(self) -> "Ids":
        """The ids, a sequence of ``len(self)`` texts that are made when they are asked for."""
        return Ids(self)

    @property
    def vectors(self) -> Tensor:
        """All vectors, shape ``(N, d)``, without a copy.

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
            A view where one shard has them all, otherwise a copy.

        Raises:
            IndexError: If ``0 <= begin <= end <= len(self)`` does not hold.
        """
        if not 0 <= begin <= end <= len(self):
            raise IndexError(
                f"Embeddings.rows: must have 0 <= begin <= end <= {len(self)}, but are {begin} and {end}"
            )
        parts = [
            shard.vectors[max(begin - shard.first, 0) : end - shard.first]
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
                found[is_own] = shard.vectors[wanted[is_own] - shard.first]
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


def write_shard(path: str | Path, ids: Sequence[str], vectors: Tensor) -> dict[str, Any]:
    """Writes ids and vectors as one Arrow file, complete or not at all.

    Args:
        path: The file.
        ids: ``n`` texts.
        vectors: Shape ``(n, d)``, fp16, fp32 or fp64, on the CPU.

    Returns:
        ``{"width", "dtype"}``.

    Raises:
        ValueError: If an id is not Unicode text.
    """
    width = vectors.shape[1]
    flat = pa.array(vectors.contiguous().view(-1).numpy())
    try:
        names = pa.array(ids, pa.large_string())
    except UnicodeEncodeError as error:
        raise ValueError(f"write_shard: ids must be Unicode text, but: {error}") from None
    batch = pa.record_batch(
        {"id": names, "vector": pa.FixedSizeListArray.from_arrays(flat, type=pa.list_(flat.type, width))}
    )
    with (
        atomic_write(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, batch.schema) as file,
    ):
        file.write_batch(batch)
    return {"width": width, "dtype": _name(vectors.dtype)}


def _mapped(path: Path, rows: int, width: int, dtype: torch.dtype) -> tuple[pa.Array, Tensor]:
    """The two columns of a file as views of its pages.

    The pages are mapped for copying on write: torch has no tensors that cannot be written into.

    Raises:
        ValueError: If the file holds something else.
    """
    with path.open("rb") as file:
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    reader = pa.ipc.open_file(pa.py_buffer(pages))
    wanted = pa.schema({"id": pa.large_string(), "vector": pa.list_(_arrow_type(dtype), width)})
    if not reader.schema.equals(wanted) or reader.num_record_batches != 1:
        columns = ", ".join(f"{field.name}: {field.type}" for field in reader.schema)
        raise ValueError(f"it has {reader.num_record_batches} batches of ({columns})")
    batch = reader.get_batch(0)
    batch.validate(full=True)
    ids, vectors = batch.columns
    if batch.num_rows != rows or ids.null_count or vectors.null_count or vectors.flatten().null_count:
        raise ValueError(f"it has {batch.num_rows} rows, or empty ones")
    if rows * width == 0:
        return ids, torch.empty(rows, width, dtype=dtype)
    values = vectors.flatten()
    start = np.frombuffer(pages, np.uint8).ctypes.data
    offset = values.buffers()[1].address - start + values.offset * dtype.itemsize
    if not 0 <= offset <= len(pages) - rows * width * dtype.itemsize:  # compressed: decoded elsewhere
        raise ValueError("its vectors are compressed")
    return ids, torch.frombuffer(pages, dtype=dtype, count=rows * width, offset=offset).view(rows, width)


def _arrow_type(dtype: torch.dtype) -> pa.DataType:
    return pa.from_numpy_dtype(_name(dtype))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _width(about: Node) -> int:
    width = about.count("width")
    if not 1 <= width < 2**31:
        raise DataError(f"{about.where}.width: must be at least 1, but is {width}")
    return width


def _dtype(about: Node) -> torch.dtype:
    name = about.text("dtype")
    if name not in _DTYPES:
        raise DataError(f"{about.where}.dtype: must be one of {', '.join(_DTYPES)}, but is {name!r}")
    return _DTYPES[name]
