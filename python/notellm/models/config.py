"""From the ``config.json`` of a Hugging Face folder to the core's decoder shape."""

from typing import Any

from notellm import _core
from notellm.errors import NotSupportedError

MODEL_TYPES = ("llama", "mistral", "qwen2", "qwen3")
"""``model_type`` values whose blocks the core computes."""


def decoder_config(hf: dict[str, Any]) -> "_core.models.DecoderConfig":
    """Shape of the decoder that a ``config.json`` describes.

    Args:
        hf: The parsed ``config.json``.

    Returns:
        The core's ``DecoderConfig``.

    Raises:
        NotSupportedError: If the model is of another family or uses a part that the core lacks.
    """
    _check_supported(hf)
    config = _core.models.DecoderConfig()
    config.width = hf["hidden_size"]
    config.inner_width = hf["intermediate_size"]
    config.layers = hf["num_hidden_layers"]
    config.heads = hf["num_attention_heads"]
    config.key_heads = hf.get("num_key_value_heads") or config.heads
    config.vocabulary = hf["vocab_size"]
    config.max_positions = hf.get("max_position_embeddings") or 0
    config.norm_epsilon = hf.get("rms_norm_eps", 1e-6)
    config.rope = _rope_options(hf)
    return config


def _check_supported(hf: dict[str, Any]) -> None:
    faults = {
        f"model_type {hf.get('model_type')!r}": hf.get("model_type") not in MODEL_TYPES,
        f"hidden_act {hf.get('hidden_act')!r}": hf.get("hidden_act", "silu") != "silu",
        "mlp_bias": bool(hf.get("mlp_bias")),
        "attention_bias": bool(hf.get("attention_bias")),
        "a sliding window": bool(hf.get("sliding_window")) and hf.get("use_sliding_window", True),
    }
    for what, is_there in faults.items():
        if is_there:
            raise NotSupportedError(
                f"decoder_config: the backbone must be one of {', '.join(MODEL_TYPES)} with SwiGLU, full attention and "
                f"no extra biases, but has {what}"
            )


def _rope_options(hf: dict[str, Any]) -> "_core.models.RopeOptions":
    options = _core.models.RopeOptions()
    options.head_dim = hf.get("head_dim") or hf["hidden_size"] // hf["num_attention_heads"]
    # transformers 5 moved rope_theta and rope_scaling into rope_parameters
    scaling = hf.get("rope_parameters") or hf.get("rope_scaling") or {}
    options.theta = scaling.get("rope_theta") or hf.get("rope_theta", 10000.0)
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind == "llama3":
        options.is_llama3 = True
        options.factor = scaling["factor"]
        options.low_frequency_factor = scaling["low_freq_factor"]
        options.high_frequency_factor = scaling["high_freq_factor"]
        options.original_max_positions = scaling["original_max_position_embeddings"]
    elif kind != "default":
        raise NotSupportedError(f"decoder_config: rope_type must be default or llama3, but is {kind!r}")
    return options
