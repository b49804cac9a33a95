"""From a checkpoint's tensors to the decoder's parameters: each tensor is used, known to be harmless, or refused."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from notellm.errors import DataError, NotSupportedError
from notellm.models.decoder import Decoder
from notellm.models.folder import check_tensor

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"

HARMLESS = {
    r"model\.(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq": "computed from config.json's rope fields",
    r"score\.weight": "a classifier's head, which neither embedding nor generation has",
}
"""Tensors that change nothing computed here, each with the reason; patterns for ``re.fullmatch``."""

_OF_A_DECODER = re.compile(r"(embed_tokens|layers|norm|rotary_emb)\.")
_LAYER = re.compile(r"model\.layers\.(\d+)\.")


def with_full_names(found: Mapping[str, Tensor], where: Path) -> dict[str, Tensor]:
    """The tensors with the names of a model with a head; models without a head are saved without ``model.``.

    Raises:
        DataError: If two would have the same name.
    """
    named: dict[str, Tensor] = {}
    for name, tensor in found.items():
        full = f"model.{name}" if _OF_A_DECODER.match(name) else name
        if full in named:
            raise DataError(f"{where}: must hold {full} once, but holds it with and without 'model.'")
        if not any(re.fullmatch(pattern, full) for pattern in HARMLESS):
            named[full] = tensor
    return named


def untie(weights: dict[str, Tensor], is_tied: bool) -> bool:
    """Decides from the checkpoint whether the head is tied to the token embedding, as transformers does.

    A tied head that equals the embedding is dropped; one that differs becomes a separate head; if there is a head but
    no embedding, the head serves as both.

    Args:
        weights: By full names; changed in place.
        is_tied: What ``config.json`` says.

    Returns:
        Whether they are tied.
    """
    head, embedding = weights.get(HEAD), weights.get(EMBEDDING)
    if not is_tied or head is None:
        return is_tied
    if embedding is not None and not torch.equal(head, embedding):
        return False
    weights[EMBEDDING] = weights.pop(HEAD)
    return True


def drop_layers(weights: dict[str, Tensor], kept: int, there: int, where: Path) -> dict[str, Tensor]:
    """Leaves out the tensors of layers from ``kept`` on; the configuration has ``there`` layers.

    Raises:
        DataError: If the checkpoint has fewer layers than the configuration says.
    """
    numbers = {name: int(match[1]) for name in weights if (match := _LAYER.match(name))}
    count = max(numbers.values(), default=-1) + 1
    if count < there:
        raise DataError(
            f"{where}: must hold the tensors of {there} layers, as config.json says, but holds those of {count}"
        )
    return {name: tensor for name, tensor in weights.items() if not kept <= numbers.get(name, -1) < there}


def check_all(weights: Mapping[str, Tensor], hf: dict[str, Any], where: Path) -> None:
    """Refuses tensors that do not fit a decoder of this configuration.

    Args:
        weights: By full names; a separate head may be missing.
        hf: The ``config.json`` of the model to be built.
        where: The source for error messages.

    Raises:
        NotSupportedError: If a tensor is unknown, or not stored as floating-point numbers.
        DataError: If one is missing, of another shape, or not finite.
    """
    with torch.device("meta"):
        decoder = Decoder(hf)
    shapes = {f"model.{name}": tuple(value.shape) for name, value in decoder.named_parameters()}
    if not hf.get("tie_word_embeddings") and HEAD in weights:
        shapes[HEAD] = shapes[EMBEDDING]
    check_places(weights, shapes, where)
    for name, tensor in weights.items():
        check_tensor(tensor, name, shapes[name], where)


def check_places(found: Mapping[str, Tensor], wanted: Mapping[str, Any], where: Path) -> None:
    """Refuses a set of tensors in which one is unknown or missing.

    Raises:
        NotSupportedError: If one is unknown.
        DataError: If one is missing.
    """
    missing, spare = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if spare and not missing:
        raise NotSupportedError(
            f"{where}: must hold what the model has a place for only, but holds {spare[0]}{_others(spare)}"
        )
    if missing:
        held = f" (and holds {spare[0]}{_others(spare)}, which has no place)" if spare else ""
        raise DataError(f"{where}: must hold the tensor {missing[0]}, but lacks it{_others(missing)}{held}")


def _others(names: list[str]) -> str:
    return f" and {len(names) - 1} others" if len(names) > 1 else ""
