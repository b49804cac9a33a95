"""Hugging Face model folders: ``config.json``, safetensors in one or several files, ``tokenizer.json``."""

import json
import os
from collections.abc import Collection, Sequence
from pathlib import Path, PurePath
from typing import Any, TypeGuard

import torch
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer
from torch import Tensor

from notellm.errors import DataError, NotSupportedError
from notellm.io.json_files import read_json_object, read_text
from notellm.io.json_tree import shortened

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"

KEPT = ("generation_config.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
"""Files of a folder that other programs read; they are saved again with the model."""


def read_weights(folder: Path, single: str = SINGLE) -> dict[str, Tensor]:
    """Reads every tensor of a folder's safetensors, sharded or not.

    If a folder has both a single file and an index, the file is read: the index then belongs to an older save. With
    shards, each tensor is read from the shard that the index names.

    Args:
        folder: The model folder.
        single: Name of the file if the weights are not sharded.

    Returns:
        Tensors by their names in the checkpoint, copied to memory of their own (so that kernels find the same
        alignment whether a weight was loaded or trained).

    Raises:
        DataError: If a file is missing or damaged, or the index contradicts the files.
    """
    index = folder / INDEX
    if single != SINGLE or (folder / SINGLE).exists() or not index.exists():
        return _read_file(folder / single)
    shards = _read_index(index)
    indexed = {name for names in shards.values() for name in names}
    weights: dict[str, Tensor] = {}
    for shard, names in shards.items():
        weights |= _read_shard(folder / shard, names, indexed)
    return weights


def _read_index(path: Path) -> dict[str, list[str]]:
    """The shards that an index names, each with its tensors."""
    weight_map = read_json_object(path).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise DataError(
            f"{path}: must have weight_map, an object of file names by tensor, but has {shortened(weight_map)}"
        )
    shards: dict[str, list[str]] = {}
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or not shard or "\0" in shard:
            raise DataError(f"{path}: weight_map[{name!r}] must be a file name, but is {shortened(shard)}")
        if PurePath(shard).is_absolute() or ".." in PurePath(shard).parts:
            raise DataError(
                f"{path}: weight_map[{name!r}] must stay in the folder, but is {shortened(shard)}"
            )
        shards.setdefault(shard, []).append(name)
    return shards


def _read_shard(path: Path, names: list[str], indexed: Collection[str]) -> dict[str, Tensor]:
    """The tensors that the index assigns to this shard; any other tensor in it must be assigned to another shard."""
    content = _read_file(path)
    for name in names:
        if name not in content:
            raise DataError(f"{path}: must hold the tensor {name}, which {INDEX} takes from it, but lacks it")
    for name in content:
        if name not in indexed:
            raise DataError(f"{path}: must hold tensors that {INDEX} names, but holds {name}")
    return {name: content[name] for name in names}


def _read_file(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"{path}: must be a readable safetensors file, but: {error}{_other_weights(path)}"
        ) from None


def _other_weights(path: Path) -> str:
    """A hint for a folder that has its weights in another format."""
    # os.path.exists: an index may name a file with a name that no file can have
    others = [] if os.path.exists(path) else sorted(path.parent.glob("*.bin"))
    return (
        f"; {others[0].name} is another form, try model.save_pretrained(...) of transformers"
        if others
        else ""
    )


def check_tensor(tensor: Tensor, name: str, shape: Collection[int], where: Path) -> None:
    """Refuses a checkpoint's tensor that cannot be weights of this shape.

    Raises:
        NotSupportedError: If its numbers have less than 16 bits, for example quantised weights.
        DataError: If the shapes differ, or a number is not finite.
    """
    if not tensor.is_floating_point() or tensor.element_size() < 2:
        raise NotSupportedError(
            f"{where}: tensor {name} must be of floating-point numbers of 16 bits or more, but is "
            f"{str(tensor.dtype).removeprefix('torch.')}; try a checkpoint that is not quantised"
        )
    if tuple(tensor.shape) != tuple(shape):
        raise DataError(
            f"{where}: tensor {name} must have shape {tuple(shape)}, but has {tuple(tensor.shape)}"
        )
    if not bool(torch.isfinite(tensor).all()):
        wrong = int((~torch.isfinite(tensor)).sum())
        raise DataError(
            f"{where}: tensor {name} must be finite, but has {wrong} values that are not, of {tensor.numel()}"
        )


def load_tensor(target: Tensor, source: Tensor, name: str, folder: Path) -> None:
    """Copies a checkpoint's tensor into a parameter of the same shape.

    Raises:
        DataError, NotSupportedError: See `check_tensor`.
    """
    check_tensor(source, name, target.shape, folder)
    with torch.no_grad():
        target.copy_(source)


def read_kept(folder: Path) -> dict[str, bytes]:
    """The contents of the files in ``KEPT`` that the folder has."""
    return {name: (folder / name).read_bytes() for name in KEPT if (folder / name).is_file()}


def completed(
    kept: dict[str, bytes], hf: dict[str, Any], tokenizer: Tokenizer, end_tokens: Sequence[int]
) -> dict[str, bytes]:
    """The files in ``KEPT`` of a folder to be written, with those that transformers needs to read it as it is meant.

    Without ``tokenizer_config.json`` it builds a tokenizer of the family's kind, which may have other ids, and without
    ``generation_config.json`` it may end outputs elsewhere.

    Args:
        kept: From `read_kept`.
        hf: The ``config.json``.
        tokenizer: As in ``tokenizer.json``.
        end_tokens: Ids that end an output.
    """
    ids = {name: hf.get(f"{name}_token_id") for name in ("bos", "pad")}
    known = {name: number for name, number in ids.items() if _is_token(number, tokenizer)}
    named = {name: tokenizer.id_to_token(number) for name, number in ({"eos": end_tokens[0]} | known).items()}
    most = hf.get("max_position_embeddings")
    files: dict[str, dict[str, Any]] = {
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
            **({"model_max_length": most} if most else {}),
            **{f"{name}_token": token for name, token in named.items() if token is not None},
        },
        "generation_config.json": {
            "eos_token_id": list(end_tokens) if len(end_tokens) > 1 else end_tokens[0],
            **{f"{name}_token_id": number for name, number in known.items()},
        },
    }
    made = {name: json.dumps(fields, indent=2).encode() for name, fields in files.items()}
    return made | kept


def _is_token(number: object, tokenizer: Tokenizer) -> TypeGuard[int]:
    """Whether it is an id of the tokenizer; some checkpoints say -1 where they have no such token."""
    count = tokenizer.get_vocab_size(with_added_tokens=True)
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number < count


def read_tokenizer(folder: Path) -> Tokenizer:
    """Reads ``tokenizer.json``.

    Raises:
        DataError: If it is missing or damaged.
    """
    path = folder / "tokenizer.json"
    if not path.exists():
        raise DataError(f"{path}: must be a tokenizer of the `tokenizers` library, but is not there")
    try:
        return Tokenizer.from_str(read_text(path))
    except (KeyboardInterrupt, SystemExit, DataError):
        raise
    except BaseException as error:  # the library raises bare Exception, and Rust's PanicException
        raise DataError(f"{path}: must be a tokenizer of the `tokenizers` library, but: {error}") from None
