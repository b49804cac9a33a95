"""User-to-item retrieval: a user's history, pooled into one vector, is the query for the note that came next."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def history_weights(histories: npt.ArrayLike, *, decay: float = 1.0) -> npt.NDArray[np.float64]:
    """How much each note of a history counts: 1 for the most recent one, times ``decay`` for each one further back.

    Args:
        histories: Shape ``(Q, H)`` int64, the most recent note last, -1 where there is none.
        decay: Above 0, at most 1; 1 is the plain mean.

    Returns:
        Shape ``(Q, H)``, rows of sum 1.

    Raises:
        ValueError: If a history is empty, or ``decay`` is out of range.

    Example:
        >>> history_weights([[4, 7], [-1, 2]], decay=0.5).round(3).tolist()
        [[0.333, 0.667], [0.0, 1.0]]
    """
    notes = np.asarray(histories, dtype=np.int64)
    if not 0 < decay <= 1:
        raise ValueError(f"history_weights: decay must be above 0 and at most 1, but is {decay:g}")
    if notes.ndim != 2 or not (notes >= 0).any(axis=1).all():
        raise ValueError(
            f"history_weights: histories must be (Q, H), each with a note, but are {notes.shape} with an empty one"
        )
    weights = np.where(notes >= 0, decay ** np.arange(notes.shape[1] - 1, -1, -1.0), 0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def pool_histories(vectors: Tensor, histories: npt.ArrayLike, *, decay: float = 1.0) -> Tensor:
    """The vector of each user: the weighted mean of the vectors of the notes that the user had.

    Args:
        vectors: Shape ``(N, d)``, floating point.
        histories: Shape ``(Q, H)`` int64, rows of ``vectors``, the most recent note last; -1 where there is none.
        decay: As in `history_weights`.

    Returns:
        Shape ``(Q, d)``, of the dtype and device of ``vectors``; not normalised, which ranks do not depend on.

    Raises:
        ValueError: As in `history_weights`.
        IndexError: If a history names a note outside of ``vectors``.

    Example:
        >>> pool_histories(torch.eye(3), [[0, 1], [-1, 2]]).tolist()
        [[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]
    """
    notes = np.asarray(histories, dtype=np.int64)
    if notes.max(initial=0) >= len(vectors):
        raise IndexError(f"pool_histories: histories must be in [0, {len(vectors)}), but hold {notes.max()}")
    weights = torch.from_numpy(history_weights(notes, decay=decay)).to(vectors)
    pooled = torch.zeros(len(notes), vectors.shape[1], dtype=vectors.dtype, device=vectors.device)
    for place in range(notes.shape[1]):  # (Q, H, d) would be large
        rows = torch.from_numpy(np.maximum(notes[:, place], 0)).to(vectors.device)
        pooled += weights[:, place, None] * vectors[rows]
    return pooled
