"""What each system finds: the ranks of the targets, and what it recommends."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from notellm.app.config import Config
from notellm.app.pipeline import systems
from notellm.app.pipeline.data import Dataset, IntArray, Queries
from notellm.baselines import CooccurrenceIndex, PopularityIndex, RandomIndex, SparseIndex
from notellm.data.notes import Notes
from notellm.errors import DataError
from notellm.evaluation.lists import LONGEST
from notellm.retrieval import Ranks, neighbours, target_ranks


@dataclass(frozen=True)
class Found:
    """What one system finds.

    Attributes:
        ranks: Of each query's target.
        lists: Shape ``(Q, K)``: the first notes, as positions in the pool.
        analyzer: How texts were cut, if it compares words.
    """

    ranks: Ranks
    lists: IntArray
    analyzer: str = ""


def rank_all(
    config: Config, dataset: Dataset, queries: Queries, pool: Notes, vectors: Mapping[str, Tensor]
) -> dict[str, Found]:
    """What the configuration's systems find: by chance, by popularity, by words, by behaviour, by vectors.

    Raises:
        DataError: If co-occurrence is wanted, but notes are held out.
    """
    indices: dict[str, Callable[[], SparseIndex]] = {
        "random": partial(RandomIndex, len(pool), seed=config.data.split_seed),
        "popularity": partial(PopularityIndex, dataset.exposure[queries.pool]),
        **{key: partial(make, config, pool) for key, make in systems.WORD_INDICES.items()},
        "cooccurrence": partial(_cooccurrence, dataset, queries),
    }
    wanted, length = config.evaluation.systems, min(LONGEST, len(pool) - 1)
    found = {}
    for key, make in indices.items():
        if key in wanted:
            index = make()
            ranks = index.ranks(queries.source, queries.target)
            found[key] = Found(ranks, index.lists(queries.source, length), index.analyzer)
    return found | {key: _by_vectors(rows, queries, length) for key, rows in vectors.items()}


def _by_vectors(rows: Tensor, queries: Queries, length: int) -> Found:
    source, target = torch.from_numpy(queries.source), torch.from_numpy(queries.target)
    ranks = target_ranks(rows[source], rows, target, exclude=source)
    lists = neighbours(rows[source], rows, length, exclude=source).indices
    return Found(ranks, np.asarray(lists.cpu().numpy(), dtype=np.int64))


def _cooccurrence(dataset: Dataset, queries: Queries) -> CooccurrenceIndex:
    """Co-occurrence in the log of users who are not held out. If notes are held out, the log would reveal the targets.

    Raises:
        DataError: If notes are held out.
    """
    if dataset.held_out_interactions is None:
        raise DataError("evaluate: co-occurrence must be measured on held-out users; try data.split=users")
    return CooccurrenceIndex(dataset.interactions, queries.pool)
