"""Which notes a training is about, and a name for all that decides its batches beside its options."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from notellm import _core
from notellm.hard_negatives import HardNegatives
from notellm.io.fingerprints import Fingerprint
from notellm.models.adapter import LoraOptions
from notellm.models.note_model import NoteModel
from notellm.pooling import pooling_name


@dataclass(frozen=True, eq=False)
class TrainedPairs:
    """The pairs of a training, over the notes that it needs.

    Attributes:
        ends: Shape ``(n,)``: the notes that pairs and their negatives name, as positions in all notes.
        pairs: Shape ``(2, P)``: the pairs, as positions in ``ends``.
        negatives: Their hard negatives, likewise.
    """

    ends: NDArray[np.int64]
    pairs: NDArray[np.int64]
    negatives: HardNegatives

    @classmethod
    def among(
        cls,
        notes: int,
        source: NDArray[np.int64],
        target: NDArray[np.int64],
        negatives: HardNegatives | None,
    ) -> "TrainedPairs":
        """Those of pairs of ``notes`` notes.

        Raises:
            ValueError: If the two are not as many.
            IndexError: If a pair or a negative names a note that does not exist.
        """
        if len(source) != len(target):
            raise ValueError(
                f"Trainer: source and target must be as many, but are {len(source)} and {len(target)}"
            )
        if negatives is None:
            negatives = HardNegatives(np.zeros(len(source) + 1, np.int64), np.empty(0, np.int64))
        named = np.concatenate([source, target, negatives.notes])
        ends, places = np.unique(named, return_inverse=True)
        if np.any((ends < 0) | (ends >= notes)):
            raise IndexError(
                f"Trainer: pairs must name notes in [0, {notes}), but name {ends[0]} to {ends[-1]}"
            )
        pairs, others = np.split(places, [2 * len(source)])
        return cls(ends, pairs.reshape(2, -1), replace(negatives, notes=others))

    @property
    def log_frequencies(self) -> NDArray[np.float64]:
        """As `log_frequencies`, of the notes ``ends``."""
        return log_frequencies(self.pairs, len(self.ends))


def log_frequencies(pairs: NDArray[np.int64], notes: int) -> NDArray[np.float64]:
    """Shape ``(notes,)``: the log of each note's number of places in pairs ``(2, P)``.

    A note that is in no pair, but only a negative, counts as if it were in one.
    """
    counts = np.bincount(pairs.ravel(), minlength=notes)
    return np.log(np.maximum(counts, 1).astype(np.float64))


def data_key(
    model: NoteModel,
    notes: "_core.prompts.TokenizedNotes",
    trained: TrainedPairs,
    first: "_core.prompts.PlannedBatch",
    total_steps: int,
    extra_weights: Mapping[str, float],
) -> str:
    """A fingerprint of notes, pairs, negatives, prompt and LoRA: runs with equal keys and options have equal batches.

    Args:
        model: The model.
        notes: The notes.
        trained: Pairs of these notes, and their negatives.
        first: The plan of the first step.
        total_steps: Steps of the whole run.
        extra_weights: Weights of extra losses.
    """
    lists = [notes.titles, notes.contents, notes.categories, notes.hashtags]
    first_batch = model.prompt.pack_rows(notes, first.prompts)
    return _fingerprint(
        *(part for one in lists for part in (one.ids, one.offsets)),
        notes.hashtag_offsets,
        trained.pairs,
        first_batch.tokens,
        first_batch.compression,
        np.array([total_steps]),
        *([] if model.lora is None else [np.array(_name_of(model.lora))]),
        np.array([model.layers]),
        np.array(f"{dict(extra_weights)} {pooling_name(model.pooling)}"),
        *_name_parts_of(trained.negatives),
    )


def _name_parts_of(negatives: HardNegatives) -> list[NDArray[Any]]:
    """Nothing where there are none, so that checkpoints of before there were hard negatives keep their names."""
    parts = [negatives.offsets, negatives.notes, np.array([negatives.per_pair])]
    return parts if len(negatives.notes) else []


def _name_of(lora: LoraOptions) -> str:
    """LoRA's options as in checkpoints of before ``frozen_bf16``, where it has its default."""
    return repr(lora).replace(", frozen_bf16=False", "")


def _fingerprint(*arrays: NDArray[Any]) -> str:
    """A name for the content of some arrays."""
    found = Fingerprint()
    for array in arrays:
        found.add_json([str(array.dtype), array.shape]).add_array(array)
    return found.name()
