"""Adds LoRA adapters to a decoder, merges them into its matrices, and undoes the merge."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from notellm.models.adapter import PARTS, Adapter, LoraOptions, checked
from notellm.models.decoder import Decoder, DecoderLayer


@dataclass(frozen=True)
class Unmerged:
    """What `merge(keep=True)` replaced, for `unmerge`."""

    options: LoraOptions
    weights: list[dict[str, Tensor]]
    """For every layer, by target: copies of the frozen matrices."""
    adapters: list[nn.ModuleDict]
    emb_row: nn.Parameter


def linears(layer: DecoderLayer) -> dict[str, nn.Linear]:
    """The modules of a block with the matrices in ``TARGETS``."""
    return {
        name: cast(nn.Linear, getattr(getattr(layer, holder), name)) for name, (holder, _) in PARTS.items()
    }


def add(decoder: Decoder, options: LoraOptions, emb_token_id: int, seed: int) -> None:
    """Freezes a decoder and adds adapters, which change nothing yet, and a separate input row for [EMB]."""
    generator = torch.Generator().manual_seed(seed)
    decoder.requires_grad_(False)
    for layer in decoder.blocks():
        holders = linears(layer)
        layer.lora_dropout = options.dropout
        for name in options.targets:
            layer.adapters[name] = Adapter(holders[name], options, generator)
    decoder.emb_token_id = emb_token_id
    decoder.emb_row = nn.Parameter(decoder.embed_tokens.weight[emb_token_id].detach().clone())


def store_frozen(module: nn.Module) -> None:
    """Stores frozen matrices in bf16; vectors, which are small and factors of no product, stay as they are."""
    for parameter in module.parameters():
        if not parameter.requires_grad and parameter.dim() > 1:
            parameter.data = parameter.data.to(torch.bfloat16)


def merge(decoder: Decoder, options: LoraOptions, *, keep: bool) -> Unmerged | None:
    """Merges adapters into their matrices and [EMB]'s row into the table, and removes them; unfreezes everything.

    Args:
        decoder: Changed in place.
        options: The options of its adapters.
        keep: Whether to return what `unmerge` needs: a copy of the matrices.
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
    assert row is not None
    decoder.requires_grad_(True).to(row.dtype)  # frozen matrices may have been narrower
    return Unmerged(options, weights, kept, row) if keep else None


def unmerge(decoder: Decoder, unmerged: Unmerged) -> None:
    """Restores what `merge` replaced, bit for bit, and freezes it."""
    decoder.requires_grad_(False)
    table = decoder.embed_tokens.weight
    for layer, weights, kept in zip(decoder.blocks(), unmerged.weights, unmerged.adapters, strict=True):
        holders = linears(layer)
        for name, weight in weights.items():
            holders[name].weight.data = weight.to(table)
        layer.adapters = kept.to(table)
    decoder.emb_row = nn.Parameter(unmerged.emb_row.detach().to(table))


def merged_parameters(decoder: Decoder) -> Iterator[tuple[str, Tensor]]:
    """The decoder's parameters after a `merge`, by Hugging Face's names; the decoder is not changed."""
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
    """The seed of a step's dropout: a different one for each step of each run."""
    return ((seed << 32) + step) % 2**64
