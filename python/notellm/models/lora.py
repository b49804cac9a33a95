"""Adding LoRA's adapters to a decoder, merging them into its matrices, and taking that back."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from notellm.models.adapter import PARTS, Adapter, LoraOptions, checked
from notellm.models.decoder import Decoder, DecoderLayer


@dataclass(frozen=True)
class Unmerged:
    """What `merge(keep=True)` replaced."""

    options: LoraOptions
    weights: list[dict[str, Tensor]]
    """Of every layer, by target: copies of the frozen matrices."""
    adapters: list[nn.ModuleDict]
    emb_row: nn.Parameter


def linears(layer: DecoderLayer) -> dict[str, nn.Linear]:
    """The modules of a block that hold the matrices in ``TARGETS``."""
    return {
        name: cast(nn.Linear, getattr(getattr(layer, holder), name)) for name, (holder, _) in PARTS.items()
    }


def add(decoder: Decoder, options: LoraOptions, emb_token_id: int, seed: int) -> None:
    """Freezes a decoder and adds adapters that change nothing yet, and an input row of its own for [EMB]."""
    generator = torch.Generator().manual_seed(seed)
    decoder.requires_grad_(False)
    for layer in decoder.blocks():
        holders = linears(layer)
        layer.lora_dropout = options.dropout
        for name in options.targets:
            layer.adapters[name] = Adapter(holders[name], options, generator)
    decoder.emb_token_id = emb_token_id
    decoder.emb_row = nn.Parameter(decoder.embed_tokens.weight[emb_token_id].detach().clone())


def merge(decoder: Decoder, options: LoraOptions, *, keep: bool) -> Unmerged | None:
    """Folds adapters into their matrices and the row of [EMB] into the table, and removes them; nothing is frozen then.

    Args:
        decoder: Changed in place.
        options: What its adapters were made with.
        keep: Whether to return what `unmerge` needs: the memory of another copy of the matrices.
    """
    decoder.sync_emb_row()
    weights, kept = [], []
    for layer in decoder.blocks():
        holders, own = linears(layer), checked(layer.adapters)
        weights.append({name: holders[name].weight.detach() for name in own} if keep else {})
        for name, adapter in own.items():
            holders[name].weight.data = adapter.merged(holders[name].weight)
        kept.append(layer.adapters)
        layer.adapters = nn.ModuleDict()
    row, decoder.emb_row = decoder.emb_row, None
    decoder.requires_grad_(True)
    assert row is not None
    return Unmerged(options, weights, kept, row) if keep else None


def unmerge(decoder: Decoder, unmerged: Unmerged) -> None:
    """Puts back what `merge` replaced, bit for bit, and freezes it."""
    decoder.requires_grad_(False)
    table = decoder.embed_tokens.weight
    for layer, weights, kept in zip(decoder.blocks(), unmerged.weights, unmerged.adapters, strict=True):
        holders = linears(layer)
        for name, weight in weights.items():
            holders[name].weight.data = weight.to(table)
        layer.adapters = kept.to(table)
    decoder.emb_row = nn.Parameter(unmerged.emb_row.detach().to(table))


def merged_parameters(decoder: Decoder) -> Iterator[tuple[str, Tensor]]:
    """The decoder's parameters by Hugging Face's names, as `merge` would leave them, without changing it."""
    decoder.sync_emb_row()
    own = {
        f"layers.{layer.number}.{PARTS[name][0]}.{name}.weight": adapter
        for layer in decoder.blocks()
        for name, adapter in checked(layer.adapters).items()
    }
    for name, parameter in decoder.named_parameters():
        if name != "emb_row" and ".adapters." not in name:
            value = parameter.detach()
            yield name, own[name].merged(value) if name in own else value


def dropout_seed(seed: int, step: int) -> int:
    """The seed of a step's dropout: another one for each step of each run."""
    return ((seed << 32) + step) % 2**64
