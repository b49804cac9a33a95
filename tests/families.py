"""Folders of tiny random models of families that the core does not compute."""

import json

from transformers import AutoConfig

from model_folders import TINY, changed, fitting, write_json

SIZES = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
    "eos_token_id",
)
FAMILIES = {
    "gemma": {"head_dim": 8},
    "gemma2": {
        "head_dim": 8,
        "sliding_window": 16,
        "final_logit_softcapping": 5.0,
        "query_pre_attn_scalar": 8,
    },
    "gemma3_text": {"head_dim": 8, "sliding_window": 16},
    "phi": {"num_key_value_heads": 4},
    "phi3": {},
    "olmo": {"clip_qkv": 2.0},
    "olmo2": {},
    "cohere": {"logit_scale": 0.25},
    "gpt_neox": {"num_key_value_heads": ...},
    "qwen3_moe": {"head_dim": 8, "moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2},
}
"""The `model_type` of each, and what it has beside `SIZES` of the tiny model; ``...``: it lacks the field."""


def write_family(tiny_folder, target, family, **changes):
    """A folder with a random model of a family, and the tokenizer of the tiny one.

    Args:
        tiny_folder: What `write_tiny` wrote.
        target: Where to.
        family: A key of `FAMILIES`, or another `model_type` that has the same sizes.
        changes: Fields that its ``config.json`` has otherwise.
    """
    fields = {name: TINY[name] for name in SIZES} | {"pad_token_id": 0} | FAMILIES.get(family, {}) | changes
    fields["vocab_size"] = json.loads((tiny_folder / "config.json").read_text())["vocab_size"]
    config = {name: value for name, value in fields.items() if value is not ...} | {"model_type": family}
    changed(tiny_folder, target, tensors=fitting(config))
    write_json(target / "config.json", AutoConfig.for_model(**config).to_dict())
    return target
