"""What a model folder says of a NoteLLM before its weights are read: shape, tokenizer, [EMB], prompt."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer
from torch import Tensor

from notellm.cache import cache_folder
from notellm.errors import ConfigError, DataError
from notellm.json_files import read_json_object
from notellm.models import folder as model_folder
from notellm.models import smollm2
from notellm.models.pooling import COMPRESSION
from notellm.progress import ProgressFn
from notellm.prompts import Prompt, PromptConfig

EMB_TOKEN = "[EMB]"
FORMAT = 2
"""Version of `notellm.json`; a reader refuses what is newer. 1 knew neither ``state`` of a prompt nor ``pooling``."""

FETCHED = "smollm2-135m"
"""The path that stands for the model that we fetch."""

EXTRA_CONFIG, EXTRA_WEIGHTS = "notellm.json", "notellm.safetensors"


def read_prompt(path: str | Path, config: PromptConfig) -> Prompt:
    """A prompt compiled for the tokenizer of a backbone folder, without its weights.

    Args:
        path: As in `NoteLLM.from_pretrained`.
        config: The prompt.

    Raises:
        DataError: If a file is missing or damaged.
    """
    folder = resolve(path, None)
    hf, tokenizer = read_json_object(folder / "config.json"), read_tokenizer(folder)
    return Prompt(config, tokenizer, emb_token_id=emb_token_id(tokenizer), eos_token_id=first_eos(hf))


def read_tokenizer(folder: Path) -> Tokenizer:
    """The folder's tokenizer, with [EMB] added where it lacks it."""
    tokenizer = model_folder.read_tokenizer(folder)
    if tokenizer.token_to_id(EMB_TOKEN) is None:
        tokenizer.add_special_tokens([AddedToken(EMB_TOKEN, special=True, normalized=False)])
    return tokenizer


def resolve(path: str | Path, progress: ProgressFn | None) -> Path:
    """The folder of a model, made ready first where it is one that we fetch."""
    if str(path) == FETCHED:
        return smollm2.prepare(cache_folder(FETCHED), progress)
    return Path(path)


def backbone_name(path: str | Path, layers: int = 0) -> str:
    """What results call a backbone.

    Args:
        path: As in `NoteLLM.from_pretrained`.
        layers: The first so many are kept; 0 = all.

    Returns:
        The name of a model that we fetch, with how its weights were made; of a folder its path.

    Example:
        >>> backbone_name("smollm2-135m", layers=6)
        'SmolLM2-135M-Instruct, dequantised from Q4_1, its first 6 layers'
    """
    name = smollm2.NAME if str(path) == FETCHED else str(path)
    return f"{name}, its first {layers} layers" if layers else name


def read_extra(path: Path) -> dict[str, Any]:
    """What `save_pretrained` wrote beside the backbone, in the newest format."""
    extra = dict(read_json_object(path / EXTRA_CONFIG))
    if extra.get("format") == 1:
        extra |= {"pooling": COMPRESSION, "prompt": {"state": "before", **extra["prompt"]}}
    elif extra.get("format") != FORMAT:
        raise DataError(
            f"{path / EXTRA_CONFIG}: format must be at most {FORMAT}, but is {extra.get('format')!r}"
        )
    return extra


def first_layers(hf: dict[str, Any], layers: int, path: Path) -> dict[str, Any]:
    """The ``config.json`` of a backbone's first so many layers; 0 = all."""
    there = hf["num_hidden_layers"]
    if not 0 <= layers <= there:
        raise DataError(f"{path}: layers must be in [0, {there}], but {layers} are asked for")
    if layers == 0:
        return hf
    kinds = {"layer_types": hf["layer_types"][:layers]} if "layer_types" in hf else {}
    return hf | {"num_hidden_layers": layers} | kinds


def emb_token_id(tokenizer: Tokenizer) -> int:
    """The id of [EMB].

    Raises:
        DataError: If it is no token.
    """
    token = tokenizer.token_to_id(EMB_TOKEN)
    if token is None:
        raise DataError(f"NoteLLM: the tokenizer must have the token {EMB_TOKEN}, but has not")
    return int(token)


def first_eos(hf: dict[str, Any]) -> int:
    """The end token of a ``config.json``, the first where there are several.

    Raises:
        ConfigError: If it names none.
    """
    eos = hf.get("eos_token_id")
    if isinstance(eos, Sequence) and eos:
        eos = eos[0]
    if not isinstance(eos, int):
        raise ConfigError(f"NoteLLM: config.json must name an eos_token_id, but says {eos!r}")
    return eos


def with_emb_row(weight: Tensor, emb_token_id: int) -> Tensor:
    """The matrix with row ``emb_token_id`` set to the mean of its rows, one row longer where it must be."""
    mean = weight.float().mean(0, keepdim=True).to(weight.dtype)
    if emb_token_id == len(weight):
        return torch.cat([weight, mean])
    weight[emb_token_id] = mean[0]
    return weight
