"""Shared fixtures: a tiny random backbone folder, a few notes, and the real SmolLM2 where it can be had."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

import notellm
from notellm.data.notes import Notes
from notellm.errors import DataError
from notellm.io.cache import cache_folder
from notellm.models import smollm2
from notellm.models.decoder import Decoder
from notellm.models.notellm import NoteLLM
from samples import WORDS, make_notes

TINY = {
    "model_type": "llama",
    "vocab_size": 400,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "bos_token_id": None,
    "eos_token_id": 0,
}


def pytest_collection_modifyitems(items):
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture
def use():
    """Chooses a set of loops for this test; "" is the best that this run's processor has."""
    best = notellm.instruction_set()
    yield lambda name: notellm.set_instruction_set(name or best)
    notellm.set_instruction_set(best)


@pytest.fixture
def native_bf16(monkeypatch):
    """Decides whether the CPU counts as one that multiplies bf16 natively, whatever this one is."""

    def decide(is_native):
        monkeypatch.setattr("notellm.precision.cpu_multiplies_bf16", lambda: is_native)

    return decide


@pytest.fixture(scope="session")
def notes() -> Notes:
    return make_notes(12)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    """A Hugging Face folder with a random two-layer Llama and a byte-level BPE of 400 tokens."""
    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    prompt_like = (
        "Extract the note information in json format, compress it into one word. The category is: title"
    )
    tokenizer.train_from_iterator([WORDS, prompt_like] * 3, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    hf = TINY | {"vocab_size": tokenizer.get_vocab_size()}
    (folder / "config.json").write_text(json.dumps(hf))
    torch.manual_seed(0)
    decoder = Decoder(hf)
    weights = {f"model.{name}": value.detach() for name, value in decoder.named_parameters()}
    for name, value in weights.items():
        torch.nn.init.normal_(value, 1.0 if "norm" in name else 0.0, 0.1 if "norm" in name else 0.3)
    save_file(weights, folder / "model.safetensors")
    return folder


@pytest.fixture
def tiny(tiny_folder) -> NoteLLM:
    return NoteLLM.from_pretrained(tiny_folder, dim=6)


@pytest.fixture(scope="session")
def smollm2_folder() -> Path:
    """The real SmolLM2-135M-Instruct; skips where its package can neither be found nor downloaded."""
    try:
        return smollm2.prepare(cache_folder("smollm2-135m"))
    except DataError as error:
        pytest.skip(f"SmolLM2 is not here: {error}")
