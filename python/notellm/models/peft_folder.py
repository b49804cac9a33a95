"""Folders of the `peft` package: ``adapter_config.json`` and ``adapter_model.safetensors``.

Projection, tau and [EMB]'s row, unknown to `peft`, are in ``notellm.safetensors`` beside them, which it ignores.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from notellm.errors import DataError, NotSupportedError
from notellm.io.files import atomic_folder
from notellm.io.json_files import read_json_object
from notellm.models import folder as model_folder
from notellm.models import tensors
from notellm.models.adapter import PARTS, LoraOptions, checked
from notellm.models.decoder import Decoder
from notellm.models.lora import linears
from notellm.models.notellm_folder import check_holds_only

CONFIG, WEIGHTS, EXTRA_WEIGHTS = "adapter_config.json", "adapter_model.safetensors", "notellm.safetensors"

NAME = re.compile(r"base_model\.model\.(?:model\.)?(layers\.\d+\.\w+\.\w+\.lora_[AB])\.weight")

IGNORED = frozenset(
    [
        *("auto_mapping", "base_model_name_or_path", "peft_type", "peft_version", "revision", "task_type"),
        *("r", "lora_alpha", "lora_dropout", "use_rslora", "target_modules", "init_lora_weights", "bias"),
        # these only matter together with another field
        *("ensure_weight_tying", "layers_pattern", "megatron_core", "qalora_group_size", "runtime_config"),
        "inference_mode",
    ]
)
"""Fields that do not change what an adapter computes, and fields that are read; any other must be unset."""

HARMLESS_STARTS = (True, False, None, "gaussian", "orthogonal", "eva")
"""Values of ``init_lora_weights`` that leave the frozen matrices as they are."""


def save(
    decoder: Decoder, own: Mapping[str, Tensor], options: LoraOptions, path: Path, *, base_model: str | None
) -> None:
    """Writes a model's adapters in the format of `peft`, and its other trained parameters.

    The folder appears complete or not at all; one made by an earlier call is replaced.

    Args:
        decoder: With LoRA.
        own: The model's parameters that are not the decoder's, by name.
        options: The options of its LoRA.
        path: The folder to create.
        base_model: The backbone's name or path, recorded for `peft`.

    Raises:
        FileExistsError: If there is a folder with other things in it.
    """
    check_holds_only(path, (CONFIG, WEIGHTS, EXTRA_WEIGHTS), CONFIG, "an adapter's folder")
    fields = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_model,
        "r": options.r,
        "lora_alpha": int(options.alpha) if options.alpha == int(options.alpha) else options.alpha,
        "lora_dropout": options.dropout,
        "target_modules": sorted(options.targets),
        "use_rslora": options.rslora,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    with atomic_folder(path, replace=True) as target:
        (target / CONFIG).write_text(json.dumps(fields, indent=2), encoding="utf-8")
        matrices = {f"base_model.model.model.{name}.weight": value for name, value in _matrices(decoder)}
        save_file(matrices, target / WEIGHTS, metadata={"format": "pt"})
        save_file(_learned(decoder, own), target / EXTRA_WEIGHTS, metadata={"format": "pt"})


def load(
    decoder: Decoder, own: Mapping[str, Tensor], path: Path, *, add: Callable[[LoraOptions], object]
) -> None:
    """Adds the adapters of a folder to a model, and loads projection, tau and [EMB]'s row if the folder has them.

    Args:
        decoder: Without LoRA; its weights must be those that the adapters were trained with.
        own: The model's parameters that are not the decoder's, by name.
        path: Made by `save` or by `peft`.
        add: Adds adapters to the model.

    Raises:
        DataError: If a file is missing or damaged, or a tensor is missing, of another shape or not finite.
        NotSupportedError: If the adapter does something that the core cannot compute, or has an unknown tensor.
        ValueError: If the model has LoRA already. In each case the model is unchanged.
    """
    options = read_options(path / CONFIG)
    found = _read_matrices(path)
    _check(path / WEIGHTS, found, _matrix_shapes(decoder, options))
    extra = path / EXTRA_WEIGHTS
    kept = model_folder.read_weights(path, single=EXTRA_WEIGHTS) if extra.exists() else {}
    if kept:
        shapes = {name: tuple(parameter.shape) for name, parameter in own.items()}
        _check(extra, kept, shapes | {"emb_row": (decoder.config.width,)})
    add(options)
    with torch.no_grad():
        for name, matrix in _matrices(decoder):
            matrix.copy_(found[name])
        for name, parameter in _learned(decoder, own).items():
            if name in kept:
                parameter.copy_(kept[name])


def read_options(path: Path) -> LoraOptions:
    """Reads an ``adapter_config.json``.

    Raises:
        DataError: If it is missing, damaged or lacks a field.
        NotSupportedError: If it asks for something that the core cannot compute; names the field.
    """
    fields = read_json_object(path)
    start = fields.get("init_lora_weights")
    start = start.lower() if isinstance(start, str) else start
    _require(path, fields, "peft_type", "'LORA'", str(fields.get("peft_type")).upper() == "LORA")
    _require(path, fields, "bias", "'none'", fields.get("bias", "none") == "none")
    _require(path, fields, "init_lora_weights", "one that spares the backbone", start in HARMLESS_STARTS)
    for name in sorted(fields.keys() - IGNORED):
        _require(path, fields, name, "unset", not fields[name])
    targets = fields.get("target_modules")
    is_list = isinstance(targets, list) and all(isinstance(name, str) for name in targets)
    names = [name.rpartition(".")[2] for name in targets or []] if is_list else []
    known = bool(names) and all(name in PARTS for name in names)
    _require(path, fields, "target_modules", f"a list of {', '.join(PARTS)}", known)
    try:
        if fields["r"] == 0:  # no adapter, although LoraOptions accepts 0
            raise ValueError("r must be at least 1, but is 0")
        return LoraOptions(
            r=fields["r"],
            alpha=float(fields["lora_alpha"]),
            dropout=float(fields.get("lora_dropout", 0.0)),
            targets=tuple(name for name in PARTS if name in names),
            rslora=bool(fields.get("use_rslora")),
        )
    except KeyError as error:
        raise DataError(f"{path}: must have the field {error.args[0]}, but lacks it") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{path}: must describe an adapter, but: {error}") from None


def _require(path: Path, fields: dict[str, Any], name: str, what: str, holds: bool) -> None:
    if not holds:
        raise NotSupportedError(f"{path}: {name} must be {what}, but is {fields.get(name)!r}")


def _learned(decoder: Decoder, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The trained parameters beside the adapters, by their names in ``notellm.safetensors``."""
    row = decoder.emb_row
    assert row is not None
    return {name: value.detach() for name, value in {**own, "emb_row": row}.items()}


def _name(layer: int, target: str, kind: str) -> str:
    return f"layers.{layer}.{PARTS[target][0]}.{target}.{kind}"


def _matrices(decoder: Decoder) -> list[tuple[str, Tensor]]:
    return [
        (_name(layer.number, target, kind), getattr(adapter, kind).detach())
        for layer in decoder.blocks()
        for target, adapter in checked(layer.adapters).items()
        for kind in ("lora_A", "lora_B")
    ]


def _matrix_shapes(decoder: Decoder, options: LoraOptions) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in decoder.blocks():
        holders = linears(layer)
        for target in options.targets:
            shapes[_name(layer.number, target, "lora_A")] = (options.r, holders[target].in_features)
            shapes[_name(layer.number, target, "lora_B")] = (holders[target].out_features, options.r)
    return shapes


def _read_matrices(path: Path) -> dict[str, Tensor]:
    found = {}
    for name, value in model_folder.read_weights(path, single=WEIGHTS).items():
        match = NAME.fullmatch(name)
        if match is None:
            raise NotSupportedError(
                f"{path / WEIGHTS}: must hold lora_A and lora_B of a decoder's layers only, but holds {name}"
            )
        if match[1] in found:
            raise DataError(f"{path / WEIGHTS}: must hold {match[1]} once, but holds it by two names")
        found[match[1]] = value
    return found


def _check(path: Path, found: dict[str, Tensor], shapes: dict[str, tuple[int, ...]]) -> None:
    """Refuses tensors that do not have the given names and shapes, or are not finite."""
    tensors.check_places(found, shapes, path)
    for name, shape in shapes.items():
        model_folder.check_tensor(found[name], name, shape, path)
