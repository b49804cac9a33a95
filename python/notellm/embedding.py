"""Notes to vectors."""

import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from notellm import _core
from notellm._core.options import EmbedOptions
from notellm.errors import DataError
from notellm.finite import row_not_finite
from notellm.language_model import EmbedCall, Embedded, LanguageModel
from notellm.precision import Dtype, compute_dtype
from notellm.progress import ProgressFn

if TYPE_CHECKING:
    from typing import Unpack

    from notellm._core.options import EmbedKeywords

__all__ = ["EmbedOptions", "Embedded", "embed", "truncated"]


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
