"""Hugging Face model folders: ``config.json``, safetensors in one or several files, ``tokenizer.json``."""

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer
from torch import Tensor

from notellm.errors import DataError
from notellm.json_files import read_json_object

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"


def read_weights(folder: Path, single: str = SINGLE) -> dict[str, Tensor]:
    """Reads every tensor of a folder's safetensors, sharded or not.

    Args:
        folder: The model folder.
        single: Name of the file where the weights are not sharded.

    Returns:
        Tensors by their names in the checkpoint, in memory of their own (so that kernels meet the same alignment
        whether a weight was loaded or trained).

    Raises:
        DataError: If a file is missing or damaged.
    """
    index = folder / INDEX
    is_sharded = single == SINGLE and index.exists()
    files = sorted(set(read_json_object(index)["weight_map"].values())) if is_sharded else [single]
    weights: dict[str, Tensor] = {}
    for name in files:
        try:
            with safe_open(folder / name, framework="pt") as file:
                weights |= {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118
        except (FileNotFoundError, SafetensorError) as error:
            raise DataError(f"{folder / name}: must be a readable safetensors file, but: {error}") from None
    return weights


def load_tensor(target: Tensor, source: Tensor, name: str, folder: Path) -> None:
    """Copies a checkpoint's tensor into a parameter of the same shape.

    Raises:
        DataError: If the shapes differ.
    """
    if target.shape != source.shape:
        raise DataError(
            f"{folder}: tensor {name} must have shape {tuple(target.shape)}, but has {tuple(source.shape)}"
        )
    with torch.no_grad():
        target.copy_(source)


def read_tokenizer(folder: Path) -> Tokenizer:
    """Reads ``tokenizer.json``.

    Raises:
        DataError: If it is missing or damaged.
    """
    path = folder / "tokenizer.json"
    if not path.exists():
        raise DataError(f"{path}: must be a tokenizer of the `tokenizers` library, but is not there")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise DataError(f"{path}: must be a tokenizer of the `tokenizers` library, but: {error}") from None
