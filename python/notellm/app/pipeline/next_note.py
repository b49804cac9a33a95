"""User-to-item retrieval in the run's pool: the note that came next is searched for by a user's history."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from torch import Tensor

from notellm.app.config import Config
from notellm.app.pipeline import systems
from notellm.app.pipeline.data import Dataset, IntArray, Queries, shuffled
from notellm.baselines import CooccurrenceIndex, PopularityIndex, RandomIndex, SparseIndex
from notellm.data import Interactions
from notellm.data.histories import LAST, next_notes, read_moment
from notellm.data.interactions import CLICK
from notellm.data.notes import Notes
from notellm.errors import DataError
from notellm.evaluation import Bootstrap, Evaluation, evaluate_retrieval
from notellm.evaluation.next_note import history_weights, pool_histories
from notellm.metrics import Ties
from notellm.retrieval import Ranks, target_ranks


@dataclass(frozen=True)
class UserQueries:
    """Users of the pool.

    Attributes:
        histories: Shape ``(Q, H)``, positions in the pool, the most recent note last; -1 where there is none.
        targets: Shape ``(Q,)``, positions in the pool: what came next.
        had: Shape ``(Q, W)``, positions in the pool: all that the user had before, which cannot come next; -1 where
            there is none.
        known: What may be counted: first events of users with notes of the pool, without what came next or, where the
            log is split at a moment, without anything later. Its notes are all notes.
    """

    histories: IntArray
    targets: IntArray
    had: IntArray
    known: Interactions

    def candidates(self, pool: int) -> IntArray:
        """Shape ``(Q,)``: how many of the pool's notes could come next."""
        return np.asarray(pool - np.count_nonzero(self.had >= 0, axis=1))


def evaluate_next(
    config: Config,
    dataset: Dataset,
    queries: Queries,
    pool: Notes,
    vectors: Mapping[str, Tensor],
    bootstrap: Bootstrap,
) -> Evaluation:
    """How well the configuration's systems find what came next; chance, popularity and co-occurrence are rows, too.

    If users are held out, these are the users; otherwise all users with held-out notes, of which only these count.

    Raises:
        DataError: If the log has no order, or nobody has two of the notes.
    """
    users = select_users(config, dataset, queries)
    measured = config.evaluation
    return evaluate_retrieval(
        _rank(config, users, queries, pool, vectors),
        users.targets,
        np.bincount(users.known.notes, minlength=len(dataset.notes))[queries.pool],
        ks=measured.ks,
        ties=cast(Ties, measured.ties),
        low_fraction=measured.low_fraction,
        high_fraction=measured.high_fraction,
        bootstrap=bootstrap,
        names=systems.names_of(config, vectors),
        candidates=users.candidates(len(pool)),
    )


def select_users(config: Config, dataset: Dataset, queries: Queries) -> UserQueries:
    """Histories of pool notes and what came next, of at most ``data.queries`` users, drawn by ``data.split_seed``.

    Raises:
        DataError: If the log has no order, or nobody has two of the notes.
    """
    measured, held_out = config.evaluation, dataset.held_out_interactions
    log = dataset.interactions if held_out is None else held_out
    try:
        found = next_notes(log, measured.next_notes, among=queries.pool, longest=measured.history_notes)
    except ValueError as error:
        raise DataError(f"evaluation.next_notes: {str(error).partition(': ')[2]}") from None
    if not len(found):
        raise DataError(
            f"evaluation.next_notes: users must have a note of the pool before and after ({measured.next_notes}), but "
            "none has; try data.pool_notes=all, or another date"
        )
    rows = np.arange(len(found))
    chosen = shuffled(rows, [log.user_ids[user] for user in found.users], config.data.split_seed)
    chosen = chosen[: config.data.queries or None]
    histories, had = (
        np.where(notes >= 0, np.searchsorted(queries.pool, notes), -1)
        for notes in (found.histories[chosen], found.had[chosen])
    )
    known = _known(found.known, dataset, queries.pool, measured.next_notes)
    return UserQueries(histories, np.searchsorted(queries.pool, found.targets[chosen]), had, known)


def _known(before: Interactions, dataset: Dataset, pool: IntArray, split: str) -> Interactions:
    """The users' events before what came next, with those of the users who are not held out, as baskets."""
    users, notes = before.users, before.notes
    if dataset.held_out_interactions is not None:
        more = _first_known(dataset.interactions, pool, split)
        users, notes = np.concatenate([users, more[0]]), np.concatenate([notes, more[1]])
    return replace(before, users=users, notes=notes, times=None, events=None, ordered=False)


def _first_known(log: Interactions, pool: IntArray, split: str) -> IntArray:
    """Users and notes, shape ``(2, E)``, of what is known of users without targets, counted as for those with one.

    That is each user's first click on each of the pool's notes; where the log is split at a moment, before it.
    """
    counts = np.isin(log.notes, pool)
    if log.events is not None:
        counts &= log.events == CLICK
    if split != LAST:
        assert log.times is not None  # so has the log of the held-out users, which is a part of the same
        counts &= log.times < read_moment(split) * log.ticks_per_second
    return np.unique(np.stack([log.users[counts], log.notes[counts]]).astype(np.int64), axis=1)


def _rank(
    config: Config, users: UserQueries, queries: Queries, pool: Notes, vectors: Mapping[str, Tensor]
) -> dict[str, Ranks]:
    """The ranks of what came next, by chance, by behaviour, by words and by vectors."""
    counts = np.bincount(users.known.notes, minlength=len(users.known.note_ids))[queries.pool]
    indices: dict[str, SparseIndex] = {
        "random": RandomIndex(len(pool), seed=config.data.split_seed),
        "popularity": PopularityIndex(counts),
        "cooccurrence": CooccurrenceIndex(users.known, queries.pool),
    }
    wanted = config.evaluation.systems
    indices |= {key: make(config, pool) for key, make in systems.WORD_INDICES.items() if key in wanted}
    decay, rows = config.evaluation.history_decay, np.arange(len(users.targets))
    weights = history_weights(users.histories, decay=decay)
    ranks = {
        key: index.for_histories(users.histories, weights).ranks(rows, users.targets, exclude=users.had)
        for key, index in indices.items()
    }
    exclude, targets = torch.from_numpy(users.had), torch.from_numpy(users.targets)
    return ranks | {
        key: target_ranks(pool_histories(own, users.histories, decay=decay), own, targets, exclude=exclude)
        for key, own in vectors.items()
    }
