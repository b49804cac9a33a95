"""Model folders that tests write: a tiny one, and the same with its configuration and its tensors changed."""

import json
import shutil

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from notellm.models.decoder import Decoder
from samples import WORDS

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
LLAMA3 = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
"""How Llama 3 stretches rotary positions, at a length that texts of tests exceed; without `rope_type` and theta."""


def write_tiny(folder):
    """A Hugging Face folder with a random two-layer Llama and a byte-level BPE of 400 tokens."""
    folder.mkdir(exist_ok=True)
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


def changed(source, target, *, config=(), tensors=None, files=()):
    """A copy of a model folder.

    Args:
        source: The folder copied.
        target: Where to.
        config: Fields that ``config.json`` has otherwise; ``...`` removes one.
        tensors: Makes the tensors from those of the source.
        files: Contents by name: JSON values.
    """
    shutil.copytree(source, target)
    hf = json.loads((target / "config.json").read_text()) | dict(config)
    write_json(target / "config.json", {name: value for name, value in hf.items() if value is not ...})
    if tensors is not None:
        weights = tensors(load_file(target / "model.safetensors"))
        save_file(weights, target / "model.safetensors", {"format": "pt"})
    for name, content in dict(files).items():
        write_json(target / name, content)
    return target


def write_json(path, value):
    path.write_text(json.dumps(value))


def fitting(config):
    """Makes random tensors of the shapes that a configuration asks for, as transformers names them."""

    def tensors(_):
        from transformers import AutoConfig, AutoModelForCausalLM

        torch.manual_seed(3)
        hf = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
        is_tied = hf.config.tie_word_embeddings
        made = {
            name: value
            for name, value in hf.state_dict().items()
            if not (is_tied and name == "lm_head.weight")
        }
        return {name: value + 0.3 * torch.randn_like(value) for name, value in made.items()}

    return tensors


def id_of(change):
    """A test's name, from the fields it changes."""
    return (
        ",".join(f"{name}={value}"[:40] for name, value in change.items()) if isinstance(change, dict) else ""
    )
