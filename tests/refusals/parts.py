"""Configurations, weights and plans of a tiny decoder, right ones and wrong ones."""

import torch

from notellm import _core
from notellm.models.decoder import Decoder
from refusals import floats

models = _core.models
CPU = torch.device("cpu")
HF = {
    "model_type": "llama",
    "vocab_size": 17,
    "hidden_size": 12,
    "intermediate_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "head_dim": 4,
}


def layer_of(**changes):
    torch.manual_seed(1)
    layer = Decoder(HF).layers[0]
    a, m = layer.self_attn, layer.mlp
    parts = {
        "input_norm": layer.input_layernorm.weight,
        "post_norm": layer.post_attention_layernorm.weight,
        "query": a.q_proj.weight,
        "key": a.k_proj.weight,
        "value": a.v_proj.weight,
        "output": a.o_proj.weight,
        "gate": m.gate_proj.weight,
        "up": m.up_proj.weight,
        "down": m.down_proj.weight,
    }
    return {name: value.detach() for name, value in parts.items()} | changes


def plan_of(segments=None, compute=torch.float32, config=None, rows=None):
    return models.plan_decoder(
        segments or models.Segments([0, 3, 5], [-1, 0]), config or Decoder(HF).config, compute, CPU, rows
    )


def config_of(**changes):
    own = {"width": 12, "inner_width": 8, "layers": 2, "heads": 4, "key_heads": 2, "vocabulary": 17}
    rope = {"head_dim": 4} | changes.pop("rope", {})
    return models.DecoderConfig(**(own | changes), rope=models.RopeOptions(**rope))


def decoder_weights(**changes):
    parts = {
        "embedding": floats(17, 12),
        "layers": [models.LayerWeights(**layer_of()) for _ in range(2)],
        "norm": floats(12),
    }
    return models.DecoderWeights(**(parts | changes))


def bad_configs():
    return [
        config_of(heads=4, key_heads=3),
        config_of(heads=0),
        config_of(key_heads=0),
        config_of(key_heads=-2, heads=-4),
        config_of(width=13),
        config_of(width=-1),
        config_of(inner_width=9),
        config_of(rope={"head_dim": 3}),
        config_of(rope={"head_dim": 0}),
        config_of(rope={"head_dim": 6}),
        config_of(rope={"theta": float("nan")}),
    ]
