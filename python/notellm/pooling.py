"""From the states of a note's tokens to the vector that is projected."""

from collections.abc import Callable

import torch
from torch import Tensor

PoolingFn = Callable[[Tensor, Tensor], Tensor]
"""Takes the states ``(K, D)`` of all notes' own tokens, note by note, and how many each note has, ``(n,)`` int64, at
least one; returns vectors ``(n, D)``. The last of a note's states is at the compressed position; the tokens before the
prompt's first slot, which all notes share, are left out. Must depend only on a note's own states: with micro-batches
it is called twice, so randomness (dropout) or batch statistics would make gradients wrong. A module's parameters are
trained with the model, at the learning rate of the projection."""

COMPRESSION, MEAN = "compression", "mean"
NAMES = (COMPRESSION, MEAN)
"""The poolings that the core has: the state at the compressed position (the paper), or the mean of all states."""


def mean_pooling(states: Tensor, lengths: Tensor) -> Tensor:
    """The mean of each note's states.

    Example:
        >>> mean_pooling(torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([2, 1]))
        tensor([[2.],
                [5.]])
    """
    rows = torch.arange(len(lengths), device=states.device)
    # told how many there are, the host does not wait for a GPU's lengths
    owner = torch.repeat_interleave(rows, lengths, output_size=len(states))
    sums = states.new_zeros(len(lengths), states.size(1)).index_add(0, owner, states)
    return sums / lengths.unsqueeze(1).to(states.dtype)


def pooling_name(pooling: "str | PoolingFn") -> str:
    """A name for a pooling, for files that can hold only a name."""
    return (
        pooling if isinstance(pooling, str) else getattr(pooling, "__qualname__", type(pooling).__qualname__)
    )


def check_pooling(pooling: "str | PoolingFn") -> None:
    """Refuses a name that is not in ``NAMES``.

    Raises:
        ValueError: If it is not.
    """
    if not callable(pooling) and pooling not in NAMES:
        raise ValueError(
            f"pooling: must be one of {', '.join(NAMES)} or a function of states and lengths, but is {pooling!r}"
        )
