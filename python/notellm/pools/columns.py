"""The file of a shard of embeddings: written from tensors, and mapped as tensors.

It is an Arrow IPC file (also called Feather, version 2) without compression, with the columns ``id`` and ``vector``, a
list of fixed size. In such a file the numbers of a column lie one after the other, as in memory, so the file's own
pages are the tensor. Parquet cannot be used so: its pages have to be decoded into memory of one's own.

Vectors kept in int8 have a third column, ``scale`` (see `notellm.int8`).
"""

import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from notellm.finite import row_not_finite
from notellm.int8 import from_int8, to_int8
from notellm.io.files import atomic_write

__all__ = ["DTYPES", "Columns", "name_of", "read_columns", "write_shard"]

DTYPES = {
    "float16": torch.float16,
    "float32": torch.float32,
    "float64": torch.float64,
    "int8": torch.int8,
}
"""How numbers may be kept, by name."""


class Columns(NamedTuple):
    """The columns of a file, mapped; numbers ``(n, d)`` as they are kept, scales ``(n,)`` if that is int8."""

    ids: pa.LargeStringArray
    numbers: Tensor
    scales: Tensor | None

    def vectors(self, rows: slice | Tensor) -> Tensor:
        """Some vectors: those of the file, or of int8 new ones."""
        if self.scales is None:
            return self.numbers[rows]
        return from_int8(self.numbers[rows], self.scales[rows])


def write_shard(
    path: str | Path, ids: Sequence[str], vectors: Tensor, *, storage: str = "fp32"
) -> dict[str, Any]:
    """Writes ids and vectors as one Arrow file, complete or not at all.

    Args:
        path: The file.
        ids: ``n`` texts.
        vectors: Shape ``(n, d)``, fp16, fp32 or fp64, on the CPU.
        storage: ``"fp32"``: the vectors as they are; ``"int8"``: see `notellm.int8.to_int8`.

    Returns:
        ``{"width", "dtype"}``.

    Raises:
        ValueError: If an id is not Unicode text, or a number is not finite.
    """
    row = row_not_finite(vectors)
    if row is not None:
        raise ValueError(f"write_shard: vectors must be finite, but that of {ids[row]!r} (row {row}) is not")
    width, scales = vectors.shape[1], {}
    if storage == "int8":
        vectors, own = to_int8(vectors)
        scales = {"scale": pa.array(own.numpy())}
    flat = pa.array(vectors.contiguous().view(-1).numpy())
    try:
        names = pa.array(ids, pa.large_string())
    except UnicodeEncodeError as error:
        raise ValueError(f"write_shard: ids must be Unicode text, but: {error}") from None
    lists = pa.FixedSizeListArray.from_arrays(flat, type=pa.list_(flat.type, width))
    batch = pa.record_batch({"id": names, "vector": lists} | scales)
    with (
        atomic_write(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, batch.schema) as file,
    ):
        file.write_batch(batch)
    return {"width": width, "dtype": name_of(vectors.dtype)}


def read_columns(path: Path, rows: int, width: int, dtype: torch.dtype) -> Columns:
    """Maps a file: ids and numbers are views of its pages.

    The pages are mapped for copying on write: torch has no tensors that cannot be written into.

    Raises:
        ValueError: If the file holds something else.
    """
    with path.open("rb") as file:
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    reader = pa.ipc.open_file(pa.py_buffer(pages))
    fields = {"id": pa.large_string(), "vector": pa.list_(_arrow_type(dtype), width)}
    wanted = pa.schema(fields | ({"scale": pa.float32()} if dtype == torch.int8 else {}))
    if not reader.schema.equals(wanted) or reader.num_record_batches != 1:
        columns = ", ".join(f"{field.name}: {field.type}" for field in reader.schema)
        raise ValueError(f"it has {reader.num_record_batches} batches of ({columns})")
    batch = reader.get_batch(0)
    batch.validate(full=True)
    ids, vectors, *more = batch.columns
    scales = _scales(more[0]) if more else None
    if batch.num_rows != rows or ids.null_count or vectors.null_count or vectors.flatten().null_count:
        raise ValueError(f"it has {batch.num_rows} rows, or empty ones")
    if rows * width == 0:
        return Columns(ids, torch.empty(rows, width, dtype=dtype), scales)
    values = vectors.flatten()
    start = np.frombuffer(pages, np.uint8).ctypes.data
    offset = values.buffers()[1].address - start + values.offset * dtype.itemsize
    if not 0 <= offset <= len(pages) - rows * width * dtype.itemsize:  # compressed: decoded elsewhere
        raise ValueError("its vectors are compressed")
    numbers = torch.frombuffer(pages, dtype=dtype, count=rows * width, offset=offset).view(rows, width)
    return Columns(ids, numbers, scales)


def _scales(column: pa.FloatArray) -> Tensor:
    """A copy of the scales: four bytes a vector.

    Raises:
        ValueError: If one cannot be a scale.
    """
    scales = column.to_numpy(zero_copy_only=False)  # with NaN for none
    if not (np.isfinite(scales) & (scales >= 0)).all():
        raise ValueError("a scale is missing, negative or not finite")
    return torch.from_numpy(scales.astype(np.float32))


def _arrow_type(dtype: torch.dtype) -> pa.DataType:
    return pa.from_numpy_dtype(name_of(dtype))


def name_of(dtype: torch.dtype) -> str:
    """The key of a dtype in ``DTYPES``."""
    return str(dtype).removeprefix("torch.")
