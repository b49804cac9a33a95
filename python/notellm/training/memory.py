"""How much memory a training takes, by what holds it: a function of the model's shape and the options.

The activations are those of the operations that run where our own loops do not: on a GPU, and on the CPU with the set
of loops ``none``. Tests compare them with the bytes that the graphs of small models hold.
"""

from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from notellm.models.adapter import PARTS, LoraOptions
from notellm.models.config import decoder_config
from notellm.precision import DTYPES
from notellm.training.options import TrainOptions

WIDE = {"fp64": 8, "fp32": 4, "bf16": 4}
"""Bytes of a master weight, a gradient, a number of the residual stream."""

EIGHT_BITS = 1 + 4 / 256
"""Bytes of a number in blocks of 256 with one scale each."""

LOGITS = 1 << 24
"""Logits of a tile of the LM head on a GPU."""


@dataclass(frozen=True)
class NoteLengths:
    """The notes of a step, as far as they decide memory; the defaults are those of the paper's prompt, roughly."""

    tokens: int = 300
    """Tokens of a note's prompt, its output included."""
    shared: int = 0
    """How many of them all notes begin with: these are computed once."""
    labels: int = 16
    """Tokens of an output."""


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes on each process at the height of a step; temporaries of single operations are not counted."""

    weights: int
    """With those of gathered layers where weights are divided."""
    gradients: int
    moments: int
    copies: int
    """Weights in the form in which products take them, as the graph keeps them for the backward pass."""
    activations: int
    losses: int

    @property
    def total(self) -> int:
        """The sum."""
        return self.weights + self.gradients + self.moments + self.copies + self.activations + self.losses


@dataclass(frozen=True)
class _Sizes:
    """What a model has of each kind, in numbers, and how wide they are."""

    layers: int
    width: int
    inner: int
    queries: int
    keys: int
    heads: int
    vocabulary: int
    tables: int
    """Embedding table, and head if it is another."""
    dim: int
    wide: int
    narrow: int
    """Bytes of a number in products."""

    @property
    def matrices(self) -> dict[str, tuple[int, int]]:
        """Outputs and inputs of a layer's matrices, by the names of LoRA's targets."""
        width, inner = self.width, self.inner
        return {
            "q_proj": (self.queries, width),
            "k_proj": (self.keys, width),
            "v_proj": (self.keys, width),
            "o_proj": (width, self.queries),
            "gate_proj": (inner, width),
            "up_proj": (inner, width),
            "down_proj": (width, inner),
        }


GROUPS = (("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj"), ("down_proj",))
"""Matrices of a layer that are laid side by side for one product."""
assert {name for group in GROUPS for name in group} == set(PARTS)


def training_memory(
    hf: dict[str, Any],
    options: TrainOptions,
    notes: NoteLengths,
    *,
    lora: LoraOptions | None = None,
    processes: int = 1,
    negatives: int = 0,
    dim: int = 128,
    flash: bool = True,
) -> TrainingMemory:
    """The memory of a training on each of its processes.

    Args:
        hf: The backbone's ``config.json``.
        options: How a step is divided; ``dtype`` must not be ``auto``.
        notes: Lengths of the notes.
        lora: The adapters, or None.
        processes: How many processes share a step.
        negatives: How many hard negatives a pair brings; they are as long as other notes, but have no output.
        dim: Width of an embedding.
        flash: Whether attention reads keys and values as they are, as flash attention on a GPU does in bf16; otherwise
            they are repeated for each query head, and wide.

    Returns:
        Bytes. Those of several processes are not quite equal: this is the largest.

    Raises:
        ValueError: If the dtype is ``auto``.
        DataError, NotSupportedError: See `notellm.models.config.decoder_config`.
    """
    if options.dtype not in WIDE:
        raise ValueError(
            f"training_memory: dtype must be one of {', '.join(DTYPES)}, but is {options.dtype!r}"
        )
    sizes = _sizes(hf, options.dtype, dim)
    held = _weights(sizes, options, lora, processes)
    share = ceil(options.pairs_per_step / processes)
    batch = _batch(notes, min(options.micro_pairs or share, share), negatives)
    layer = _layer(sizes, batch, batch.tokens, lora, flash)
    copies = _copies(sizes, lora)
    activations = _norm(sizes, batch.read, lora)  # the final one
    if options.checkpoint_layers:
        activations += sizes.layers * batch.tokens * sizes.width * sizes.wide + layer
    else:
        activations += (sizes.layers - 1) * layer + _layer(sizes, batch, batch.read, lora, flash)
        copies *= sizes.layers
    embeddings = (2 + negatives) * options.pairs_per_step  # of the whole step
    losses = _losses(sizes, batch, embeddings, lora, writes=options.alpha > 0)
    return replace(held, copies=copies, activations=activations, losses=losses)


@dataclass(frozen=True)
class _Batch:
    """What is computed together, in rows.

    Attributes:
        tokens: Rows of a layer.
        contexts: Keys and values of all notes' contexts.
        read: Rows of the last layer's output that losses read.
        labels: How many of them have a label.
    """

    tokens: int
    contexts: int
    read: int
    labels: int


def _batch(notes: NoteLengths, pairs: int, negatives: int) -> _Batch:
    writing, silent = 2 * pairs, negatives * pairs
    contexts = writing * notes.tokens + silent * (notes.tokens - notes.labels)
    tokens = contexts - (writing + silent) * notes.shared
    labels = writing * notes.labels
    return _Batch(notes.shared + tokens, notes.shared + contexts, writing + silent + labels, labels)


def _sizes(hf: dict[str, Any], dtype: str, dim: int) -> _Sizes:
    config = decoder_config(hf)
    head_dim = config.rope.head_dim
    return _Sizes(
        layers=config.layers,
        width=config.width,
        inner=config.inner_width,
        queries=config.heads * head_dim,
        keys=config.key_heads * head_dim,
        heads=config.heads,
        vocabulary=config.vocabulary,
        tables=1 if hf.get("tie_word_embeddings") else 2,
        dim=dim,
        wide=WIDE[dtype],
        narrow=2 if dtype == "bf16" else WIDE[dtype],
    )


def _weights(
    sizes: _Sizes, options: TrainOptions, lora: LoraOptions | None, processes: int
) -> TrainingMemory:
    """Weights, gradients and moments; biases and the norms of single heads, which are small, are left out."""
    matrices = sum(rows * columns for rows, columns in sizes.matrices.values())
    table = sizes.tables * sizes.vocabulary * sizes.width
    norms = 2 * sizes.width
    own = sizes.dim * sizes.width + sizes.width  # the projection; the final norm, or [EMB]'s row
    wide = sizes.wide
    if lora is None:
        layer_trained, rest_trained = matrices + norms, table + own
        layer, rest = layer_trained * wide, rest_trained * wide
    else:
        layer_trained = sum(lora.r * sum(sizes.matrices[name]) for name in lora.targets)
        rest_trained = own
        frozen = 2 if lora.frozen_bf16 else wide
        layer = matrices * frozen + (norms + layer_trained) * wide
        rest = table * frozen + (own + sizes.width) * wide
    trained = sizes.layers * layer_trained + rest_trained
    moment = EIGHT_BITS if options.moments == "8bit" else wide
    weights, gradients, moments = sizes.layers * layer + rest, trained * wide, 2 * trained * moment
    if options.shard_weights and processes > 1:
        # beside its rows: what is no layer's, the layer at work and the one that is fetched ahead
        weights = ceil(weights / processes) + rest + 2 * layer
        gradients = ceil(gradients / processes) + (rest_trained + layer_trained) * wide
    if options.shard_weights or options.shard_optimizer:
        moments /= processes
    return TrainingMemory(weights, gradients, ceil(moments), 0, 0, 0)


def _copies(sizes: _Sizes, lora: LoraOptions | None) -> int:
    """Bytes of one layer's matrices as its graph keeps them: cast, or laid side by side."""
    stored = 2 if lora is not None and lora.frozen_bf16 else sizes.wide
    is_cast = stored != sizes.narrow
    total = 0
    for group in GROUPS:
        if len(group) > 1 or is_cast:
            total += sum(rows * columns for rows, columns in (sizes.matrices[name] for name in group))
        if lora is not None and (adapted := [name for name in group if name in lora.targets]):
            rank, inputs = lora.r * len(adapted), sizes.matrices[group[0]][1]
            total += rank * (inputs + sum(sizes.matrices[name][0] for name in group))
    return total * sizes.narrow


def _attention(sizes: _Sizes, batch: _Batch, flash: bool) -> int:
    """What attention keeps: queries, the keys and values of every note's whole context, outputs, log-sums."""
    if flash:
        numbers = batch.tokens * 2 * sizes.queries + batch.contexts * 2 * sizes.keys
        return numbers * sizes.narrow + batch.tokens * sizes.heads * 4
    numbers = batch.tokens * 2 * sizes.queries + batch.contexts * 2 * sizes.queries
    return numbers * sizes.wide + batch.tokens * sizes.heads * sizes.wide


def _projection(sizes: _Sizes, rows: int, group: tuple[str, ...], lora: LoraOptions | None) -> int:
    """What a product keeps of its prepared input, and its adapters of theirs."""
    inputs = sizes.matrices[group[0]][1]
    if lora is None:
        return rows * inputs * sizes.narrow
    adapted = sum(name in lora.targets for name in group)
    if not adapted:
        return 0
    times = 2 if lora.dropout else 1  # the mask, and what it leaves
    return rows * (times * inputs + lora.r * adapted) * sizes.narrow


def _norm(sizes: _Sizes, rows: int, lora: LoraOptions | None) -> int:
    """What a norm keeps: its input, one number a row, and the normalised rows where its weight is trained."""
    kept = sizes.width * (1 if lora is not None else 2) + 1
    return rows * kept * sizes.wide


def _feed_forward(sizes: _Sizes, rows: int, lora: LoraOptions | None) -> int:
    gate_up = (
        rows * 2 * sizes.inner * sizes.narrow + rows * sizes.inner * sizes.narrow
    )  # and silu of the gate
    products = sum(_projection(sizes, rows, group, lora) for group in GROUPS[2:])
    return _norm(sizes, rows, lora) + gate_up + products


def _layer(sizes: _Sizes, batch: _Batch, read: int, lora: LoraOptions | None, flash: bool) -> int:
    """Bytes that the graph of one layer keeps, copies of weights aside, if only some rows of its output are read."""
    before = _norm(sizes, batch.tokens, lora) + _projection(sizes, batch.tokens, GROUPS[0], lora)
    attention = _attention(sizes, batch, flash) + _projection(sizes, read, GROUPS[1], lora)
    return before + attention + _feed_forward(sizes, read, lora)


def _losses(sizes: _Sizes, batch: _Batch, embeddings: int, lora: LoraOptions | None, *, writes: bool) -> int:
    """States, a tile of logits in three forms, the head's gradient, and the contrastive batch of the whole step."""
    states = batch.read * sizes.width * 2 * sizes.wide  # normed, and as the losses take them
    rows = embeddings * sizes.dim * 2 * sizes.wide
    tile = min(LOGITS, max(batch.labels, 1) * sizes.vocabulary) * (2 * sizes.wide + sizes.narrow)
    gradient = sizes.vocabulary * sizes.width * sizes.wide if lora is None and batch.labels else 0
    return states + rows + (tile if batch.labels and writes else 0) + gradient
