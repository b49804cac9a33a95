"""Vectors in int8: a byte for each number, and one scale for each vector."""

import torch
from torch import Tensor

from notellm import _core

__all__ = ["from_int8", "to_int8"]


def to_int8(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Rounds each number to a multiple of its vector's scale: the nearest one, and the even one of two.

    A number is off by at most half the scale, 1/254 of its vector's largest number (apart from rounding in fp32).

    Args:
        vectors: Shape ``(n, d)``, floating point, finite.

    Returns:
        The multiples, ``(n, d)`` int8 in [-127, 127], and the scales, ``(n,)`` fp32: each vector's largest absolute
        value over 127.

    Raises:
        ValueError: If the vectors are no such matrix.

    Example:
        >>> to_int8(torch.tensor([[1.27, -0.5, 0.0]]))
        (tensor([[127, -50,   0]], dtype=torch.int8), tensor([0.0100]))
    """
    if vectors.dim() == 2 and vectors.is_floating_point() and not len(vectors):
        return vectors.to(torch.int8), torch.empty(0)
    return _core.ops.quantise(vectors)


def from_int8(values: Tensor, scales: Tensor) -> Tensor:
    """The vectors, shape ``(n, d)`` fp32, of `to_int8`'s multiples and scales."""
    return _core.ops.dequantise(values, scales, torch.float32)
