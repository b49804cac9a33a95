"""Vectors and the ids of their notes, as a file of safetensors or NumPy."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from notellm.errors import DataError
from notellm.finite import row_not_finite
from notellm.int8 import from_int8, to_int8
from notellm.io.files import atomic_together, atomic_write
from notellm.io.home import expanded
from notellm.io.json_files import read_text

__all__ = ["load_embeddings", "save_embeddings"]


def files_of(path: str | Path) -> list[Path]:
    """All files that are written or read with one of vectors: that of ``.npy`` has its ids beside it."""
    path = expanded(path)
    return [path, path.with_suffix(".ids.txt")] if path.suffix == ".npy" else [path]


def check_ids(path: str | Path, ids: Sequence[str]) -> None:
    """Checks before any work that a file can hold these ids: ``.safetensors`` takes any text, ``.npy`` one line each.

    Raises:
        ValueError: If the path has another suffix, or an id cannot be written.
        TypeError: If an id is not text.
    """
    path = Path(path)
    if path.suffix not in (".safetensors", ".npy"):
        raise ValueError(f"save_embeddings: the file must end in .safetensors or .npy, but is {path.name}")
    for row, name in enumerate(ids):
        if not isinstance(name, str):
            raise TypeError(f"save_embeddings: ids must be text, but number {row} is {name!r}")
        if path.suffix == ".npy" and "\n" in name:
            raise ValueError(
                f"save_embeddings: ids in a text file must be without line breaks, but number {row} is {name!r}; "
                "try .safetensors"
            )
        if not name.isascii() and any("\ud800" <= character <= "\udfff" for character in name):
            raise ValueError(f"save_embeddings: ids must be Unicode text, but number {row} is {name!r}")


def check_storage(path: str | Path, storage: str) -> None:
    """Checks before any work that a file can hold vectors kept so.

    Raises:
        ValueError: If it cannot: ``.npy`` has no place for the scales of int8.
    """
    if storage not in ("fp32", "int8"):
        raise ValueError(f"save_embeddings: storage must be fp32 or int8, but is {storage!r}")
    if storage == "int8" and Path(path).suffix == ".npy":
        raise ValueError(
            f"save_embeddings: int8 must go to a .safetensors file, but this is {Path(path).name}"
        )


def save_embeddings(path: str | Path, ids: Sequence[str], vectors: Tensor, *, storage: str = "fp32") -> None:
    """Writes embeddings, complete or not at all.

    Args:
        path: ``*.safetensors`` (tensor ``embeddings``, and the ids as two more tensors: ``ids``, their concatenated
            UTF-8 bytes, and ``id_offsets``, ``n + 1`` int64; of int8 also ``scales``, ``n`` fp32) or ``*.npy`` (the
            matrix, with one id per line in ``*.ids.txt`` beside it).
        ids: ``n`` note ids; for ``.npy`` without line breaks.
        vectors: Shape ``(n, d)``, finite; in ``.npy``, which has no bf16, that is widened to fp32.
        storage: ``"fp32"``: the vectors as they are; ``"int8"``, in ``.safetensors``: see `notellm.int8.to_int8`.

    Raises:
        ValueError: If the path has another suffix, an id cannot be written (`check_ids`), nor vectors in this storage,
            the numbers of ids and rows differ, or `load_embeddings` would refuse the vectors. What was in the file
            stays.
    """
    path = expanded(path)
    check_ids(path, ids)
    check_storage(path, storage)
    if len(ids) != len(vectors):
        raise ValueError(
            f"save_embeddings: ids and rows must be as many, but are {len(ids)} and {len(vectors)}"
        )
    vectors = _matrix(vectors)
    if path.suffix == ".safetensors":
        names = ("embeddings", "scales")
        kept = zip(names, to_int8(vectors) if storage == "int8" else (vectors.contiguous(),), strict=False)
        with atomic_write(path) as temporary:
            save_file(dict(kept) | _packed(ids), temporary)
        return
    matrix = (vectors.float() if vectors.dtype == torch.bfloat16 else vectors).numpy()
    with atomic_together(*reversed(files_of(path))) as (listed, temporary):
        listing = "\n".join(ids)
        # A byte order mark (from an editor) is not part of the first id; if an id begins with one, there are two.
        marked = listing.startswith("\ufeff")
        listed.write_bytes(listing.encode("utf-8-sig" if marked else "utf-8"))
        with temporary.open("wb") as file:
            np.save(file, matrix)


def load_embeddings(path: str | Path) -> tuple[list[str], Tensor]:
    """Reads what `save_embeddings` wrote.

    Returns:
        The ids and the vectors, shape ``(n, d)``; those kept in int8 are fp32.

    Raises:
        DataError: If a file is missing, damaged, or does not fit its ids, or a number is not finite.
    """
    path = expanded(path)
    if not path.is_file():
        raise DataError(
            f"{path}: must be a file of save_embeddings, but {'is a folder' if path.is_dir() else 'does not exist'}"
        )
    try:
        ids, vectors = _read_npy(path) if path.suffix == ".npy" else _read_safetensors(path)
    except DataError:
        raise
    except Exception as error:  # NumPy raises nearly anything: the header of its files is Python code
        raise DataError(f"{path}: must be a file of save_embeddings, but: {error}") from None
    if vectors.dim() != 2 or not vectors.is_floating_point():
        what = f"{tuple(vectors.shape)} {str(vectors.dtype).removeprefix('torch.')}"
        raise DataError(f"{path}: must hold a matrix of floating-point numbers, but holds {what}")
    if len(vectors) == 0 and ids == [""]:
        ids = []
    if len(ids) != len(vectors):
        raise DataError(f"{path}: must have an id for every row, but has {len(ids)} and {len(vectors)}")
    _check_finite(path, ids, vectors)
    return ids, vectors


def _read_npy(path: Path) -> tuple[list[str], Tensor]:
    vectors = torch.from_numpy(np.load(path))
    # not read as lines: a carriage return would end one
    return read_text(files_of(path)[1]).split("\n"), vectors


def _read_safetensors(path: Path) -> tuple[list[str], Tensor]:
    with safe_open(path, framework="pt") as file:
        ids = _unpacked(file)
        vectors = file.get_tensor("embeddings")
        return ids, from_int8(vectors, file.get_tensor("scales")) if vectors.dtype == torch.int8 else vectors


def _matrix(vectors: Tensor) -> Tensor:
    """The vectors on the CPU, without a graph, if `load_embeddings` would take them."""
    matrix = torch.as_tensor(vectors).detach().cpu()
    if matrix.dim() != 2 or not matrix.is_floating_point():
        what = f"{tuple(matrix.shape)} {str(matrix.dtype).removeprefix('torch.')}"
        raise ValueError(
            f"save_embeddings: vectors must be a matrix of floating-point numbers, but are {what}"
        )
    row = row_not_finite(matrix)
    if row is not None:
        raise ValueError(f"save_embeddings: vectors must be finite, but that of row {row} is not")
    return matrix


def _check_finite(path: Path, ids: Sequence[str], vectors: Tensor) -> None:
    row = row_not_finite(vectors)
    if row is not None:
        raise DataError(f"{path}: vectors must be finite, but that of {ids[row]!r} (row {row}) is not")


def _packed(ids: Sequence[str]) -> dict[str, Tensor]:
    """Any number of texts as two tensors: the header of the file is limited in size."""
    column = pa.array(ids, pa.large_string())
    _, offsets, content = column.buffers()
    starts = np.frombuffer(offsets, np.int64, len(ids) + 1) if len(ids) else np.zeros(1, np.int64)
    letters = np.frombuffer(content, np.uint8, int(starts[-1])) if starts[-1] else np.zeros(0, np.uint8)
    return {"ids": torch.from_numpy(letters.copy()), "id_offsets": torch.from_numpy(starts.copy())}


def _unpacked(file: Any) -> list[str]:
    """The texts of `_packed`.

    Raises:
        ValueError: If the two tensors do not fit together, or do not hold UTF-8.
    """
    letters, offsets = file.get_tensor("ids").numpy(), file.get_tensor("id_offsets").numpy()
    is_sound = letters.dtype == np.uint8 and offsets.dtype == np.int64 and letters.ndim == offsets.ndim == 1
    if not (is_sound and len(offsets) and offsets[0] == 0 and offsets[-1] == len(letters)):
        raise ValueError("ids and id_offsets do not fit together")
    if (np.diff(offsets) < 0).any():
        raise ValueError("id_offsets do not ascend")
    column = pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(letters))
    column.validate(full=True)  # pyarrow's error is a ValueError
    names: list[str] = column.to_pylist()
    return names
