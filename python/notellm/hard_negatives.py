"""Hard negatives: notes that an earlier model finds near a note, but that no pair relates to it.

In a random batch nearly all notes are far from an anchor, and teach little; a note that is near, but not related,
teaches more. The nearest of all are often related in truth, and only nobody has seen both yet: so the first ranks, and
whatever scores nearly as high as the related note, are left out (Moreira et al., NV-Retriever, 2024, compare such
rules).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from notellm.metrics.arrays import BoolArray
from notellm.options import Options, option
from notellm.progress import ProgressFn
from notellm.retrieval import neighbours

__all__ = ["HardNegativeOptions", "HardNegatives", "mine_hard_negatives"]

IntArray = NDArray[np.int64]

FIRST = "first"
"""The ``model`` that a run trains first, without hard negatives."""

SOURCE, PAIR = "source", "pair"

_BLOCK = 1024
"""Sources that are searched for, or pairs that are selected for, at a time. Sources are sorted by the number of notes
they leave out, whose lists are padded."""

_LARGE_GROUP = 1024
"""Where a source's group has more notes, it is searched for among other groups' notes; else these are a list to leave
out."""


class HardNegativeOptions(Options):
    """Further negatives of the contrastive loss: near notes that are not related."""

    model: str = option(
        "Whose neighbours they are: the folder of an earlier run or model; first: a model that the run trains first, "
        "with the same options but without hard negatives. Empty: there are none, as in the paper.",
        default="",
        added_later=True,
    )
    per_pair: int = option(
        "How many a pair brings into its batch, drawn anew in each epoch; fewer where it has fewer. Each costs half "
        "as much as a pair.",
        default=1,
        added_later=True,
        at_least=1,
    )
    first_rank: int = option(
        "The best rank that one may have among the notes that are not related to the pair's first note.",
        default=10,
        added_later=True,
        at_least=1,
    )
    last_rank: int = option("The worst rank that one may have.", default=100, added_later=True, at_least=1)
    absolute_margin: float = option(
        "By how much its score, a cosine, must be below that of the pair.",
        default=0.0,
        added_later=True,
        at_least=0,
        at_most=2,
    )
    relative_margin: float = option(
        "By what share of the pair's score its own must be below it.",
        default=0.05,
        added_later=True,
        at_least=0,
        at_most=1,
    )
    leave_out: str = option(
        "Whose related notes are no negatives: source (those of the pair's first note, whose neighbours they are), or "
        "pair (those of its second note, too, which the loss sets against them as well).",
        default=SOURCE,
        added_later=True,
        choices=(SOURCE, PAIR),
    )
    candidates: int = option(
        "At most so many training notes are searched, drawn at random; 0 = all. All of them are embedded, which may "
        "take longer than a short training.",
        default=0,
        added_later=True,
        at_least=0,
        unit="notes",
    )

    def mismatch(self) -> str:
        """Ranks must be in order."""
        if self.first_rank > self.last_rank:
            return f"last_rank must be at least first_rank={self.first_rank}, but is {self.last_rank}"
        return ""


@dataclass(frozen=True, eq=False)
class HardNegatives:
    """The hard negatives of P pairs, from which each step draws.

    Attributes:
        offsets: Shape ``(P + 1,)`` int64: pair p has ``notes[offsets[p]:offsets[p + 1]]``.
        notes: Int64: positions in the notes; those of a pair ascend by rank.
        per_pair: How many a pair brings into its batch.
    """

    offsets: IntArray
    notes: IntArray
    per_pair: int = 1

    @property
    def covered(self) -> int:
        """How many pairs have at least one."""
        return int(np.count_nonzero(np.diff(self.offsets)))

    def of_pair(self, pair: int) -> IntArray:
        """The negatives of one pair."""
        return self.notes[self.offsets[pair] : self.offsets[pair + 1]]


def mine_hard_negatives(
    vectors: Tensor,
    source: ArrayLike,
    target: ArrayLike,
    *,
    options: HardNegativeOptions | None = None,
    candidates: ArrayLike | None = None,
    related: tuple[ArrayLike, ArrayLike] | None = None,
    groups: ArrayLike | None = None,
    progress: ProgressFn | None = None,
) -> HardNegatives:
    """Finds notes that are near each pair's source, but are not related to it.

    Ranks are counted among the candidates that are neither the source, nor related to it by any pair in either
    direction, nor of its group. Of those with a rank from ``first_rank`` to ``last_rank``, the notes are kept whose
    score is at most ``s - absolute_margin`` and at most ``s - relative_margin * |s|``, where ``s`` is the score of
    source and target. With ``leave_out="pair"`` notes that are related to the target, or of its group, are dropped from
    these. Exact; a score is an inner product.

    Args:
        vectors: Shape ``(N, d)``: embeddings of the notes by an earlier model, normalised.
        source: Shape ``(P,)`` int: first note of each pair.
        target: Shape ``(P,)`` int: second note.
        options: Ranks, margins, and how many a pair is to bring.
        candidates: Shape ``(C,)`` int, distinct: the notes that may be negatives; default: all.
        related: Two arrays of shape ``(R,)``: further related notes, such as pairs that are not trained on.
        groups: Shape ``(N,)`` int: notes of one group are variants of each other, and no negatives.
        progress: Called as by `neighbours`.

    Returns:
        The negatives of each pair; none where nothing is left.

    Raises:
        ValueError: If shapes do not fit, a candidate is given twice, or a value is not finite.
        IndexError: If a pair or a candidate names a note that does not exist.

    Example:
        >>> vectors = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.8, 0.6], [0.0, 1.0]]))
        >>> found = mine_hard_negatives(vectors, [0], [1], options=HardNegativeOptions(first_rank=1))
        >>> found.of_pair(0).tolist()
        [2, 3]
    """
    options = options or HardNegativeOptions()
    first, second = _pairs(vectors, source, target, what="source and target")
    others = _pairs(vectors, *(([], []) if related is None else related), what="related")
    known = np.concatenate([np.stack([first, second]), np.stack(others)], axis=1)
    pool = np.arange(len(vectors)) if candidates is None else np.asarray(candidates, dtype=np.int64)
    _check_within(pool, len(vectors), "candidates")
    group_of = np.arange(len(vectors)) if groups is None else np.asarray(groups, dtype=np.int64)
    _check_candidates_and_groups(pool, group_of, len(vectors))
    sources, places = np.unique(first, return_inverse=True)
    found = _nearest(vectors, sources, pool, known, group_of, options.last_rank, progress)
    relations = _Relations.of(known, group_of) if options.leave_out == PAIR else None
    return _select(found, places, (first, second), vectors, pool, relations, options)


def _pairs(vectors: Tensor, source: ArrayLike, target: ArrayLike, *, what: str) -> tuple[IntArray, IntArray]:
    first, second = (np.asarray(ends, dtype=np.int64) for ends in (source, target))
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(
            f"mine_hard_negatives: {what} must be two equally long lists, but have shapes {first.shape} and "
            f"{second.shape}"
        )
    _check_within(np.concatenate([first, second]), len(vectors), what)
    return first, second


def _check_within(notes: IntArray, count: int, what: str) -> None:
    if notes.size and (notes.min() < 0 or notes.max() >= count):
        raise IndexError(
            f"mine_hard_negatives: {what} must name notes in [0, {count}), but name {notes.min()} to {notes.max()}"
        )


def _check_candidates_and_groups(pool: IntArray, group_of: IntArray, count: int) -> None:
    if group_of.shape != (count,):
        raise ValueError(
            f"mine_hard_negatives: groups must have shape ({count},), one for each vector, but have {group_of.shape}"
        )
    notes, times = np.unique(pool, return_counts=True)
    if (times > 1).any():
        raise ValueError(
            f"mine_hard_negatives: candidates must be distinct, but {notes[times > 1][0]} is given {times.max()} times"
        )


@dataclass(frozen=True)
class _Relations:
    """Which notes are related: by a pair in either direction, or as variants of one group.

    Attributes:
        keys: Shape ``(R,)``, ascending: ``one * N + other`` of related notes.
        group_of: Shape ``(N,)``.
    """

    keys: IntArray
    group_of: IntArray

    @staticmethod
    def of(known: IntArray, group_of: IntArray) -> "_Relations":
        """Those of pairs of shape ``(2, R)``."""
        one, other = np.concatenate([known, known[::-1]], axis=1)
        return _Relations(np.unique(one * len(group_of) + other), group_of)

    def between(self, one: IntArray, other: IntArray) -> BoolArray:
        """Shape ``(n,)``: whether the notes of each place are related."""
        asked = one * len(self.group_of) + other
        places = np.minimum(np.searchsorted(self.keys, asked), len(self.keys) - 1)
        return np.asarray((self.keys[places] == asked) | (self.group_of[one] == self.group_of[other]))


@dataclass(frozen=True)
class _Lists:
    """Notes by source: source i has ``notes[begins[i]:ends[i]]``."""

    begins: IntArray
    ends: IntArray
    notes: IntArray

    @property
    def sizes(self) -> IntArray:
        return self.ends - self.begins

    def padded(self, rows: IntArray) -> IntArray:
        """The lists of some sources, shape ``(n, longest)``; -1 where one has fewer."""
        sizes = self.sizes[rows]
        columns = np.arange(sizes.max(initial=0))
        places = np.minimum(self.begins[rows][:, None] + columns, max(len(self.notes) - 1, 0))
        return np.where(columns < sizes[:, None], self.notes[places], -1)


def _related_to(sources: IntArray, known: IntArray, count: int) -> _Lists:
    """Each source itself, and the notes that are related to it by a pair in either direction."""
    one, other = np.concatenate([np.stack([sources, sources]), known, known[::-1]], axis=1)
    place = np.full(count, -1)
    place[sources] = np.arange(len(sources))
    is_source = place[one] >= 0
    rows, notes = np.divmod(np.unique(place[one[is_source]] * count + other[is_source]), count)
    bounds = np.searchsorted(rows, np.arange(len(sources) + 1))
    return _Lists(bounds[:-1], bounds[1:], notes)


def _of_one_group(sources: IntArray, group_of: IntArray) -> _Lists:
    """The notes of each source's group."""
    order = np.argsort(group_of, kind="stable")
    begins, ends = (np.searchsorted(group_of[order], group_of[sources], side) for side in ("left", "right"))
    return _Lists(begins, ends, order)


def _nearest(
    vectors: Tensor,
    sources: IntArray,
    pool: IntArray,
    known: IntArray,
    group_of: IntArray,
    k: int,
    progress: ProgressFn | None,
) -> tuple[IntArray, NDArray[np.float64]]:
    """Places in the pool of the ``k`` nearest candidates of each source, best first, and their scores; -1: none."""
    places = np.full((len(sources), k), -1)
    scores = np.full((len(sources), k), -np.inf)
    related, variants = _related_to(sources, known, len(vectors)), _of_one_group(sources, group_of)
    is_large, done = variants.sizes > _LARGE_GROUP, 0

    def search(rows: IntArray, among: IntArray, lists: list[_Lists]) -> None:
        """Searches for some sources in a part of the pool; each leaves out what the lists name."""
        nonlocal done
        at = np.full(len(vectors) + 1, -1)  # one more, so that -1 stays -1
        at[pool[among]] = np.arange(len(among))
        candidates = vectors[torch.from_numpy(pool[among])]
        order = rows[np.argsort(sum(of.sizes[rows] for of in lists), kind="stable")]
        for begin in range(0, len(order) if len(among) else 0, _BLOCK):
            block = order[begin : begin + _BLOCK]
            exclude = np.concatenate([at[of.padded(block)] for of in lists], axis=1)
            queries = vectors[torch.from_numpy(sources[block])]
            found = neighbours(queries, candidates, k, exclude=torch.from_numpy(exclude))
            width, indices = found.indices.shape[1], found.indices.cpu().numpy()
            places[block, :width] = np.where(indices >= 0, among[indices], -1)
            scores[block, :width] = found.scores.double().cpu()
            done += len(block)
            if progress is not None:
                progress(done, len(sources))

    search(np.flatnonzero(~is_large), np.arange(len(pool)), [related, variants])
    for group in np.unique(group_of[sources[is_large]]):
        rows = np.flatnonzero(is_large & (group_of[sources] == group))
        search(rows, np.flatnonzero(group_of[pool] != group), [related])
    return places, scores


def _limits(
    vectors: Tensor, first: IntArray, second: IntArray, options: HardNegativeOptions
) -> NDArray[np.float64]:
    """Shape ``(P,)``: the highest score that a negative of each pair may have."""
    one, other = (vectors[torch.from_numpy(ends)].double() for ends in (first, second))
    own = (one * other).sum(1).cpu().numpy()
    below = np.maximum(options.absolute_margin, options.relative_margin * np.abs(own))
    return np.asarray(own - below)


def _select(
    found: tuple[IntArray, NDArray[np.float64]],
    places: IntArray,
    pairs: tuple[IntArray, IntArray],
    vectors: Tensor,
    pool: IntArray,
    relations: _Relations | None,
    options: HardNegativeOptions,
) -> HardNegatives:
    """Those of each pair, from what was found for its source, which stands at ``places``."""
    near, scores = (of[:, options.first_rank - 1 :] for of in found)
    counts, notes = [np.zeros(1, np.int64)], [np.empty(0, np.int64)]
    for begin in range(0, len(places), _BLOCK):
        first, second = (of[begin : begin + _BLOCK] for of in pairs)
        rows = places[begin : begin + _BLOCK]
        is_kept = (near[rows] >= 0) & (scores[rows] <= _limits(vectors, first, second, options)[:, None])
        pair, column = np.nonzero(is_kept)
        chosen = pool[near[rows][pair, column]]
        if relations is not None and len(chosen):
            is_other = ~relations.between(second[pair], chosen)
            pair, chosen = pair[is_other], chosen[is_other]
        counts.append(np.bincount(pair, minlength=len(rows)))
        notes.append(chosen)
    return HardNegatives(np.cumsum(np.concatenate(counts)), np.concatenate(notes), options.per_pair)
