"""Reads a folder with transformers: the model, its tokenizer, and what is saved again with it."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from notellm.errors import DataError
from notellm.io.json_files import read_json_object
from notellm.models import backbone, notellm_folder
from notellm.models import folder as model_folder
from notellm.models.config import refuse_quantised
from notellm.models.fields import Fields
from notellm.optional import importing


@dataclass(frozen=True)
class Read:
    """A backbone that transformers has loaded, with a row for [EMB]."""

    model: Any
    """In fp32, in evaluation mode."""
    outline: backbone.Outline
    kept: dict[str, bytes]

    @property
    def width(self) -> int:
        """Width ``D`` of its states."""
        return int(self.model.config.get_text_config().hidden_size)

    @property
    def layers(self) -> int:
        """Number of its layers."""
        return int(self.model.config.get_text_config().num_hidden_layers)


def read(path: Path, layers: int) -> Read:
    """Reads a folder.

    Args:
        path: The folder.
        layers: The first so many are kept; 0 = all.

    Raises:
        DataError: If a file is missing or damaged, transformers cannot load it, or a weight is missing or not finite.
        NotSupportedError: If transformers is not installed, or the checkpoint is quantised.
        ConfigError: If no end token is named.
    """
    hf = read_json_object(path / backbone.CONFIG)
    refuse_quantised(Fields(hf, str(path / backbone.CONFIG)))
    model = _load(path, layers)
    rows = int(model.get_input_embeddings().weight.shape[0])
    outline = backbone.outline_of(path, hf, backbone.text_part(hf), rows)
    if not (path / notellm_folder.EXTRA_CONFIG).exists():  # a saved model has [EMB]'s row already
        _add_emb_row(model, backbone.emb_token_id(outline.tokenizer))
    return Read(model.eval(), outline, model_folder.read_kept(path))


def _load(path: Path, layers: int) -> Any:
    with importing("TransformersNoteLLM", "transformers"):
        from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig
    try:
        with quietly():  # what transformers would say of keys is said below
            config = AutoConfig.from_pretrained(path, local_files_only=True)
            _keep_layers(config, layers, path)
            model, keys = AutoModelForCausalLM.from_pretrained(
                path, config=config, dtype=torch.float32, local_files_only=True, output_loading_info=True
            )
    except DataError:
        raise
    except Exception as error:  # many kinds, from files that are missing to families that are not known
        raise DataError(f"{path}: transformers must load it, but: {' '.join(str(error).split())}") from error
    if keys["missing_keys"] or keys["mismatched_keys"]:
        names = sorted(map(str, [*keys["missing_keys"], *keys["mismatched_keys"]]))
        raise DataError(f"{path}: must hold all weights of the model, but lacks {', '.join(names[:5])}")
    if keys["unexpected_keys"] and not layers:
        names = sorted(keys["unexpected_keys"])
        warnings.warn(f"{path}: transformers does not use {', '.join(names[:5])}", stacklevel=4)
    for name, value in model.named_parameters():
        model_folder.check_tensor(value, name, value.shape, path)
    model.generation_config = GenerationConfig()  # what to do is said in each call
    return model


@contextmanager
def quietly() -> Iterator[None]:
    """Keeps transformers from writing bars and remarks of its own."""
    from transformers.utils import logging

    verbosity, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if has_bars:
            logging.enable_progress_bar()


def _keep_layers(config: Any, layers: int, path: Path) -> None:
    text = config.get_text_config()
    there = text.num_hidden_layers
    if not 0 <= layers <= there:
        raise DataError(f"{path}: layers must be in [0, {there}], but {layers} are asked for")
    if layers:
        text.num_hidden_layers = layers
        if getattr(text, "layer_types", None):
            text.layer_types = text.layer_types[:layers]


def _add_emb_row(model: Any, emb: int) -> None:
    """Gives [EMB] the mean of the rows of the token embedding, and of the head, as the core does."""
    matrices = [model.get_input_embeddings(), model.get_output_embeddings()]
    rows = [backbone.with_emb_row(one.weight.detach().clone(), emb) for one in matrices if one is not None]
    if emb == matrices[0].weight.shape[0]:
        model.resize_token_embeddings(emb + 1, mean_resizing=False)
    matrices = [model.get_input_embeddings(), model.get_output_embeddings()]
    with torch.no_grad():
        for one, weight in zip((one for one in matrices if one is not None), rows, strict=True):
            one.weight.copy_(weight)
