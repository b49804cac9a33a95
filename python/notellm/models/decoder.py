"""The Llama-family decoder as modules: parameters with Hugging Face's names, arithmetic in the core."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recompute

from notellm import _core
from notellm.models.config import decoder_config


def check_plain(module: nn.Module, kind: type[nn.Module], name: str) -> None:
    """Refuses a module that has been replaced or wrapped: the core reads weights and would pass its forward by.

    Raises:
        TypeError: If the module is not exactly of the kind it was made as.
    """
    if type(module) is not kind:
        raise TypeError(
            f"NoteLLM: {name} must be a plain {kind.__name__}, whose weights the core reads, but is a "
            f"{type(module).__name__}, whose forward would never be called"
        )


class _Attention(nn.Module):
    """Weights of one attention block; never called."""

    def __init__(self, hf: dict[str, Any], config: "_core.models.DecoderConfig") -> None:
        super().__init__()
        width, head_dim = config.width, config.rope.head_dim
        has_bias = hf["model_type"] == "qwen2"
        self.q_proj = nn.Linear(width, config.heads * head_dim, bias=has_bias)
        self.k_proj = nn.Linear(width, config.key_heads * head_dim, bias=has_bias)
        self.v_proj = nn.Linear(width, config.key_heads * head_dim, bias=has_bias)
        self.o_proj = nn.Linear(config.heads * head_dim, width, bias=False)
        if hf["model_type"] == "qwen3":
            self.q_norm = _Norm(head_dim)
            self.k_norm = _Norm(head_dim)


class _FeedForward(nn.Module):
    """Weights of one SwiGLU block; never called."""

    def __init__(self, config: "_core.models.DecoderConfig") -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.width, config.inner_width, bias=False)
        self.up_proj = nn.Linear(config.width, config.inner_width, bias=False)
        self.down_proj = nn.Linear(config.inner_width, config.width, bias=False)


class _Norm(nn.Module):
    """Weight of one RMS norm; never called."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))


class DecoderLayer(nn.Module):
    """One block: holds its weights; ``forward`` is one call into the core."""

    def __init__(self, hf: dict[str, Any], config: "_core.models.DecoderConfig") -> None:
        super().__init__()
        self.self_attn = _Attention(hf, config)
        self.mlp = _FeedForward(config)
        self.input_layernorm = _Norm(config.width)
        self.post_attention_layernorm = _Norm(config.width)
        self.config = config

    def weights(self) -> "_core.models.LayerWeights":
        """The block's present parameters, as the core takes them.

        Raises:
            TypeError: If a projection has been replaced by another module: the core would silently pass it by.
        """
        for part in (self.self_attn, self.mlp):
            for name, child in part.named_children():
                check_plain(child, _Norm if name.endswith("norm") else nn.Linear, name)
        check_plain(self.input_layernorm, _Norm, "input_layernorm")
        check_plain(self.post_attention_layernorm, _Norm, "post_attention_layernorm")
        weights = _core.models.LayerWeights()
        attention, mlp = self.self_attn, self.mlp
        weights.input_norm = self.input_layernorm.weight
        weights.post_norm = self.post_attention_layernorm.weight
        weights.query, weights.key = attention.q_proj.weight, attention.k_proj.weight
        weights.value, weights.output = attention.v_proj.weight, attention.o_proj.weight
        weights.gate, weights.up, weights.down = (
            mlp.gate_proj.weight,
            mlp.up_proj.weight,
            mlp.down_proj.weight,
        )
        if attention.q_proj.bias is not None:
            weights.query_bias, weights.key_bias = attention.q_proj.bias, attention.k_proj.bias
            weights.value_bias = attention.v_proj.bias
        if hasattr(attention, "q_norm"):
            weights.query_norm, weights.key_norm = attention.q_norm.weight, attention.k_norm.weight
        return weights

    def forward(self, x: Tensor, plan: "_core.models.DecoderPlan") -> Tensor:
        """Residual stream ``(T, D)`` in, residual stream out."""
        return _core.models.decoder_layer(x, self.weights(), self.config, plan)


class Decoder(nn.Module):
    """Token embedding, blocks and final norm of a Llama-family model.

    Args:
        hf: A parsed Hugging Face ``config.json``.

    Raises:
        NotSupportedError: See `decoder_config`.
    """

    def __init__(self, hf: dict[str, Any]) -> None:
        super().__init__()
        self.config = decoder_config(hf)
        self.embed_tokens = nn.Embedding(self.config.vocabulary, self.config.width)
        self.layers = nn.ModuleList(DecoderLayer(hf, self.config) for _ in range(self.config.layers))
        self.norm = _Norm(self.config.width)

    def plan(self, segments: "_core.models.Segments", dtype: torch.dtype) -> "_core.models.DecoderPlan":
        """What a forward pass over a forest shares between its layers; products run in ``dtype``."""
        return _core.models.plan_decoder(segments, self.config, dtype, self.embed_tokens.weight.device)

    def forward(
        self, tokens: Tensor, plan: "_core.models.DecoderPlan", *, checkpoint: bool = False
    ) -> Tensor:
        """Final-norm states of packed tokens, with a graph through every layer for training.

        Args:
            tokens: Shape ``(T,)``, int64: ids of the forest's tokens.
            plan: From `plan`.
            checkpoint: Whether to keep only the input of each layer for the backward pass, which then computes the
                layer again.

        Returns:
            Shape ``(T, D)``, fp32 (fp64 where products run in fp64).
        """
        x = nn.functional.embedding(tokens, self.embed_tokens.weight).to(_core.models.state_dtype(plan.dtype))
        for layer in self.layers:
            if checkpoint:  # nothing in a layer is drawn from torch's generator: no state of it to restore
                x = recompute(layer, x, plan, use_reentrant=False, preserve_rng_state=False)
            else:
                x = layer(x, plan)
        return _core.models.rms_norm(x, self.norm.weight, self.config.norm_epsilon)

    def weights(self) -> "_core.models.DecoderWeights":
        """All present parameters, for the core's own loop over the layers (inference).

        Raises:
            TypeError: If a part has been replaced or wrapped, see `check_plain`.
        """
        check_plain(self.embed_tokens, nn.Embedding, "embed_tokens")
        check_plain(self.norm, _Norm, "norm")
        layers = []
        for number, layer in enumerate(self.layers):
            check_plain(layer, DecoderLayer, f"layers.{number}")
            layers.append(cast(DecoderLayer, layer).weights())
        return _core.models.DecoderWeights(self.embed_tokens.weight, layers, self.norm.weight)
