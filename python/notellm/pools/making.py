"""Fills the shards of a pool: vectors or generations of notes, shard by shard.

What a shard holds is decided by the model, the options and its notes alone, so shards may be made in any order, by any
process, again after a loss, and a call goes on where one before it was interrupted.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from notellm.data.fingerprint import notes_fingerprint
from notellm.data.named_notes import naming_notes
from notellm.data.notes import Notes
from notellm.embedding import Embedded, EmbedOptions, embed
from notellm.language_model import LanguageModel
from notellm.pools.columns import write_shard
from notellm.pools.lines import NOTES_PER_CHUNK, Describe, write_pool
from notellm.pools.shards import Plan, Shards
from notellm.precision import Dtype
from notellm.progress import ProgressFn, part_of
from notellm.prompts import Prompt

__all__ = ["BLOCKS", "ROWS_PER_SHARD", "MakeShard", "Workshop", "begin", "embedder", "generator", "make_all"]

BLOCKS = {"embeddings": 1024, "generations": NOTES_PER_CHUNK}
"""Notes that go through the model together. A vector's last bits depend on the notes that share its batch; a shard is a
whole number of blocks, so that its size changes nothing."""

ROWS_PER_SHARD = {"embeddings": 16_384, "generations": 4096}
"""Rows of a shard if none are asked for. Vectors of a shard are lost when it is interrupted; lines are not."""

MakeShard = Callable[[Shards, int, Notes, ProgressFn | None], None]
"""Makes one shard: of the folder, its number, its notes, and what is told (notes done, notes)."""

Workshop = Callable[[], MakeShard]
"""Prepares what all shards need, above all the model. It is called where the work is done: in this process, or in an
actor elsewhere, so it must be picklable."""


def begin(
    folder: str | Path,
    kind: str,
    notes: Notes,
    *,
    made_by: Mapping[str, Any],
    rows_per_shard: int = 0,
) -> Shards:
    """Begins a folder of shards, or goes on with one.

    Args:
        folder: The folder; created if it is not there.
        kind: ``"embeddings"`` or ``"generations"``.
        notes: The pool.
        made_by: Everything that decides the contents beside the notes, as JSON: model, options.
        rows_per_shard: Notes of a shard, a multiple of ``BLOCKS[kind]``; 0: ``ROWS_PER_SHARD[kind]``.

    Raises:
        ValueError: If ``rows_per_shard`` is not such a multiple.
        DataError: If the folder holds something else; see `Shards.begin`.
    """
    rows, block = rows_per_shard or ROWS_PER_SHARD[kind], BLOCKS[kind]
    if rows < 1 or rows % block:
        raise ValueError(
            f"rows_per_shard: must be a multiple of {block:,}, the notes that go through the model together, but is "
            f"{rows:,}; try {max(1, round(rows / block)) * block:,}"
        )
    return Shards.begin(folder, Plan(kind, dict(made_by), notes_fingerprint(notes), len(notes), rows))


def make_all(
    shards: Shards,
    notes: Notes,
    make: MakeShard,
    *,
    among: Iterable[int] | None = None,
    progress: ProgressFn | None = None,
) -> int:
    """Makes the shards that are not there yet, and completes the manifest if they are then all there.

    Args:
        shards: From `begin`.
        notes: The pool.
        make: From `embedder` or `generator`.
        among: Which shards this process makes; all by default.
        progress: Called with (notes done, notes) of all these shards; those that were there are done.

    Returns:
        How many shards it has made.

    Raises:
        DataError: If another process makes one of the same shards.
        OSError: If there is no room; the shards before are kept.
    """
    own = sorted(range(len(shards.plan)) if among is None else among)
    missing = set(shards.missing())
    total = sum(len(shards.plan.span(index)) for index in own)
    done = sum(len(shards.plan.span(index)) for index in own if index not in missing)
    to_make = [index for index in own if index in missing]
    for index in to_make:
        span = shards.plan.span(index)
        make(shards, index, notes.take(span), part_of(progress, done, total))
        done += len(span)
    shards.finish()
    return len(to_make)


def embedder(
    model: LanguageModel,
    *,
    dtype: Dtype = "auto",
    options: EmbedOptions | None = None,
    projected: bool = True,
) -> MakeShard:
    """Makes shards of vectors, as `notellm.embedding.embed` computes them of each block of notes.

    Args:
        model: The model.
        dtype: Of the matrix products.
        options: See `EmbedOptions`.
        projected: Whether the vectors are projected.
    """
    chosen = options or EmbedOptions()
    compute = partial(embed, model, dtype=dtype, options=chosen, projected=projected)

    def make(shards: Shards, index: int, notes: Notes, progress: ProgressFn | None) -> None:
        def write(path: Path) -> dict[str, Any]:
            vectors = _vectors(compute, model.prompt, notes, progress)
            return write_shard(path, notes.ids, vectors, storage=chosen.storage)

        shards.make(index, write)

    return make


def generator(describe: Describe) -> MakeShard:
    """Makes shards of JSON lines.

    Args:
        describe: Makes the objects of some notes; that of a note must not depend on other notes.
    """

    def make(shards: Shards, index: int, notes: Notes, progress: ProgressFn | None) -> None:
        def write(path: Path) -> dict[str, Any]:
            write_pool(path, notes, describe, made_by=shards.plan.made_by, progress=progress)
            return {}

        shards.make(index, write)

    return make


def _vectors(
    compute: Callable[..., Embedded], prompt: Prompt, notes: Notes, progress: ProgressFn | None
) -> torch.Tensor:
    block = BLOCKS["embeddings"]
    parts = []
    for first in range(0, max(1, len(notes)), block):
        some = notes.take(range(first, min(first + block, len(notes))))
        report = part_of(progress, first, len(notes))
        with naming_notes(some.ids):
            found = compute(prompt.tokenize(some), progress=report)
        parts.append(found.vectors)
    return torch.cat(parts)
