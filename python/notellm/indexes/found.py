"""What a search finds, exact or not."""

from typing import NamedTuple

from torch import Tensor

__all__ = ["Neighbours"]


class Neighbours(NamedTuple):
    """The best notes for each query, best first; ties are broken by pool index.

    Attributes:
        scores: Shape ``(Q, k)`` float64; ``-inf`` where the pool has no more notes.
        indices: Shape ``(Q, k)`` int64; -1 where the pool has no more notes.
    """

    scores: Tensor
    indices: Tensor
