"""The Llama-family decoder as modules: parameters have Hugging Face's names, the core computes."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recompute

from notellm import _core
from notellm.models import adapter
from notellm.models.config import BlockParts, block_parts, decoder_config
from notellm.precision import Dtype, compute_dtype


def check_plain(module: nn.Module, kind: type[nn.Module], name: str) -> None:
    """Refuses a module that has been replaced or wrapped: the core reads weights and would ignore its ``forward``.

    Raises:
        TypeError: If the module is not exactly of the class it was created with.
    """
    if type(module) is not kind:
        raise TypeError(
            f"NoteLLM: {name} must be a plain {kind.__name__}, whose weights the core reads, but is a "
            f"{type(module).__name__}, whose forward would never be called"
        )


class _Attention(nn.Module):
    """Weights of one attention block; never called."""

    def __init__(self, parts: BlockParts, config: "_core.models.DecoderConfig") -> None:
        super().__init__()
        width, head_dim = config.width, config.rope.head_dim
        self.q_proj = nn.Linear(width, config.heads * head_dim, bias=parts.qkv_bias)
        self.k_proj = nn.Linear(width, config.key_heads * head_dim, bias=parts.qkv_bias)
        self.v_proj = nn.Linear(width, config.key_heads * head_dim, bias=parts.qkv_bias)
        self.o_proj = nn.Linear(config.heads * head_dim, width, bias=parts.output_bias)
        if parts.head_norms:
            self.q_norm = _Norm(head_dim)
            self.k_norm = _Norm(head_dim)


class _FeedForward(nn.Module):
    """Weights of one SwiGLU block; never called."""

    def __init__(self, parts: BlockParts, config: "_core.models.DecoderConfig") -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.width, config.inner_width, bias=parts.mlp_bias)
        self.up_proj = nn.Linear(config.width, config.inner_width, bias=parts.mlp_bias)
        self.down_proj = nn.Linear(config.inner_width, config.width, bias=parts.mlp_bias)


class _Norm(nn.Module):
    """Weight of one RMS norm; never called."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))


class DecoderLayer(nn.Module):
    """One block: holds its weights; ``forward`` is one call into the core."""

    def __init__(self, parts: BlockParts, config: "_core.models.DecoderConfig", number: int) -> None:
        super().__init__()
        self.self_attn = _Attention(parts, config)
        self.mlp = _FeedForward(parts, config)
        self.input_layernorm = _Norm(config.width)
        self.post_attention_layernorm = _Norm(config.width)
        self.adapters = nn.ModuleDict()  # by target; empty without LoRA
        self.lora_dropout = 0.0
        self.config = config
        self.number = number

    def weights(self) -> "_core.models.LayerWeights":
        """The block's present parameters, in the form that the core takes.

        Raises:
            TypeError: If a projection has been replaced by another module: the core would silently ignore it.
        """
        for module in (self.self_attn, self.mlp):
            for name, child in module.named_children():
                check_plain(child, _Norm if name.endswith("norm") else nn.Linear, name)
        check_plain(self.input_layernorm, _Norm, "input_layernorm")
        check_plain(self.post_attention_layernorm, _Norm, "post_attention_layernorm")
        parts: dict[str, Any] = {
            "input_norm": self.input_layernorm.weight,
            "post_norm": self.post_attention_layernorm.weight,
        }
        for name, (holder, part) in adapter.PARTS.items():
            linear = getattr(getattr(self, holder), name)
            parts[part] = linear.weight
            if linear.bias is not None:
                parts[f"{part}_bias"] = linear.bias
        attention = self.self_attn
        if hasattr(attention, "q_norm"):
            parts |= {"query_norm": attention.q_norm.weight, "key_norm": attention.k_norm.weight}
        if self.adapters:
            parts["adapters"] = adapter.for_core(self.adapters, dropout=self.lora_dropout, layer=self.number)
        return _core.models.LayerWeights(**parts)

    def forward(self, x: Tensor, plan: "_core.models.DecoderPlan", is_last: bool = False) -> Tensor:
        """Residual stream ``(T, D)``, or an earlier block's output, to residual stream; the last: read rows only."""
        return _core.models.decoder_layer(x, self.weights(), self.config, plan, is_last)


class Decoder(nn.Module):
    """Token embedding, blocks and final norm of a Llama-family model.

    Args:
        hf: A parsed Hugging Face ``config.json``.

    Raises:
        DataError, NotSupportedError: See `decoder_config`.
    """

    def __init__(self, hf: dict[str, Any]) -> None:
        super().__init__()
        self.config = decoder_config(hf)
        self.embed_tokens = nn.Embedding(self.config.vocabulary, self.config.width)
        parts = block_parts(hf)
        self.layers = nn.ModuleList(
            DecoderLayer(parts, self.config, number) for number in range(self.config.layers)
        )
        self.norm = _Norm(self.config.width)
        self.emb_token_id = -1
        self.emb_row: nn.Parameter | None
        self.register_parameter("emb_row", None)  # (D): with LoRA, replaces [EMB]'s row as an input

    def plan(
        self,
        segments: "_core.models.Segments",
        dtype: Dtype,
        read_rows: Sequence[int] | None = None,
    ) -> "_core.models.DecoderPlan":
        """The plan of a forward pass over a forest, shared by all layers.

        Args:
            segments: The forest.
            dtype: Of the matrix products, see `notellm.resolve_dtype`.
            read_rows: Distinct tokens whose final states are wanted; the last layer computes only these. Default: all.

        Raises:
            IndexError: If a read row is not a token. ValueError: If one is repeated.
        """
        device = self.embed_tokens.weight.device
        return _core.models.plan_decoder(
            segments, self.config, compute_dtype(dtype, device), device, read_rows
        )

    def forward(
        self, tokens: Tensor, plan: "_core.models.DecoderPlan", *, checkpoint: bool = False
    ) -> Tensor:
        """Hidden states of packed tokens after the final norm, with a graph through every layer for training.

        Args:
            tokens: Shape ``(T,)``, int64: ids of the forest's tokens.
            plan: From `plan`.
            checkpoint: Whether to keep only each layer's input and recompute the layer in the backward pass
                (activation checkpointing): memory of one layer instead of all, for the time of one more forward pass.

        Returns:
            Shape ``(T, D)``, or ``(R, D)`` for the plan's read rows; fp32 (fp64 if products run in fp64).
        """
        x = self._embedded(tokens).to(_core.ops.wide_dtype(plan.dtype))  # (T, D)
        for number, layer in enumerate(self.layers, 1):
            is_last = number == len(self.layers)
            if checkpoint and torch.is_grad_enabled():
                x = recompute(layer, x, plan, is_last, use_reentrant=False, preserve_rng_state=False)
            else:
                x = layer(x, plan, is_last)
        return _core.ops.rms_norm(x, self.norm.weight, self.config.norm_epsilon)

    def _embedded(self, tokens: Tensor) -> Tensor:
        """Rows of the table ``(T, D)``; if the table is frozen, only [EMB]'s own row has a gradient."""
        rows = nn.functional.embedding(tokens, self.embed_tokens.weight)
        if self.emb_row is None:
            return rows
        return torch.where((tokens == self.emb_token_id).unsqueeze(1), self.emb_row, rows)

    def sync_emb_row(self) -> None:
        """Writes [EMB]'s own row, if it has one, into the table, for code that reads the whole table."""
        if self.emb_row is not None:
            row = self.embed_tokens.weight.detach()[self.emb_token_id]
            own = self.emb_row.detach().to(row.dtype)  # a frozen table may be bf16
            if not torch.equal(row, own):
                row.copy_(own)

    def blocks(self) -> Iterator[DecoderLayer]:
        """The layers.

        Raises:
            TypeError: If one has been replaced or wrapped, see `check_plain`.
        """
        for number, layer in enumerate(self.layers):
            check_plain(layer, DecoderLayer, f"layers.{number}")
            yield cast(DecoderLayer, layer)

    def weights(self) -> "_core.models.DecoderWeights":
        """All present parameters, for the core's own loop over the layers (inference).

        Raises:
            TypeError: If a part has been replaced or wrapped, see `check_plain`.
        """
        check_plain(self.embed_tokens, nn.Embedding, "embed_tokens")
        check_plain(self.norm, _Norm, "norm")
        self.sync_emb_row()
        layers = [layer.weights() for layer in self.blocks()]
        return _core.models.DecoderWeights(self.embed_tokens.weight, layers, self.norm.weight)
