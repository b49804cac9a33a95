"""bf16 keeps up with fp32 in every product that a model makes, on a processor that multiplies it or not.

Where no library multiplies bf16 natively LibTorch's own product is a scalar loop, ten to a hundred times slower than
fp32: one such product anywhere makes a training step take minutes.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from notellm.models.decoder import Decoder
from notellm.older_cpu import environment

SCRIPT = Path(__file__).parents[2] / "bf16_speeds.py"
SMOLLM2 = {
    "model_type": "llama",
    "vocab_size": 49_152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 2,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "eos_token_id": 0,
}
"""Two layers of SmolLM2-135M's shapes."""
LEAST_SHARE = 0.4
"""Of fp32's speed. 0.8 is what it is on a quiet machine; a scalar product has less than 0.1."""
LEAST_LOSS = 2e-4
"""Seconds that a product must lose to count: the smallest take microseconds, most of them oneDNN's call."""


@pytest.fixture(scope="module")
def backbone(tiny_folder, tmp_path_factory):
    """Random weights; the tokenizer has 400 of the tokens."""
    folder = tmp_path_factory.mktemp("smollm2")
    shutil.copy(tiny_folder / "tokenizer.json", folder)
    (folder / "config.json").write_text(json.dumps(SMOLLM2))
    torch.manual_seed(0)
    decoder = Decoder(SMOLLM2)
    save_file(
        {f"model.{name}": p.detach() for name, p in decoder.named_parameters()}, folder / "model.safetensors"
    )
    return folder


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param({}, id="as it is"),
        pytest.param(environment("avx2"), id="as with AVX2", marks=pytest.mark.needs_set("avx2")),
    ],
)
def test_bf16_keeps_up_with_fp32(variables, backbone):
    command = [sys.executable, str(SCRIPT), str(backbone)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=os.environ | variables, check=True)
    measured = json.loads(done.stdout)
    assert measured["loops"] == variables.get("NOTELLM_INSTRUCTION_SET", measured["loops"])
    shares = {name: s["fp32"] / s["bf16"] for name, s in measured["seconds"].items()}
    print("\n".join(f"{share:5.2f} {name}" for name, share in sorted(shares.items(), key=lambda s: s[1])))
    lost = {name: s["bf16"] - s["fp32"] for name, s in measured["seconds"].items()}
    slow = {
        name: round(share, 3)
        for name, share in shares.items()
        if share < LEAST_SHARE and lost[name] > LEAST_LOSS
    }
    assert not slow, f"share of fp32's speed that bf16 has: {slow}"
