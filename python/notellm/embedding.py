"""Notes to vectors, and vectors to files."""

import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from notellm import _core
from notellm._core.options import EmbedOptions
from notellm.errors import DataError
from notellm.int8 import from_int8, to_int8
from notellm.interrupts import finishing
from notellm.io.files import atomic_write
from notellm.io.home import expanded
from notellm.io.json_files import read_text
from notellm.models.language_model import EmbedCall, Embedded, LanguageModel
from notellm.precision import Dtype, compute_dtype
from notellm.progress import ProgressFn

if TYPE_CHECKING:
    from typing import Unpack

    from notellm._core.options import EmbedKeywords

__all__ = ["EmbedOptions", "Embedded", "embed", "load_embeddings", "save_embeddings", "truncated"]


_ROWS = 65_536
"""Rows that are checked at once: the check needs a byte for each number."""


def embed(
    model: LanguageModel,
    tokenized: "_core.prompts.TokenizedNotes",
    indices: Sequence[int] | None = None,
    *,
    pooling: str | None = None,
    projected: bool = True,
    dtype: Dtype = "auto",
    options: EmbedOptions | None = None,
    progress: ProgressFn | None = None,
    **changes: "Unpack[EmbedKeywords]",
) -> Embedded:
    """Embeds tokenised notes with the category prompt, which shows all fields.

    No token is computed twice in a forward pass: prompts share their common prefixes (the instruction, a field's
    name, the same first words), and equal prompts are computed once. Notes are batched so that those with long common
    prefixes meet. There is no padding.

    Args:
        model: The model; its weights are read as they are now.
        tokenized: From ``model.prompt.tokenize(notes)``.
        indices: Which notes; all by default.
        pooling: ``"compression"``: the hidden state at the compressed position; ``"mean"``: the mean over the note's
            tokens, from the prompt's first slot to the compressed position. Default: the model's own pooling. If that
            is a function, it is called batch by batch, and int8 is not possible.
        projected: Whether to apply the projection to ``d`` dimensions. The paper's zero-shot rows do not.
        dtype: Of the matrix products, see `notellm.resolve_dtype`: ``"auto"``, ``"fp32"``, ``"bf16"`` or ``"fp64"``.
        options: See `EmbedOptions`. With ``weights="int8"`` one matrix at a time is dequantised right before its
            product; the result's ``weight_bytes`` gives the memory of the matrices. With ``dim=64`` vectors are
            `truncated`; a warning says if the model was not trained for that (``loss.nested_dims``). ``storage`` is for
            who writes them.
        progress: Called with (notes done, notes).
        changes: Single options, such as ``batch_tokens=8192``, that replace those of ``options`` or the defaults.

    Returns:
        The vectors in the order of ``indices``, and the token counts.

    Raises:
        ValueError: If a name, the budget or ``dim`` is out of range; for int8, if a weight is not finite.
        IndexError: If an index is out of range.
    """
    options = (options or EmbedOptions()).replace(**changes)
    chosen = model.pooling if pooling is None else pooling
    compute = compute_dtype(dtype, model.device)
    notes = range(len(tokenized)) if indices is None else indices
    warn_of_dim(options.dim, model.dim if projected else 0, model.nested_dims if projected else ())
    if not isinstance(chosen, str) and (pooling is not None or options.weights != "same"):
        raise ValueError(
            f"embed: with a function the pooling must be the model's own and weights 'same', but is {chosen!r} and "
            f"{options.weights!r}; try model.pooling = ..."
        )
    return model.embed_tokenized(tokenized, notes, EmbedCall(options, chosen, projected, compute, progress))


def embed_in_batches(
    model: LanguageModel,
    tokenized: "_core.prompts.TokenizedNotes",
    notes: Sequence[int],
    how: EmbedCall,
    *,
    cut: Callable[[Sequence[int], int], list[list[int]]] | None = None,
) -> Embedded:
    """Embeds by calling the model; equal prompts are in one batch, but pooled one by one.

    Args:
        model: The model.
        tokenized: The notes.
        notes: Which of them.
        how: The options.
        cut: Makes batches of different prompts, of their lengths and the budget, for a model that pads them. Default:
            the core's batches, in which common prefixes count once.

    Raises:
        DataError: If a vector is not finite.
    """
    prompt = model.prompt
    rows = prompt.rows(tokenized, notes, mode="embed")
    laid_out = _core.prompts.lay_out(prompt.core, tokenized, rows, _core.prompts.PackMode.embed)
    copies, batches = _batches(laid_out, how.options.batch_tokens, cut)
    vectors = torch.empty(len(rows), model.dim if how.projected else model.width)
    computed = done = 0
    for batch in batches:
        if how.progress is not None:
            how.progress(done, len(rows))
        members = [i for one in batch for i in copies[one]]
        packed = prompt.pack_rows(tokenized, [rows[i] for i in members], mode="embed")
        with torch.no_grad():
            states = model(packed, how.compute, pooling=how.pooling)
        found = states.embeddings if how.projected else states.pooled
        _check_norms(found, [notes[i] for i in members])
        vectors[members] = torch.nn.functional.normalize(found, dim=1, eps=1e-12).float().cpu()
        computed += len(packed.tokens)
        done += len(members)
    if how.progress is not None:
        how.progress(len(rows), len(rows))
    if how.options.dim:
        vectors = truncated(vectors, how.options.dim)
    return Embedded(vectors, computed, len(laid_out.ids), len(rows) - len(copies), weight_bytes=0)


def _batches(
    laid_out: "_core.prompts.TokenLists",
    budget: int,
    cut: Callable[[Sequence[int], int], list[list[int]]] | None,
) -> tuple[list[list[int]], Sequence[Sequence[int]]]:
    """The rows of each different prompt, and the prompts of each batch."""
    order, groups, batches = _core.prompts.prefix_batches(laid_out, budget=budget)
    copies = [order[first:end].tolist() for first, end in pairwise(groups.tolist())]
    if cut is None:
        return copies, [range(first, end) for first, end in pairwise(batches.tolist())]
    lengths = np.diff(laid_out.offsets)[[own[0] for own in copies]]
    return copies, cut(lengths.tolist(), budget)


def _check_norms(vectors: Tensor, notes: Sequence[int]) -> None:
    """Refuses vectors that cannot be normalised, as the core does."""
    row = row_not_finite(vectors.norm(dim=1, keepdim=True))
    if row is not None:
        raise DataError(f"embed: vectors must be finite, but that of note {notes[row]} is not")


def truncated(vectors: Tensor, dim: int) -> Tensor:
    """The first ``dim`` numbers of each vector, normalised anew; for vectors that exist, `embed` has ``dim=``.

    Good vectors come of it where the model was trained with this one of ``loss.nested_dims``.

    Args:
        vectors: Shape ``(n, d)``, floating point.
        dim: In ``[1, d]``.

    Returns:
        Shape ``(n, dim)``: unit rows. With ``dim=d``: the vectors as they are.

    Raises:
        ValueError: If the shape or ``dim`` does not fit.

    Example:
        >>> truncated(torch.tensor([[3.0, 4.0, 12.0]]) / 13, 2)
        tensor([[0.6000, 0.8000]])
    """
    return _core.embedding.truncated(vectors, dim)


def warn_of_dim(dim: int, width: int, nested_dims: Sequence[int]) -> None:
    """Warns, in one line, where vectors of ``width`` numbers are cut to ``dim``, but were not trained to be.

    Args:
        dim: Numbers that are kept; 0: all.
        width: Of the vectors; 0: of states, which no training nests.
        nested_dims: Those of the training.
    """
    if dim and dim != width and dim not in nested_dims:
        trained = ", ".join(map(str, nested_dims)) or "no"
        warnings.warn(
            f"embed: vectors are cut to dim={dim}, but were trained for {trained} nested_dims: they may find much less",
            stacklevel=3,
        )


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
    with finishing("file", then_stop=True):  # write both files: ids alone are useless
        path.unlink(missing_ok=True)  # so that an old matrix never stands beside new ids
        with atomic_write(path.with_suffix(".ids.txt")) as temporary:
            listing = "\n".join(ids)
            # A byte order mark (from an editor) is not part of the first id; if an id begins with one, there are two.
            marked = listing.startswith("\ufeff")
            temporary.write_bytes(listing.encode("utf-8-sig" if marked else "utf-8"))
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.save(file, matrix)


def load_embeddings(path: str | Path) -> tuple[list[str], Tensor]:
    """Reads what `save_embeddings` wrote; also older files, which have the ids in the metadata.

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
    return read_text(path.with_suffix(".ids.txt")).split("\n"), vectors


def _read_safetensors(path: Path) -> tuple[list[str], Tensor]:
    with safe_open(path, framework="pt") as file:
        ids = _unpacked(file) if "ids" in file.keys() else file.metadata()["ids"].split("\n")  # noqa: SIM118
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


def row_not_finite(vectors: Tensor) -> int | None:
    """The first row with a number that is not finite."""
    for first in range(0, len(vectors), _ROWS):
        is_finite = torch.isfinite(vectors[first : first + _ROWS]).all(1)
        if not bool(is_finite.all()):
            return first + int(is_finite.int().argmin())
    return None


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
