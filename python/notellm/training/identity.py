"""Which notes a training is about, and a name for all that decides its batches beside its options."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from notellm import _core
from notellm.io.fingerprints import Fingerprint
from notellm.models.adapter import LoraOptions
from notellm.models.note_model import NoteModel
from notellm.models.pooling import pooling_name


def notes_of_pairs(
    notes: int, source: NDArray[np.int64], target: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The notes that pairs name, and the pairs ``(2, P)`` as positions among these.

    Raises:
        IndexError: If a pair names a note that does not exist.
    """
    ends, places = np.unique(np.stack([source, target]), return_inverse=True)
    if np.any((ends < 0) | (ends >= notes)):
        raise IndexError(f"Trainer: pairs must name notes in [0, {notes}), but name {ends[0]} to {ends[-1]}")
    return ends, places.reshape(2, -1)


def data_key(
    model: NoteModel,
    notes: "_core.prompts.TokenizedNotes",
    pairs: NDArray[np.int64],
    first: "_core.prompts.PlannedBatch",
    total_steps: int,
    extra_weights: Mapping[str, float],
) -> str:
    """A fingerprint of notes, pairs, prompt and LoRA: runs with equal keys and options have equal batches.

    Args:
        model: The model.
        notes: The notes.
        pairs: Shape ``(2, P)``, positions in the notes.
        first: The plan of the first step.
        total_steps: Steps of the whole run.
        extra_weights: Weights of extra losses.
    """
    lists = [notes.titles, notes.contents, notes.categories, notes.hashtags]
    first_batch = model.prompt.pack_rows(notes, first.prompts)
    return _fingerprint(
        *(part for one in lists for part in (one.ids, one.offsets)),
        notes.hashtag_offsets,
        pairs,
        first_batch.tokens,
        first_batch.compression,
        np.array([total_steps]),
        *([] if model.lora is None else [np.array(_name_of(model.lora))]),
        np.array([model.layers]),
        np.array(f"{dict(extra_weights)} {pooling_name(model.pooling)}"),
    )


def _name_of(lora: LoraOptions) -> str:
    """LoRA's options as in checkpoints of before ``frozen_bf16``, where it has its default."""
    return repr(lora).replace(", frozen_bf16=False", "")


def _fingerprint(*arrays: NDArray[Any]) -> str:
    """A name for the content of some arrays."""
    found = Fingerprint()
    for array in arrays:
        found.add_json([str(array.dtype), array.shape]).add_array(array)
    return found.name()
