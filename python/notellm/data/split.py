"""Splits notes into training and test by group, so that no test note has a sibling in training."""

import hashlib
from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from notellm.data.options import DataOptions

__all__ = ["select_pairs", "split_by_group", "union_groups", "within_groups"]


def union_groups(*labels: Sequence[Hashable | None]) -> npt.NDArray[np.int64]:
    """Groups notes that share a label of any kind, directly or through others (union-find).

    Args:
        *labels: Sequences of N labels each; notes with equal labels in a sequence join a group, None
            joins none.

    Returns:
        Shape ``(N,)``: group numbers, counted from 0 by first appearance.

    Raises:
        ValueError: If there is no sequence, or they differ in length.

    Example:
        >>> union_groups(["gcc", "gcc", "vim", "tea"], [None, "an editor", "an editor", None])
        array([0, 0, 0, 1])
    """
    if len({len(sequence) for sequence in labels}) != 1:
        lengths = [len(sequence) for sequence in labels]
        raise ValueError(f"union_groups: labels must be equally long sequences, but have {lengths} rows")
    parents = list(range(len(labels[0])))

    def root(row: int) -> int:
        while parents[row] != row:
            parents[row] = parents[parents[row]]
            row = parents[row]
        return row

    for sequence in labels:
        first_of: dict[Hashable, int] = {}
        for row, label in enumerate(sequence):
            if label is not None:
                # The smaller root wins, so that a group's root is its first note.
                one, other = sorted((root(first_of.setdefault(label, row)), root(row)))
                parents[other] = one
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(root(row), len(numbers)) for row in range(len(parents))], np.int64)


def split_by_group(
    groups: npt.NDArray[np.int64], share: float = DataOptions.test_fraction, seed: int = 0
) -> npt.NDArray[np.bool_]:
    """Draws test groups at random; all notes of a group go to the same side.

    The draw sorts groups by a hash of (seed, group number), so it is the same with every version of
    every library.

    Args:
        groups: Shape ``(N,)`` int64; the group of each note.
        share: Part of the groups, in [0, 1], that become test; rounded to whole groups.
        seed: Seed of the draw.

    Returns:
        Shape ``(N,)`` bool; true for test notes.

    Raises:
        ValueError: If ``share`` is not in [0, 1].

    Example:
        >>> split_by_group(np.array([0, 0, 1, 2]), share=0.34)
        array([False, False, False,  True])
    """
    if not 0 <= share <= 1:
        raise ValueError(f"split_by_group: share must be in [0, 1], but is {share}")
    names, codes = np.unique(groups, return_inverse=True)
    drawn = sorted(range(len(names)), key=lambda code: (_hash(seed, int(names[code])), code))
    is_test = np.zeros(len(names), np.bool_)
    is_test[drawn[: round(share * len(names))]] = True
    return is_test[codes]


def within_groups(
    source: npt.NDArray[np.int64], target: npt.NDArray[np.int64], groups: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Marks the pairs whose two notes belong to one group: the trivial ones.

    Args:
        source: Shape ``(P,)`` int64; indices of notes.
        target: Shape ``(P,)`` int64; indices of notes.
        groups: Shape ``(N,)`` int64; the group of each note.

    Returns:
        Shape ``(P,)`` bool.
    """
    return np.equal(groups[source], groups[target])


def select_pairs(
    source: npt.NDArray[np.int64],
    target: npt.NDArray[np.int64],
    groups: npt.NDArray[np.int64],
    is_test: npt.NDArray[np.bool_],
    side: Literal["train", "test"],
) -> npt.NDArray[np.bool_]:
    """Marks the pairs of one side: both notes on it, in different groups.

    Args:
        source: Shape ``(P,)`` int64; indices of notes.
        target: Shape ``(P,)`` int64; indices of notes.
        groups: Shape ``(N,)`` int64; the group of each note.
        is_test: Shape ``(N,)`` bool; true for test notes.
        side: Which side.

    Returns:
        Shape ``(P,)`` bool.

    Raises:
        ValueError: If ``side`` is something else.
    """
    if side not in ("train", "test"):
        raise ValueError(f"select_pairs: side must be 'train' or 'test', but is {side!r}")
    is_here = is_test if side == "test" else ~is_test
    return is_here[source] & is_here[target] & ~within_groups(source, target, groups)


def _hash(seed: int, group: int) -> bytes:
    return hashlib.blake2b(f"{seed}:{group}".encode(), digest_size=16).digest()
