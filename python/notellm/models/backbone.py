"""Reads and checks a model folder: shape, tokenizer, [EMB], end tokens, prompt, and the backbone's weights."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer
from torch import Tensor

from notellm.errors import ConfigError, DataError, NotSupportedError
from notellm.io.cache import cache_folder
from notellm.io.home import expanded
from notellm.io.json_files import read_json_object
from notellm.io.json_tree import shortened
from notellm.models import folder as model_folder
from notellm.models import smollm2, tensors
from notellm.models.config import decoder_config, refuse_quantised
from notellm.models.fields import Fields
from notellm.models.notellm_folder import EXTRA_CONFIG
from notellm.progress import ProgressFn
from notellm.prompts import Prompt, PromptConfig

EMB_TOKEN = "[EMB]"

FETCHED = "smollm2-135m"
"""The ``path`` that stands for the model that is downloaded."""

CONFIG, GENERATION_CONFIG = "config.json", "generation_config.json"


@dataclass(frozen=True)
class Outline:
    """What a folder says about its backbone, without the weights."""

    hf: dict[str, Any]
    """Its ``config.json``, adapted to the layers that are kept."""
    tokenizer: Tokenizer
    """The tokenizer, with [EMB]."""
    end_tokens: tuple[int, ...]
    """Ids that end an output; the first is the one used in training."""


@dataclass(frozen=True)
class Backbone:
    """A backbone that has been read: checked and complete."""

    outline: Outline
    """For the model to be built: ``vocab_size`` includes [EMB], ``tie_word_embeddings`` says what really holds."""
    weights: dict[str, Tensor]
    """The parameters of the decoder and of a separate head, if there is one, by Hugging Face's full names."""
    kept: dict[str, bytes]
    """Contents of the files that are saved again with the model."""

    @property
    def layers(self) -> int:
        """Number of its layers."""
        return int(self.outline.hf["num_hidden_layers"])

    @property
    def has_head(self) -> bool:
        """Whether it can generate; backbones of embedding models may come without an LM head."""
        return bool(self.outline.hf["tie_word_embeddings"]) or tensors.HEAD in self.weights


def read(path: Path, layers: int = 0) -> Backbone:
    """Reads and checks a folder's backbone: every field and every tensor must be known.

    Args:
        path: The folder.
        layers: The first so many are kept; 0 = all.

    Raises:
        DataError: If a file is missing or damaged, or contradicts another one.
        NotSupportedError: If there is something that the core cannot compute, or that nothing here knows.
        ConfigError: If no end token is named.
    """
    outline = read_outline(path, layers)
    there = read_json_object(path / CONFIG)["num_hidden_layers"]
    weights = tensors.with_full_names(model_folder.read_weights(path), path)
    weights = tensors.drop_layers(weights, outline.hf["num_hidden_layers"], there, path)
    is_tied = tensors.untie(weights, bool(outline.hf.get("tie_word_embeddings")))
    hf = outline.hf | {"tie_word_embeddings": is_tied}
    tensors.check_all(weights, hf, path)
    emb = emb_token_id(outline.tokenizer)
    if not (path / EXTRA_CONFIG).exists():  # a saved NoteLLM has [EMB]'s row already
        for name in (tensors.EMBEDDING, tensors.HEAD):
            if name in weights:
                weights[name] = with_emb_row(weights[name], emb)
    # some checkpoints have spare rows behind their tokenizer's last id; [EMB] takes the first of them
    hf |= {"vocab_size": len(weights[tensors.EMBEDDING])}
    outline = Outline(hf, outline.tokenizer, outline.end_tokens)
    return Backbone(outline, weights, model_folder.read_kept(path))


def read_outline(path: Path, layers: int = 0) -> Outline:
    """Reads and checks what a folder says about its backbone, without the weights.

    Args:
        path: The folder.
        layers: The first so many are kept; 0 = all.

    It raises what `read` raises.
    """
    where = str(path / CONFIG)
    hf = first_layers(read_json_object(path / CONFIG), layers, path)
    fields = Fields(hf, where)
    refuse_quantised(fields)  # whoever computes it
    try:
        rows = decoder_config(hf, where).vocabulary
    except NotSupportedError as error:
        raise NotSupportedError(
            f"{error}; try model.backend=transformers (notellm.TransformersNoteLLM), which is slower"
        ) from None
    fields.flag("tie_word_embeddings")
    return outline_of(path, hf, hf, rows)


def outline_of(path: Path, hf: dict[str, Any], text: dict[str, Any], rows: int) -> Outline:
    """Reads and checks tokenizer and end tokens of a backbone of any family.

    Args:
        path: The folder.
        hf: Its ``config.json``.
        text: The part of it that describes the language model: itself, or its ``text_config``.
        rows: Rows of the token embedding.

    Raises:
        DataError: If a file is missing or damaged, or contradicts another one.
        ConfigError: If no end token is named.
    """
    tokenizer = read_tokenizer(path)
    _check_ids(tokenizer, rows, path)
    is_there = (path / GENERATION_CONFIG).exists()
    generation = read_json_object(path / GENERATION_CONFIG) if is_there else {}
    written = _end_ids(generation, rows, path / GENERATION_CONFIG)
    own = _end_ids(text, rows, path / CONFIG)
    if not own and not written:
        raise ConfigError(
            f"{path / CONFIG}: must name an eos_token_id, or {GENERATION_CONFIG} must, but neither does"
        )
    first = (own or written)[0]
    return Outline(hf, tokenizer, tuple(dict.fromkeys((first, *(written or own)))))


def read_prompt(path: str | Path, config: PromptConfig) -> Prompt:
    """A prompt compiled for the tokenizer of a backbone folder, without its weights.

    Args:
        path: As in `NoteLLM.from_pretrained`.
        config: The prompt.

    Raises:
        DataError: If a file is missing or damaged.
    """
    folder = resolve(path, None)
    hf = read_json_object(folder / CONFIG)
    text = text_part(hf)  # of any family, since nothing is computed
    outline = outline_of(folder, hf, text, Fields(text, str(folder / CONFIG)).whole("vocab_size"))
    return compiled(outline, config)


def compiled(outline: Outline, config: PromptConfig) -> Prompt:
    """A prompt compiled for a backbone's tokenizer."""
    emb = emb_token_id(outline.tokenizer)
    return Prompt(config, outline.tokenizer, emb_token_id=emb, eos_token_id=outline.end_tokens[0])


def read_tokenizer(folder: Path) -> Tokenizer:
    """The folder's tokenizer; [EMB] is added if it is missing."""
    tokenizer = model_folder.read_tokenizer(folder)
    if tokenizer.token_to_id(EMB_TOKEN) is None:
        tokenizer.add_special_tokens([AddedToken(EMB_TOKEN, special=True, normalized=False)])
    return tokenizer


def resolve(path: str | Path, progress: ProgressFn | None) -> Path:
    """The folder of a model; ``FETCHED`` is downloaded and converted first if needed."""
    if str(path) == FETCHED:
        return smollm2.prepare(cache_folder(FETCHED), progress)
    return expanded(path)


def backbone_name(path: str | Path, layers: int = 0) -> str:
    """The name of a backbone in results.

    Args:
        path: As in `NoteLLM.from_pretrained`.
        layers: The first so many are kept; 0 = all.

    Returns:
        For a model that is downloaded, its name and the origin of its weights; for a folder, its path.

    Example:
        >>> backbone_name("smollm2-135m", layers=6)
        'SmolLM2-135M-Instruct, dequantised from Q4_1, its first 6 layers'
    """
    name = smollm2.NAME if str(path) == FETCHED else str(path)
    return f"{name}, its first {layers} layers" if layers else name


def text_part(hf: dict[str, Any]) -> dict[str, Any]:
    """The part of a ``config.json`` that describes the language model of a backbone that also sees or hears."""
    part = hf.get("text_config")
    return {**hf, **part} if isinstance(part, dict) else hf


def backbone_licence(path: str | Path) -> str:
    """The licence of a backbone as its model card names it, such as ``apache-2.0``; empty if there is none.

    Args:
        path: As in `NoteLLM.from_pretrained`.
    """
    if str(path) == FETCHED:
        return smollm2.LICENCE
    card = expanded(path) / "README.md"
    if not card.is_file():
        return ""
    text = card.read_text(encoding="utf-8", errors="replace")
    front = re.match(r"---\s*\n(.*?)^---\s*$", text, flags=re.DOTALL | re.MULTILINE)
    found = re.search(r"^license:\s*([\w.+-]+)\s*$", front[1] if front else "", flags=re.MULTILINE)
    return found[1] if found else ""


def as_written(hf: dict[str, Any], dtype: torch.dtype, has_head: bool) -> dict[str, Any]:
    """The ``config.json`` for weights written in ``dtype``, named as in transformers 5; it names its class, too."""
    others = {name: value for name, value in hf.items() if name != "torch_dtype"}
    architecture = hf["model_type"].capitalize() + ("ForCausalLM" if has_head else "Model")
    return {"architectures": [architecture]} | others | {"dtype": str(dtype).removeprefix("torch.")}


def first_layers(hf: dict[str, Any], layers: int, path: Path) -> dict[str, Any]:
    """The ``config.json`` of a backbone's first ``layers`` layers; 0 = all."""
    there = Fields(hf, str(path / CONFIG)).whole("num_hidden_layers")
    if not 0 <= layers <= there:
        raise DataError(f"{path}: layers must be in [0, {there}], but {layers} are asked for")
    if layers == 0:
        return hf
    kinds = hf.get("layer_types")
    cut = {"layer_types": kinds[:layers]} if isinstance(kinds, list) else {}
    return hf | {"num_hidden_layers": layers} | cut


def emb_token_id(tokenizer: Tokenizer) -> int:
    """The id of [EMB].

    Raises:
        DataError: If it is not a token.
    """
    token = tokenizer.token_to_id(EMB_TOKEN)
    if token is None:
        raise DataError(f"NoteLLM: the tokenizer must have the token {EMB_TOKEN}, but has not")
    return int(token)


def end_tokens(hf: dict[str, Any]) -> tuple[int, ...]:
    """The end tokens of a ``config.json`` without other files.

    Raises:
        ConfigError: If it names none. DataError: If one is not an id of the vocabulary.
    """
    ids = _end_ids(hf, Fields(hf, CONFIG).whole("vocab_size"), Path(CONFIG))
    if not ids:
        raise ConfigError(
            f"NoteLLM: config.json must name an eos_token_id, but says {hf.get('eos_token_id')!r}"
        )
    return ids


def _end_ids(values: dict[str, Any], rows: int, where: Path) -> tuple[int, ...]:
    """The ids that a file's ``eos_token_id`` names: one, several, or none."""
    named = values.get("eos_token_id")
    ids = named if isinstance(named, list | tuple) else [] if named is None else [named]
    for number in ids:
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < rows:
            raise DataError(f"{where}: eos_token_id must be in [0, {rows}), but is {shortened(number)}")
    return tuple(ids)


def _check_ids(tokenizer: Tokenizer, rows: int, path: Path) -> None:
    """Refuses tokenizers whose ids exceed the rows of the embedding; the row of [EMB] may still be missing."""
    ids = tokenizer.get_vocab(with_added_tokens=True)
    emb = ids.pop(EMB_TOKEN)
    if len(set(ids.values())) < len(ids):
        raise DataError(f"{path}: tokens of tokenizer.json must have different ids, but some have the same")
    name, largest = max(ids.items(), key=lambda pair: pair[1], default=("", -1))
    if largest >= rows:
        raise DataError(
            f"{path}: each token of tokenizer.json must have one of the {rows} rows of the embedding, but {name!r} has "
            f"the id {largest}; try a checkpoint whose embedding was resized (resize_token_embeddings of transformers)"
        )
    if emb > rows or emb in ids.values():
        raise DataError(
            f"{path}: the ids of tokenizer.json must leave none out, but {EMB_TOKEN} would get {emb} beside {rows} rows"
        )


def with_emb_row(weight: Tensor, emb_token_id: int) -> Tensor:
    """The matrix with row ``emb_token_id`` set to the mean of its rows; the row is appended if it is missing."""
    mean = weight.float().mean(0, keepdim=True).to(weight.dtype)
    if emb_token_id == len(weight):
        return torch.cat([weight, mean])
    weight[emb_token_id] = mean[0]
    return weight
