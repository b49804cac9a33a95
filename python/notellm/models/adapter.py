"""LoRA (Hu et al. 2021): small trained matrices beside the frozen ones of a backbone.

A matrix ``W`` acts as ``W + scale * B A`` with ``A`` of shape ``(r, in)`` and ``B`` of shape ``(out, r)``. Only ``A``
and ``B``, the projection, tau and the input row of [EMB] are trained.
"""

import math
from typing import Any, cast

import torch
from torch import Tensor, nn

from notellm import _core
from notellm.options import Options, option
from notellm.precision import multiplies_bf16

PARTS = {
    "q_proj": ("self_attn", "query"),
    "k_proj": ("self_attn", "key"),
    "v_proj": ("self_attn", "value"),
    "o_proj": ("self_attn", "output"),
    "gate_proj": ("mlp", "gate"),
    "up_proj": ("mlp", "up"),
    "down_proj": ("mlp", "down"),
}
"""The matrices of a block that can have an adapter: for each, its module and its name in the core."""

TARGETS = tuple(PARTS)


class LoraOptions(Options):
    """Low-rank adapters in place of training the whole backbone."""

    r: int = option("Rank; 0 = none, all weights are trained.", default=16, at_least=0)
    alpha: float = option("The adapters' change is scaled by alpha / r.", default=32.0, above=0)
    dropout: float = option(
        "Share of the adapters' inputs that is dropped in training, rounded to the nearest 2^-16.",
        default=0.0,
        at_least=0,
        below=1,
    )
    targets: tuple[str, ...] = option(
        "The matrices that have one.", default=TARGETS, choices=TARGETS, not_empty=True, each_once=True
    )
    rslora: bool = option("Whether the scale is alpha / sqrt(r) instead (Kalajdzievski 2023).", default=False)

    frozen_bf16: bool = option(
        "Whether the frozen matrices are stored in bf16: half of fp32's bytes, and the same numbers where the backbone "
        "was saved in bf16; norms, biases and adapters stay as they are.",
        default=False,
        added_later=True,
    )

    @property
    def scale(self) -> float:
        """The factor of ``B A``."""
        return self.alpha / (math.sqrt(self.r) if self.rslora else self.r)


class Adapter(nn.Module):
    """The two matrices of an adapter beside one frozen matrix; never called.

    Args:
        linear: The module with the frozen matrix.
        options: Rank and scale.
        generator: Draws ``A``, Kaiming-uniform as in `peft`; ``B`` starts as 0, so that at first nothing changes.
    """

    def __init__(self, linear: nn.Linear, options: LoraOptions, generator: torch.Generator) -> None:
        super().__init__()
        down = torch.empty(options.r, linear.in_features)
        nn.init.kaiming_uniform_(down, a=math.sqrt(5), generator=generator)
        weight = linear.weight
        self.lora_A = nn.Parameter(down.to(weight))
        self.lora_B = nn.Parameter(weight.new_zeros(linear.out_features, options.r))
        self.scale = options.scale

    def merged(self, weight: Tensor) -> Tensor:
        """The matrix plus what the adapter adds, in the wider dtype of the two, without a graph."""
        own = torch.promote_types(weight.dtype, self.lora_A.dtype)
        is_slow = own == torch.bfloat16 and not multiplies_bf16(weight.device)  # a scalar loop
        wide = torch.float32 if is_slow else own
        with torch.no_grad():
            up, down = self.lora_B.to(wide), self.lora_A.to(wide)
            return torch.addmm(weight.to(wide), up, down, alpha=self.scale).to(own)


def checked(modules: nn.ModuleDict) -> dict[str, Adapter]:
    """A block's adapters by target.

    Raises:
        TypeError: If one has been replaced by another module.
    """
    for name, adapter in modules.items():
        if type(adapter) is not Adapter:
            raise TypeError(
                f"NoteLLM: adapters.{name} must be an Adapter, whose matrices the core reads, but is a "
                f"{type(adapter).__name__}"
            )
    return cast(dict[str, Adapter], dict(modules.items()))


def for_core(modules: nn.ModuleDict, *, dropout: float, layer: int) -> _core.models.LayerAdapters:
    """A block's adapters in the form that the core takes."""
    own: dict[str, Any] = {
        PARTS[name][1]: _core.models.Adapter(adapter.lora_A, adapter.lora_B, adapter.scale)
        for name, adapter in checked(modules).items()
    }
    return _core.models.LayerAdapters(**own, dropout=dropout, layer=layer)
