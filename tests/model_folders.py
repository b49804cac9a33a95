"""Model folders that tests write: the tiny one with its configuration and its tensors changed."""

import json
import shutil

import torch
from safetensors.torch import load_file, save_file


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
