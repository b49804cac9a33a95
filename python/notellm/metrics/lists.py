"""Metrics of recommended lists that need no truth: how much of a pool is shown, and how popular it is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from notellm.metrics.arrays import FloatArray


def coverage(lists: npt.ArrayLike, notes: int) -> float:
    """The share of a pool that is in some list.

    Args:
        lists: Shape ``(Q, K)`` int64, positions of the notes recommended to each query; -1 where a list is shorter.
        notes: ``N``, the size of the pool.

    Returns:
        A fraction in 0..1.

    Raises:
        ValueError: If a position is not in the pool, or no list has a note.

    Example:
        >>> coverage([[0, 1], [1, 2]], 4)
        0.75
    """
    shown, is_there = _shown(lists, notes, "coverage")
    return len(np.unique(shown[is_there])) / notes


def novelty(lists: npt.ArrayLike, users_of_notes: npt.ArrayLike, users: int) -> FloatArray:
    """How surprising the notes of each list are, in bits: the mean of ``-log2(users of the note / all users)``.

    Args:
        lists: As in `coverage`.
        users_of_notes: Shape ``(N,)``, how many users each note has; a note without any counts as one with a single
            user.
        users: All users.

    Returns:
        Shape ``(Q,)``; of lists without notes NaN.

    Raises:
        ValueError: As in `coverage`, or if a note has more users than there are.

    Example:
        >>> novelty([[0, 1], [2, -1]], [4, 1, 0], 4).tolist()
        [1.0, 2.0]
    """
    counts = np.asarray(users_of_notes, dtype=np.float64)
    if counts.max(initial=1) > users:
        raise ValueError(
            f"novelty: no note must have more than the {users} users, but one has {counts.max():g}"
        )
    return _means(lists, -np.log2(np.maximum(counts, 1) / users), "novelty")


def popularity(lists: npt.ArrayLike, values: npt.ArrayLike) -> FloatArray:
    """The mean popularity of the notes of each list, in the unit of the values.

    For how far a system prefers what is popular anyway, give ``mid_ranks(exposure)``: 0.5 is then a pool's own mean.

    Args:
        lists: As in `coverage`.
        values: Shape ``(N,)``, such as the events of each note.

    Returns:
        Shape ``(Q,)``; of lists without notes NaN.

    Raises:
        ValueError: As in `coverage`.

    Example:
        >>> popularity([[0, 1], [2, -1]], [30, 10, 0]).tolist()
        [20.0, 0.0]
    """
    return _means(lists, np.asarray(values, dtype=np.float64), "popularity")


def _means(lists: npt.ArrayLike, of_notes: FloatArray, where: str) -> FloatArray:
    shown, is_there = _shown(lists, len(of_notes), where)
    sums = np.where(is_there, of_notes[np.where(is_there, shown, 0)], 0).sum(axis=1)
    counts = is_there.sum(axis=1)
    means: FloatArray = np.divide(sums, counts, out=np.full(len(shown), np.nan), where=counts > 0)
    return means


def _shown(
    lists: npt.ArrayLike, notes: int, where: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    shown = np.asarray(lists, dtype=np.int64)
    if shown.ndim != 2 or not (shown >= 0).any():
        raise ValueError(f"{where}: lists must be (Q, K) with some note, but have shape {shown.shape}")
    if shown.min() < -1 or shown.max() >= notes:
        raise ValueError(
            f"{where}: lists must hold positions in [0, {notes}), or -1, but hold {shown.min()} to {shown.max()}"
        )
    return shown, shown >= 0
