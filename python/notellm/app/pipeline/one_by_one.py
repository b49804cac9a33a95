"""What a run keeps query by query and note by note, of which tables of studies make paired differences.

Queries, targets and notes are named by their positions in all notes, which are the same in every run on the same data.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from notellm.app.pipeline.data import Dataset, IntArray, Queries
from notellm.evaluation import WordValues
from notellm.evaluation.metric_names import WRITTEN
from notellm.io.files import atomic_write
from notellm.metrics import ExposureSplit
from notellm.metrics.arrays import FloatArray
from notellm.retrieval import Ranks

RANKS = "ranks.safetensors"
"""File with the rank counts of each query's target, by system."""

WORDS = "words.safetensors"
"""File with the metrics of written words, note by note and by system."""


def save_ranks(
    path: Path,
    ranks: Mapping[str, Ranks],
    split: ExposureSplit,
    places: FloatArray,
    dataset: Dataset,
    queries: Queries,
) -> None:
    """Saves, query by query, what all numbers in the retrieval tables are computed from, and the size of the pool.

    Args:
        path: The file.
        ranks: By system, of the ``Q`` targets.
        split: The queries whose target is little, and much exposed.
        places: Shape ``(Q,)``: the share of the pool that is less exposed than the target.
        dataset: The notes.
        queries: The queries and the pool.
    """
    source, target = queries.pool[queries.source], queries.pool[queries.target]
    has_tags = np.array([bool(topics) for topics in dataset.notes.topics])
    masks = {
        "exposure.low": split.low,
        "exposure.high": split.high,
        "query.tagged": has_tags[source] & has_tags[target],
    }
    tensors = {
        f"{key}.{part}": _narrow(getattr(own, part))
        for key, own in ranks.items()
        for part in ("greater", "equal")
    }
    tensors |= {name: torch.from_numpy(np.asarray(of, dtype=np.uint8)) for name, of in masks.items()}
    tensors["exposure.place"] = torch.from_numpy(places)
    tensors["query.note"] = _narrow(torch.from_numpy(source))
    tensors["query.target"] = _narrow(torch.from_numpy(target))
    with atomic_write(path) as temporary:
        save_file(tensors, temporary, metadata={"pool": str(len(queries.pool))})


def save_words(path: Path, values: Mapping[str, WordValues], notes: IntArray) -> None:
    """Saves the metrics of what systems have written, note by note; NaN where a note does not count.

    Args:
        path: The file.
        values: By system, of ``n`` notes.
        notes: Shape ``(n,)``, positions of the notes in all notes.
    """
    tensors = {
        f"{key}.{name}": torch.from_numpy(getattr(own, name))
        for key, own in values.items()
        for name in WRITTEN
    }
    with atomic_write(path) as temporary:
        save_file(tensors | {"note": _narrow(torch.from_numpy(notes))}, temporary)


def _narrow(whole: Tensor) -> Tensor:
    """Whole numbers in 4 bytes where they fit: studies keep hundreds of these files."""
    return whole.int() if whole.numel() == 0 or int(whole.max()) < 2**31 else whole
