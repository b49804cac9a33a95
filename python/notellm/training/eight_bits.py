"""AdamW's moments in 8 bits (Dettmers et al. 2022), by the package torchao.

It keeps the moments of parameters of 4,096 numbers or more in blocks of 256, one byte a number and one scale a block;
smaller ones, and those that are no whole number of blocks, are kept as they are. Checkpoints hold wide moments, so that
they do not depend on blocks, nor on whether a run goes on with 8 bits; one that does begins with moments that have been
rounded once more.
"""

from typing import Any

import torch
from torch import Tensor

from notellm.optional import importing


def adamw(groups: list[dict[str, Any]], **defaults: Any) -> torch.optim.Optimizer:
    """AdamW with moments in 8 bits.

    Args:
        groups: Groups of parameters with their rates.
        defaults: As torch's AdamW takes them.

    Raises:
        NotSupportedError: If torchao is not installed.
    """
    with importing(
        "train.moments=8bit", "torchao", install="'notellm[8bit]'", otherwise="train.moments=full"
    ):
        from torchao.optim import AdamW8bit
    optimizer: torch.optim.Optimizer = AdamW8bit(groups, **defaults)
    return optimizer


def widened(moment: Tensor) -> Tensor:
    """A moment, or a counter of steps, as an ordinary tensor."""
    return moment if type(moment) is Tensor else moment.dequantize()


def narrowed(
    moment: Tensor, optimizer: torch.optim.Optimizer, parameter: Tensor, *, is_signed: bool
) -> Tensor:
    """A moment in the form in which an optimizer keeps it for a parameter, on its device.

    Args:
        moment: From `widened`.
        optimizer: From `adamw`, or torch's own.
        parameter: The parameter, or the rows of it that the optimizer updates.
        is_signed: Whether it is the first moment; the second is never negative.
    """
    if isinstance(optimizer, torch.optim.AdamW):
        return moment.to(parameter.device, parameter.dtype, copy=True)
    kept: Tensor = optimizer._new_buffer(parameter.detach(), is_signed)  # type: ignore[attr-defined]
    return kept.copy_(moment.to(parameter.device))
