"""What a script may pass to a `Trainer` as an object of its own."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

EmbeddingLoss = Callable[[Tensor, Tensor], Tensor]
"""A loss of the step's embeddings, beside eq. (4): embeddings ``(2B, d)``, projected and not normalised, of which rows
``2b`` and ``2b + 1`` are pair b, and the notes of its rows ``(2B,)``, as positions in the trainer's notes; to a scalar
with a gradient. All processes call it with the whole batch; whatever it draws must be the same on all. It may use
``model.tau``, but has no parameters of its own.
"""

ExtraLosses = Mapping[str, tuple[float, EmbeddingLoss]]
"""By name: weight and loss. The name is the loss's key in the records of a run."""

PairChooser = Callable[[int], ArrayLike]
"""Which pairs a step has: its number, counted from 0 through all epochs, to ``(B,)`` positions in the list of pairs.
Must be a function of the step alone, or an interrupted run cannot be gone on with. Tasks and hashtags are as ever.
"""

RECORD_KEYS = (
    *("step", "contrastive", "generative", "loss", "tau", "scale", "lr", "lr_head"),
    *("grad_norm", "tokens", "notes", "hashtag_shortfall", "seconds"),
)
"""What records of a step have without extra losses."""


def check_extra_losses(losses: ExtraLosses) -> None:
    """Refuses names that records have already, and weights that are no numbers.

    Raises:
        ValueError: As it says.
    """
    for name, (weight, _) in losses.items():
        if name in RECORD_KEYS:
            raise ValueError(
                f"Trainer: an extra loss must have a name of its own, but {name!r} is a key of records"
            )
        if not np.isfinite(weight):
            raise ValueError(f"Trainer: the weight of {name!r} must be finite, but is {weight}")


def chosen_pairs(choose: PairChooser, step: int) -> NDArray[np.int64]:
    """What a chooser says of a step, as the core takes it.

    Raises:
        ValueError: If it is no list of whole numbers.
    """
    pairs = np.asarray(choose(step))
    if pairs.ndim != 1 or not np.issubdtype(pairs.dtype, np.integer):
        raise ValueError(
            f"Trainer: pairs of step {step} must be a list of whole numbers, but have shape {pairs.shape} and dtype "
            f"{pairs.dtype}"
        )
    return pairs.astype(np.int64)
