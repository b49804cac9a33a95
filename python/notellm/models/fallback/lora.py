"""LoRA on any model: adapters beside its linear modules, whose outputs they add to."""

import re
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from notellm.errors import NotSupportedError
from notellm.models.adapter import Adapter, LoraOptions

OTHER_NAMES = {
    "qkv_proj": ("q_proj", "k_proj", "v_proj"),
    "query_key_value": ("q_proj", "k_proj", "v_proj"),
    "dense": ("o_proj",),
    "gate_up_proj": ("gate_proj", "up_proj"),
    "fc1": ("up_proj",),
    "fc2": ("down_proj",),
    "dense_h_to_4h": ("up_proj",),
    "dense_4h_to_h": ("down_proj",),
}
"""What other families call the matrices that an adapter can have, some of them in one."""


class HookedLora(nn.Module):
    """Adapters beside a frozen model's matrices, and a trained input row for [EMB].

    The model's modules stay as they are: hooks add ``scale * B A x`` to the outputs of its linear modules, and put the
    trained row in the place of [EMB]'s in the output of its token embedding.

    Args:
        model: The model; it is frozen.
        options: Rank, scale, targets; without dropout and frozen_bf16.
        emb_token_id: The id of [EMB].
        seed: Seed of the adapters' ``A``, drawn layer by layer as for `NoteLLM.add_lora`.

    Raises:
        NotSupportedError: If there is dropout or frozen_bf16, the model has none of the targets, or its token
            embedding does more than look up and scale rows.
    """

    def __init__(self, model: Any, options: LoraOptions, emb_token_id: int, seed: int) -> None:
        super().__init__()
        if options.dropout:
            raise NotSupportedError(
                "add_lora: lora.dropout must be 0 with model.backend=transformers, where it would depend on the batch, "
                f"but is {options.dropout}"
            )
        if options.frozen_bf16:
            raise NotSupportedError(
                "add_lora: lora.frozen_bf16 must be false with model.backend=transformers"
            )
        model.requires_grad_(False)
        self._hooks: list[Any] = []
        self._linears = dict(_linears(model, options.targets))
        if not self._linears:
            wanted = ", ".join(options.targets)
            raise NotSupportedError(
                f"add_lora: lora.targets must be linear modules of the backbone, but "
                f"{type(model).__name__} has none of {wanted}"
            )
        generator = torch.Generator().manual_seed(seed)
        self.adapters = nn.ModuleDict(
            {
                name.replace(".", "/"): Adapter(linear, options, generator)
                for name, linear in self._linears.items()
            }
        )
        for linear, adapter in zip(self._linears.values(), self._adapters(), strict=True):
            self._hooks.append(linear.register_forward_hook(_adding(adapter)))
        self._tables = (
            cast(nn.Embedding, model.get_input_embeddings()),
        )  # in a tuple it is no part of this module
        self._emb_token_id = emb_token_id
        self.emb_row = nn.Parameter(self._table().weight[emb_token_id].detach().clone())
        self._replace_emb_row()

    def _replace_emb_row(self) -> None:
        """Puts the trained row in the place of the table's, scaled as the table scales its rows."""
        ids = torch.tensor([[self._emb_token_id]], device=self._table().weight.device)
        with torch.no_grad():
            before = self._table()(ids)
            self._hooks.append(self._table().register_forward_hook(self._with_emb_row))
            if not torch.equal(self._table()(ids), before):
                self.remove()
                kind = type(self._table()).__name__
                raise NotSupportedError(
                    f"add_lora: the token embedding must look up and scale rows, but is a {kind}"
                )

    def _with_emb_row(self, table: nn.Module, inputs: tuple[Tensor, ...], rows: Tensor) -> Tensor:
        scale = getattr(table, "embed_scale", None)  # of Gemma's table
        own = self.emb_row if scale is None else self.emb_row * torch.as_tensor(scale).to(self.emb_row)
        return torch.where((inputs[0] == self._emb_token_id).unsqueeze(-1), own.to(rows.dtype), rows)

    def _table(self) -> nn.Embedding:
        return self._tables[0]

    def _adapters(self) -> list[Adapter]:
        return [cast(Adapter, adapter) for adapter in self.adapters.values()]

    def sync(self) -> None:
        """Writes [EMB]'s row into the table, which may be the head, too."""
        row = self._table().weight.detach()[self._emb_token_id]
        if not torch.equal(row, self.emb_row):
            row.copy_(self.emb_row.detach())

    def merged(self) -> Iterator[tuple[str, Tensor]]:
        """The matrices with what the adapters add, by the names of their parameters."""
        for (name, linear), adapter in zip(self._linears.items(), self._adapters(), strict=True):
            yield f"{name}.weight", adapter.merged(linear.weight)

    def merge(self) -> None:
        """Writes everything into the model, and removes the hooks."""
        self.sync()
        matrices = dict(self.merged())
        for name, linear in self._linears.items():
            linear.weight.data = matrices[f"{name}.weight"]
        self.remove()

    def remove(self) -> None:
        """Removes the hooks."""
        for hook in self._hooks:
            hook.remove()


def _adding(adapter: Adapter) -> Any:
    def add(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        small = nn.functional.linear(inputs[0], adapter.lora_A)  # (..., r)
        return output + adapter.scale * nn.functional.linear(small, adapter.lora_B)

    return add


def _linears(model: nn.Module, targets: tuple[str, ...]) -> Iterator[tuple[str, nn.Linear]]:
    """The linear modules of a model's layers that are targets: layer by layer, and in the order of the targets."""
    found = []
    for name, module in model.named_modules():
        number, last = re.search(r"\.(\d+)\.", name), name.rpartition(".")[2]
        places = [
            place for place, target in enumerate(targets) if target in (last, *OTHER_NAMES.get(last, ()))
        ]
        if isinstance(module, nn.Linear) and number and places:
            found.append((int(number[1]), places[0], name, module))
    for _, _, name, module in sorted(found, key=lambda one: one[:2]):
        yield name, module
