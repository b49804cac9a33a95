"""Functions that a script can pass to a `Trainer`: extra losses and the choice of pairs."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

EmbeddingLoss = Callable[[Tensor, Tensor], Tensor]
"""A loss of the step's embeddings, in addition to eq. (4). Takes the embeddings ``(2B, d)``, projected but not
normalised, of which rows ``2b`` and ``2b + 1`` are pair b, and the notes of the rows ``(2B,)``, as positions in the
trainer's notes; returns a scalar with a gradient. All processes call it with the whole batch; random numbers must be
the same on all. It may use ``model.tau``, but has no parameters of its own.
"""

ExtraLosses = Mapping[str, tuple[float, EmbeddingLoss]]
"""Weight and loss by name. The name is the loss's key in the records of a run."""

PairChooser = Callable[[int], ArrayLike]
"""Chooses the pairs of a step: takes its number, counted from 0 through all epochs, and returns ``(B,)`` positions in
the list of pairs. Must depend only on the step, or an interrupted run could not be resumed. Tasks and hashtags are
drawn as usual.
"""


def chosen_pairs(choose: PairChooser, step: int) -> NDArray[np.int64]:
    """The pairs that a chooser returns for a step, in the form that the core takes.

    Raises:
        ValueError: If they are not a list of whole numbers.
    """
    pairs = np.asarray(choose(step))
    if pairs.ndim != 1 or not np.issubdtype(pairs.dtype, np.integer):
        raise ValueError(
            f"Trainer: pairs of step {step} must be a list of whole numbers, but have shape {pairs.shape} and dtype "
            f"{pairs.dtype}"
        )
    return pairs.astype(np.int64)
