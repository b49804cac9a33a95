"""Configurations of backbones: every field is used, known to be harmless, or refused by its name."""

import pytest
import torch

from model_folders import changed, id_of
from notellm.errors import ConfigError, DataError, NotSupportedError
from notellm.models.fields import HARMLESS, NEUTRAL, READ
from notellm.models.notellm import NoteLLM

CONFIGURATIONS = [
    # of the wrong type, or missing
    ({"hidden_size": "32"}, DataError, "hidden_size must be a whole number in .*, but is '32'"),
    ({"hidden_size": 32.0}, DataError, "hidden_size must be a whole number in .*, but is 32.0"),
    ({"hidden_size": True}, DataError, "hidden_size must be a whole number in .*, but is True"),
    ({"hidden_size": ...}, DataError, "must have hidden_size, a whole number, but lacks it"),
    ({"hidden_size": None}, DataError, "must have hidden_size, a whole number, but lacks it"),
    ({"hidden_size": 0}, DataError, "hidden_size must be a whole number in .*, but is 0"),
    ({"hidden_size": -32}, DataError, "hidden_size must be a whole number in .*, but is -32"),
    ({"hidden_size": 10**30}, DataError, "hidden_size must be a whole number in .*, but is 1000"),
    (
        {"intermediate_size": [48]},
        DataError,
        r"intermediate_size must be a whole number in .*, but is \[48\]",
    ),
    ({"num_hidden_layers": "2"}, DataError, "num_hidden_layers must be a whole number"),
    ({"num_hidden_layers": ...}, DataError, "must have num_hidden_layers"),
    ({"num_attention_heads": {}}, DataError, "num_attention_heads must be a whole number"),
    ({"num_attention_heads": ...}, DataError, "must have num_attention_heads"),
    ({"num_key_value_heads": "2"}, DataError, "num_key_value_heads must be a whole number"),
    ({"head_dim": 8.5}, DataError, "head_dim must be a whole number"),
    ({"vocab_size": "many"}, DataError, "vocab_size must be a whole number"),
    ({"vocab_size": ...}, DataError, "must have vocab_size"),
    ({"max_position_embeddings": "long"}, DataError, "max_position_embeddings must be a whole number"),
    ({"rms_norm_eps": "1e-5"}, DataError, "rms_norm_eps must be a number above 0, but is '1e-5'"),
    ({"rms_norm_eps": -1.0}, DataError, "rms_norm_eps must be a number above 0, but is -1.0"),
    ({"rope_theta": "big"}, DataError, "rope_theta must be a number above 0, but is 'big'"),
    ({"rope_theta": 0}, DataError, "rope_theta must be a number above 0, but is 0"),
    ({"rope_theta": float("inf")}, DataError, "rope_theta must be a number above 0, but is inf"),
    ({"rope_scaling": 4.0}, DataError, "rope_scaling must be an object, but is 4.0"),
    ({"rope_parameters": ["default"]}, DataError, "rope_parameters must be an object, but is"),
    ({"tie_word_embeddings": "yes"}, DataError, "tie_word_embeddings must be true or false, but is 'yes'"),
    ({"attention_bias": "no"}, DataError, "attention_bias must be true or false, but is 'no'"),
    ({"eos_token_id": "</s>"}, DataError, r"config.json: eos_token_id must be in \[0, \d+\), but is '</s>'"),
    ({"eos_token_id": 5000}, DataError, r"eos_token_id must be in \[0, \d+\), but is 5000"),
    ({"eos_token_id": -1}, DataError, r"eos_token_id must be in \[0, \d+\), but is -1"),
    ({"eos_token_id": [0, 5000]}, DataError, r"eos_token_id must be in \[0, \d+\), but is 5000"),
    ({"eos_token_id": True}, DataError, r"eos_token_id must be in \[0, \d+\), but is True"),
    ({"eos_token_id": ...}, ConfigError, "must name an eos_token_id, or generation_config.json must, but"),
    ({"eos_token_id": []}, ConfigError, "must name an eos_token_id, or generation_config.json must, but"),
    # at odds with itself
    (
        {"num_key_value_heads": 3},
        DataError,
        "num_key_value_heads must divide num_attention_heads, but 3 does not divide 4",
    ),
    (
        {"model_type": "qwen2", "num_key_value_heads": ...},
        DataError,
        "num_key_value_heads must divide num_attention_heads, but 32 does not divide 4",
    ),
    (
        {"num_attention_heads": 5, "num_key_value_heads": 5, "head_dim": ...},
        DataError,
        "num_attention_heads must divide hidden_size where there is no head_dim, but 5 does not divide 32",
    ),
    ({"head_dim": 7}, DataError, "head_dim must be even for rotary positions, but is 7"),
    (
        {"rope_parameters": {"rope_theta": 5.0}, "rope_scaling": {"rope_type": "llama3"}},
        DataError,
        "rope_parameters and rope_scaling must say the same, but are",
    ),
    (
        {"rope_parameters": {"rope_theta": 5.0}},
        DataError,
        "rope_theta must be the same everywhere, but is 10000.0 and 5.0",
    ),
    (
        {"rope_scaling": {"rope_type": "llama3"}},
        DataError,
        "rope_scaling: must have low_freq_factor, a number",
    ),
    (
        {
            "rope_scaling": {
                "rope_type": "llama3",
                "factor": 8,
                "low_freq_factor": 4,
                "high_freq_factor": 4,
                "original_max_position_embeddings": 64,
            }
        },
        DataError,
        "high_freq_factor must be above low_freq_factor, but is 4.0 against 4.0",
    ),
    # at odds with the tensors
    ({"hidden_size": 64}, DataError, r"tensor model.*must have shape .*64.*, but has .*32"),
    ({"intermediate_size": 2**31 - 1}, DataError, r"tensor model.* must have shape"),
    ({"vocab_size": 2**31 - 1}, DataError, r"model.embed_tokens.weight must have shape \(2147483647, 32\)"),
    (
        {"num_hidden_layers": 3},
        DataError,
        "must hold the tensors of 3 layers, as config.json says, but holds those of 2",
    ),
    ({"num_hidden_layers": 2**31 - 1}, DataError, "must hold the tensors of 2147483647 layers"),
    (
        {"num_hidden_layers": 1},
        NotSupportedError,
        "but holds model.layers.1.input_layernorm.weight and 8 others",
    ),
    (
        {"attention_bias": True},
        DataError,
        "must hold the tensor model.layers.0.self_attn.k_proj.bias, but lacks it",
    ),
    ({"model_type": "qwen3"}, DataError, "must hold the tensor model.layers.0.self_attn.k_norm.weight"),
    # what the core does not compute
    ({"model_type": "gpt2"}, NotSupportedError, "model_type must be one of llama, .*, but is 'gpt2'"),
    ({"model_type": ...}, NotSupportedError, "model_type must be one of llama, .*, but is None"),
    ({"model_type": ["llama"]}, NotSupportedError, "model_type must be one of llama, .*, but is"),
    ({"hidden_act": "gelu"}, NotSupportedError, "hidden_act must be silu, but is 'gelu'"),
    (
        {"model_type": "mistral", "sliding_window": None, "mlp_bias": True},
        NotSupportedError,
        "mlp_bias must be false",
    ),
    (
        {"model_type": "mistral", "sliding_window": None, "attention_bias": True},
        NotSupportedError,
        "attention_bias must be false for a mistral",
    ),
    ({"sliding_window": 64}, NotSupportedError, "sliding_window must be null, but is 64"),
    (
        {"model_type": "mistral"},
        NotSupportedError,
        "sliding_window must be null, but is absent, .* means 4096",
    ),
    (
        {"model_type": "qwen2", "use_sliding_window": True, "max_window_layers": 1},
        NotSupportedError,
        "sliding_window must be null, but is absent, .* means 4096",
    ),
    (
        {"layer_types": ["full_attention", "sliding_attention"]},
        NotSupportedError,
        "layer_types must be full_attention for every layer",
    ),
    (
        {"rope_scaling": {"rope_type": "yarn"}},
        NotSupportedError,
        "rope_type must be one of .*llama3, but is 'yarn'",
    ),
    (
        {"rope_scaling": {"type": "linear", "factor": 2.0}},
        NotSupportedError,
        "rope_type must .* but is 'linear'",
    ),
    ({"rope_scaling": {"rope_type": ["llama3"]}}, NotSupportedError, "rope_type must be one of"),
    ({"rope_scaling": {"mrope_section": [1, 1, 2]}}, NotSupportedError, "mrope_section must be absent"),
    ({"partial_rotary_factor": 0.5}, NotSupportedError, "partial_rotary_factor must be 1 .*, but is 0.5"),
    (
        {"rope_parameters": {"partial_rotary_factor": 0.5}},
        NotSupportedError,
        "rope_parameters: partial_rotary_factor must be 1 .*, but is 0.5",
    ),
    ({"is_causal": False}, NotSupportedError, "is_causal must be True .*, but is False"),
    ({"logits_scaling": 8.0}, NotSupportedError, "logits_scaling must be 1 .*, but is 8.0"),
    (
        {"auto_map": {"AutoModel": "modeling_x.X"}},
        NotSupportedError,
        "auto_map must be without code of its own",
    ),
    (
        {"final_logit_softcapping": 30.0},
        NotSupportedError,
        "every field must be known .*final_logit_softcapping",
    ),
    ({"num_experts": 8}, NotSupportedError, r"but num_experts is not \(it is 8\); try without it"),
    (
        {"quantization_config": {"quant_method": "gptq", "bits": 4}},
        NotSupportedError,
        "quantization_config says 'gptq'; try the checkpoint that it was made from",
    ),
    ({"quantization_config": {"load_in_8bit": True}}, NotSupportedError, "says {'load_in_8bit': True}"),
    ({"quantization_config": "awq"}, NotSupportedError, "quantization_config says 'awq'"),
]


@pytest.mark.parametrize(("change", "error", "message"), CONFIGURATIONS, ids=id_of)
def test_bad_configurations(tiny_folder, tmp_path, change, error, message):
    folder = changed(tiny_folder, tmp_path / "bad", config=change)
    with pytest.raises(error, match=message) as raised:
        NoteLLM.from_pretrained(folder)
    assert str(raised.value).startswith(str(folder))


@pytest.mark.parametrize(
    "change",
    [
        {"bos_token_id": 5000, "pad_token_id": -1},
        {"attention_dropout": 0.1, "use_cache": False, "pretraining_tp": 2},
        {"torch_dtype": "bfloat16", "architectures": ["LlamaModel"], "_name_or_path": "x"},
        {"is_causal": True, "partial_rotary_factor": 1.0, "use_mrope": False, "logits_scaling": 1},
        {"auto_map": {"AutoTokenizer": ["x", None]}},
        {"num_experts": None, "final_logit_softcapping": None, "quantization_config": None},
        {"layer_types": ["full_attention"] * 2},
    ],
    ids=id_of,
)
def test_what_changes_nothing_is_let_through(tiny_folder, tiny, notes, tmp_path, change):
    folder = changed(tiny_folder, tmp_path / "good", config=change)
    assert torch.equal(NoteLLM.from_pretrained(folder, dim=6).embed(notes), tiny.embed(notes))


def test_every_field_that_transformers_writes_for_these_families_is_accounted_for():
    from transformers import AutoConfig

    for kind in ("llama", "mistral", "qwen2", "qwen3"):
        fields = AutoConfig.for_model(kind, num_hidden_layers=1).to_dict().keys()
        assert fields <= READ | HARMLESS.keys() | NEUTRAL.keys()
    assert not (READ & HARMLESS.keys()) | (READ & NEUTRAL.keys()) | (HARMLESS.keys() & NEUTRAL.keys())
