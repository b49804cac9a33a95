"""Backbones with random weights in the shapes of known models: speed and memory do not ask what a model has learnt."""

import json
import shutil
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from notellm.io.locks import make_once
from notellm.models.decoder import Decoder

COMMON = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "tie_word_embeddings": True}
COMMON |= {"hidden_act": "silu", "rms_norm_eps": 1e-5, "max_position_embeddings": 8192}
SHAPES = {
    # SmolLM2-135M
    "random-135m": {
        "vocab_size": 49152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "head_dim": 64,
        "rope_theta": 100000.0,
    },
    # Llama 3.2 1B, without its stretched angles
    "random-1b": {
        "vocab_size": 128256,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "rope_theta": 500000.0,
    },
    # to see that all runs
    "random-tiny": {
        "vocab_size": 49152,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "rope_theta": 100000.0,
    },
}
STANDARD_DEVIATION = 0.02
"""Of the matrices' numbers: what transformers begins with."""


def make(name: str, folder: Path, tokenizer: Path) -> Path:
    """Makes the Hugging Face folder of a shape once, with weights in bf16.

    Args:
        name: One of `SHAPES`.
        folder: Where; a complete one is returned as it is.
        tokenizer: A folder with tokenizer.json, tokenizer_config.json and a config.json that names the end token.
    """
    make_once(folder, (folder / "model.safetensors").is_file, partial(_make, SHAPES[name], folder, tokenizer))
    return folder


def _make(shape: dict[str, object], folder: Path, tokenizer: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        if (tokenizer / name).is_file():
            shutil.copy(tokenizer / name, folder)
    own = json.loads((tokenizer / "config.json").read_text())
    ends = {key: own.get(key) for key in ("bos_token_id", "eos_token_id")}
    (folder / "config.json").write_text(json.dumps(COMMON | shape | ends, indent=1))
    save_file(_weights(COMMON | shape), folder / "model.safetensors", metadata={"format": "pt"})


def _weights(config: dict[str, object]) -> dict[str, Tensor]:
    with torch.device("meta"):
        shapes = {name: weight.shape for name, weight in Decoder(config).named_parameters()}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    random = torch.Generator(device).manual_seed(0)
    weights = {}
    for name, shape in shapes.items():
        drawn = torch.empty(shape, dtype=torch.bfloat16, device=device)
        if len(shape) == 1:
            weights[f"model.{name}"] = drawn.fill_(1).cpu()
        else:
            weights[f"model.{name}"] = drawn.normal_(0, STANDARD_DEVIATION, generator=random).cpu()
    return weights
