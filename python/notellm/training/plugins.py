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

RECORD_KEYS = (
    *("step", "contrastive", "generative", "loss", "tau", "scale", "lr", "lr_head"),
    *("grad_norm", "grad_norm_contrastive", "grad_norm_generative", "validation"),
    *("tokens", "notes", "negatives", "hashtag_shortfall", "seconds", "tokens_per_second"),
)
"""Keys that a step's record may have without extra losses."""


def check_extra_losses(losses: ExtraLosses) -> None:
    """Refuses names that records have already, and weights that are not finite numbers.

    Raises:
        ValueError: If there is such a name or weight.
    """
    for name, (weight, _) in losses.items():
        if name in RECORD_KEYS:
            raise ValueError(
                f"Trainer: an extra loss must have a name of its own, but {name!r} is a key of records"
            )
        if not np.isfinite(weight):
            raise ValueError(f"Trainer: the weight of {name!r} must be finite, but is {weight}")


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
