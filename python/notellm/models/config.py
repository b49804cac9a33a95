"""From the ``config.json`` of a Hugging Face folder to the core's decoder shape."""

from dataclasses import dataclass
from typing import Any

from notellm import _core
from notellm.errors import DataError, NotSupportedError
from notellm.io.json_tree import shortened
from notellm.models.fields import Fields


@dataclass(frozen=True)
class Family:
    """The defaults of transformers for a ``model_type``, for fields that ``config.json`` does not have."""

    key_heads: int = 0  # 0: as many as heads
    head_dim: int = 0  # 0: hidden_size / num_attention_heads
    sliding_window: int = 0  # 0: none
    has_qkv_bias: bool = False  # whatever attention_bias says
    reads_attention_bias: bool = False
    reads_mlp_bias: bool = False
    has_head_norms: bool = False


FAMILIES = {
    "llama": Family(reads_attention_bias=True, reads_mlp_bias=True),
    "mistral": Family(key_heads=8, sliding_window=4096),
    "qwen2": Family(key_heads=32, sliding_window=4096, has_qkv_bias=True),
    "qwen3": Family(
        key_heads=32, head_dim=128, sliding_window=4096, reads_attention_bias=True, has_head_norms=True
    ),
}
"""``model_type`` values whose blocks the core computes."""

_ROPE_FIELDS = {
    "default": ("rope_theta", "partial_rotary_factor"),
    "llama3": (
        *("rope_theta", "partial_rotary_factor", "factor", "low_freq_factor", "high_freq_factor"),
        "original_max_position_embeddings",
    ),
}


@dataclass(frozen=True)
class BlockParts:
    """The optional parts of a decoder's blocks, beside their matrices and two norms."""

    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    head_norms: bool = False


def decoder_config(hf: dict[str, Any], where: str = "config.json") -> "_core.models.DecoderConfig":
    """Shape of the decoder that a ``config.json`` describes.

    Args:
        hf: The parsed ``config.json``.
        where: The source of ``hf`` for error messages, such as the file.

    Returns:
        The core's ``DecoderConfig``.

    Raises:
        DataError: If a field is missing, of the wrong type or contradicts another one.
        NotSupportedError: If the model is of another family, uses a part that the core lacks, or has a field that is
            not known here.
    """
    fields = Fields(hf, where)
    family = _family(fields)
    _check_supported(fields, family)
    heads = fields.whole("num_attention_heads")
    return _core.models.DecoderConfig(
        width=fields.whole("hidden_size"),
        inner_width=fields.whole("intermediate_size"),
        layers=fields.whole("num_hidden_layers"),
        heads=heads,
        key_heads=_key_heads(fields, family, heads),
        vocabulary=fields.whole("vocab_size"),
        max_positions=fields.whole("max_position_embeddings", 0, least=0),
        norm_epsilon=fields.number("rms_norm_eps", 1e-6),
        rope=_rope_options(fields, _head_dim(fields, family)),
    )


def block_parts(hf: dict[str, Any], where: str = "config.json") -> BlockParts:
    """The optional parts of the blocks, beside their matrices and norms.

    Raises:
        DataError: If a field is of the wrong type.
        NotSupportedError: If the model is of another family.
    """
    fields = Fields(hf, where)
    family = _family(fields)
    has_bias = family.reads_attention_bias and fields.flag("attention_bias")
    return BlockParts(
        qkv_bias=family.has_qkv_bias or has_bias,
        output_bias=has_bias,
        mlp_bias=family.reads_mlp_bias and fields.flag("mlp_bias"),
        head_norms=family.has_head_norms,
    )


def _family(fields: Fields) -> Family:
    kind = fields.values.get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise fields.unsupported("model_type", f"one of {', '.join(FAMILIES)}")
    return FAMILIES[kind]


def _check_supported(fields: Fields, family: Family) -> None:
    """Refuses fields that ask for a computation that the core does not have, and unknown fields."""
    refuse_quantised(fields)
    if fields.values.get("hidden_act", "silu") not in ("silu", "swish"):
        raise fields.unsupported("hidden_act", "silu")
    if fields.flag("attention_bias") and not (family.reads_attention_bias or family.has_qkv_bias):
        raise fields.unsupported("attention_bias", f"false for a {fields.values['model_type']}")
    if fields.flag("mlp_bias") and not family.reads_mlp_bias:
        raise fields.unsupported("mlp_bias", f"false for a {fields.values['model_type']}")
    _refuse_windows(fields, family)
    fields.refuse_unknown()


def refuse_quantised(fields: Fields) -> None:
    """Refuses quantised checkpoints.

    Raises:
        NotSupportedError: If there is a ``quantization_config``; names its method.
    """
    found = fields.values.get("quantization_config")
    if not found:
        return
    method = found.get("quant_method") if isinstance(found, dict) else None
    raise NotSupportedError(
        f"{fields.where}: weights must be stored as floating-point numbers, but quantization_config says "
        f"{shortened(method or found)}; try the checkpoint that it was made from"
    )


def _refuse_windows(fields: Fields, family: Family) -> None:
    """Refuses sliding windows: here every token attends to all tokens before it."""
    kinds = fields.values.get("layer_types")
    if kinds is not None and (not isinstance(kinds, list) or any(kind != "full_attention" for kind in kinds)):
        raise fields.unsupported("layer_types", "full_attention for every layer")
    window = fields.whole("sliding_window", family.sliding_window, least=0)
    if fields.values.get("sliding_window", window) is None or not window:
        return  # null means none; an absent field means the family's default
    if fields.values["model_type"].startswith("qwen"):
        is_used = fields.flag("use_sliding_window") and kinds is None
        if not is_used or fields.whole("num_hidden_layers") <= fields.whole("max_window_layers", 28, least=0):
            return
    elif fields.values["model_type"] == "llama" and fields.values.get("use_sliding_window") is False:
        return
    is_given = "sliding_window" in fields.values
    says = "is" if is_given else "is absent, which for this family means"
    raise NotSupportedError(f"{fields.where}: sliding_window must be null, but {says} {window}")


def _key_heads(fields: Fields, family: Family, heads: int) -> int:
    name = "num_key_value_heads"
    default = heads if name in fields.values else family.key_heads or heads  # null: as many as heads
    key_heads = fields.whole(name, default)
    if heads % key_heads:
        raise DataError(
            f"{fields.where}: {name} must divide num_attention_heads, but {key_heads} does not divide {heads}"
        )
    return key_heads


def _head_dim(fields: Fields, family: Family) -> int:
    width, heads = fields.whole("hidden_size"), fields.whole("num_attention_heads")
    default = 0 if "head_dim" in fields.values else family.head_dim
    if fields.values.get("head_dim") is None and not default and width % heads:
        raise DataError(
            f"{fields.where}: num_attention_heads must divide hidden_size where there is no head_dim, but {heads} "
            f"does not divide {width}"
        )
    head_dim = fields.whole("head_dim", default or width // heads)
    if head_dim % 2:
        raise DataError(f"{fields.where}: head_dim must be even for rotary positions, but is {head_dim}")
    return head_dim


def _rope_options(fields: Fields, head_dim: int) -> "_core.models.RopeOptions":
    rope = _rope_fields(fields)
    kind = _rope_kind(rope.values)
    if kind not in tuple(_ROPE_FIELDS):
        raise NotSupportedError(
            f"{rope.where}: rope_type must be one of {', '.join(_ROPE_FIELDS)}, but is {shortened(kind)}"
        )
    for name, value in rope.values.items():
        unread = kind == "default" and name in _ROPE_FIELDS["llama3"]  # transformers ignores them, too
        if name not in (*_ROPE_FIELDS[kind], "rope_type", "type") and value is not None and not unread:
            raise NotSupportedError(
                f"{rope.where}: {name} must be absent for rope_type {kind}, but is {shortened(value)}"
            )
    if rope.values.get("partial_rotary_factor") not in (None, 1):
        raise rope.unsupported("partial_rotary_factor", "1 (a part of each head cannot be rotated here)")
    theta = rope.number("rope_theta", fields.number("rope_theta", 10000.0))
    if fields.values.get("rope_theta") not in (None, theta):
        raise DataError(
            f"{fields.where}: rope_theta must be the same everywhere, but is {fields.values['rope_theta']} and {theta}"
        )
    if kind == "default":
        return _core.models.RopeOptions(head_dim=head_dim, theta=theta)
    low, high = rope.number("low_freq_factor"), rope.number("high_freq_factor")
    if high <= low:
        raise DataError(
            f"{rope.where}: high_freq_factor must be above low_freq_factor, but is {high} against {low}"
        )
    return _core.models.RopeOptions(
        head_dim=head_dim,
        theta=theta,
        is_llama3=True,
        factor=rope.number("factor"),
        low_frequency_factor=low,
        high_frequency_factor=high,
        original_max_positions=_original_positions(fields, rope),
    )


def _rope_kind(values: dict[str, Any]) -> Any:
    return values.get("rope_type") or values.get("type") or "default"


def _rope_fields(fields: Fields) -> Fields:
    """The object that describes rotary positions; transformers 5 calls it ``rope_parameters``."""
    new, old = fields.part("rope_parameters"), fields.part("rope_scaling")
    if not new.values or not old.values:
        return new if new.values else old

    def said(values: dict[str, Any]) -> dict[str, Any]:
        rest = {k: v for k, v in values.items() if k not in ("rope_type", "type", "rope_theta")}
        return {"kind": _rope_kind(values)} | rest

    if said(new.values) != said(old.values):
        raise DataError(
            f"{fields.where}: rope_parameters and rope_scaling must say the same, but are {shortened(new.values)} and "
            f"{shortened(old.values)}; try without the one that is wrong"
        )
    return new


def _original_positions(fields: Fields, rope: Fields) -> int:
    """The context length of the original training; as in transformers the outer field has precedence."""
    name = "original_max_position_embeddings"
    inner = rope.whole(name, fields.whole(name, fields.whole("max_position_embeddings")))
    if fields.values.get(name) not in (None, inner):
        raise DataError(
            f"{fields.where}: {name} must be the same everywhere, but is {fields.values[name]} and {inner}"
        )
    return inner
