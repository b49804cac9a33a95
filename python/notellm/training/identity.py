"""Which notes a training is about, and a name for all that decides its batches beside its options."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from notellm import _core
from notellm.hard_negatives import HardNegatives
from notellm.io.fingerprints import Fingerprint
from notellm.models.adapter import LoraOptions
from notellm.models.note_model import NoteModel
from notellm.models.pooling import pooling_name


def notes_of_pairs(
    notes: int, source: NDArray[np.int64], target: NDArray[np.int64], negatives: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The notes that pairs and negatives name; the pairs ``(2, P)`` and the negatives as positions among these.

    Raises:
        IndexError: If a pair or a negative names a note that does not exist.
    """
    ends, places = np.unique(np.concatenate([source, target, negatives]), return_inverse=True)
    if np.any((ends < 0) | (ends >= notes)):
        raise IndexError(f"Trainer: pairs must name notes in [0, {notes}), but name {ends[0]} to {ends[-1]}")
    pairs = len(source)
    return ends, places[: 2 * pairs].reshape(2, pairs), places[2 * pairs :]


def log_frequencies(pairs: NDArray[np.int64], notes: int) -> NDArray[np.float64]:
    """Shape ``(notes,)``: the log of each note's number of places in pairs ``(2, P)``.

    A note that is in no pair, but only a negative, counts as if it were in one.
    """
    counts = np.bincount(pairs.ravel(), minlength=notes)
    return np.log(np.maximum(counts, 1).astype(np.float64))


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


def with_negatives(key: str, negatives: HardNegatives) -> str:
    """A `data_key` with the hard negatives; without any it is what it was before there were such."""
    if not len(negatives.notes):
        return key
    return _fingerprint(np.array(key), negatives.offsets, negatives.notes, np.array([negatives.per_pair]))


def _name_of(lora: LoraOptions) -> str:
    """LoRA's options as in checkpoints of before ``frozen_bf16``, where it has its default."""
    return repr(lora).replace(", frozen_bf16=False", "")


def _fingerprint(*arrays: NDArray[Any]) -> str:
    """A name for the content of some arrays."""
    found = Fingerprint()
    for array in arrays:
        found.add_json([str(array.dtype), array.shape]).add_array(array)
    return found.name()
