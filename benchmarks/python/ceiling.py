"""The modelled ceiling: the linear layers' matrix products of a pass over the same tokens, by the library's calls.

Norms, attention, activations, losses, the optimizer and the preparation of batches count as nothing. Results are
allocated as in a pass, and that is in the time.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from harness import medians, time_plainly

from notellm import _core


class Product(NamedTuple):
    """``x @ weight.T`` of so many rows, columns of ``x``, and columns of the result."""

    rows: int
    inner: int
    width: int

    @property
    def operations(self) -> float:
        """Additions and multiplications."""
        return 2.0 * self.rows * self.inner * self.width


def backbone_products(config: _core.models.DecoderConfig, tokens: int, reads: int) -> list[Product]:
    """The products of one pass over ``tokens`` tokens, of which the states of ``reads`` are wanted.

    Of the last layer, keys and values are needed of all tokens, everything else of those that are read.
    """
    head_width = config.rope.head_dim
    queries, keys = config.heads * head_width, 2 * config.key_heads * head_width

    def behind_attention(rows: int) -> list[Product]:
        return [
            Product(rows, queries, config.width),
            Product(rows, config.width, 2 * config.inner_width),
            Product(rows, config.inner_width, config.width),
        ]

    layer = [Product(tokens, config.width, queries + keys), *behind_attention(tokens)]
    last = [Product(tokens, config.width, keys), Product(reads, config.width, queries)]
    return layer * (config.layers - 1) + last + behind_attention(reads)


def bare_products(
    products: list[Product], dtype: torch.dtype, device: torch.device, gradients: str = ""
) -> Callable[[], None]:
    """A call that computes products, each with a weight of its own.

    Args:
        products: Which.
        dtype: Of all matrices.
        device: Where.
        gradients: Also the products of their gradients: ``"x"`` of the inputs, ``"xw"`` of inputs and weights.
    """
    inputs = {(p.rows, n): _random(p.rows, n, dtype, device) for p in products for n in (p.inner, p.width)}
    weights = [_random(p.width, p.inner, dtype, device) for p in products]

    def run() -> None:
        with torch.inference_mode():
            for product, weight in zip(products, weights, strict=True):
                x, y = inputs[product.rows, product.inner], inputs[product.rows, product.width]
                _core.ops.matmul_transposed(x, weight)
                if "x" in gradients:
                    y @ weight
                if "w" in gradients:
                    y.T @ x

    return run


def large_product(
    size: int, dtype: torch.dtype, device: torch.device | str
) -> tuple[Callable[[], object], float]:
    """A call that multiplies two square matrices into a third, and its operations: what a device can do at best."""
    left, right = (_random(size, size, dtype, device) for _ in range(2))
    out = torch.empty_like(left)
    return lambda: torch.mm(left, right, out=out), Product(size, size, size).operations


def share_of_peak(
    operations: float, seconds: float, size: int, dtype: torch.dtype, device: torch.device | str
) -> dict[str, float]:
    """The rate of some operations, and its share of a large product's of so many rows, measured here and now."""
    call, of_product = large_product(size, dtype, device)
    peak = of_product / medians(time_plainly({"product": call}, 5, repeats=3, device=device))["product"]
    rate = operations / seconds
    return {
        "operations": float(f"{operations:.4g}"),
        "operations_per_second": float(f"{rate:.4g}"),
        "operations_per_second_of_a_large_product": float(f"{peak:.4g}"),
        "share_of_peak": round(rate / peak, 4),
    }


def _random(rows: int, columns: int, dtype: torch.dtype, device: torch.device | str) -> torch.Tensor:
    return torch.randn(rows, columns, dtype=dtype, device=device)
