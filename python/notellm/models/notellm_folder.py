"""What a saved NoteLLM has in its folder beside its backbone: dim, pooling, prompt; the projection and tau."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from notellm.errors import DataError
from notellm.io.files import atomic_folder
from notellm.io.home import expanded
from notellm.io.json_files import read_json_object, read_text
from notellm.io.json_tree import Node, shortened
from notellm.losses import nested_dims_fault
from notellm.models import folder as model_folder
from notellm.models.fields import Fields
from notellm.models.options import CORE, LARGEST_DIM, TRANSFORMERS, ModelOptions
from notellm.pooling import check_pooling
from notellm.prompts import PromptConfig

FORMAT = 2
"""Version of `notellm.json`; newer ones are refused. Version 1 had neither ``state`` of a prompt nor ``pooling``."""

EXTRA_CONFIG, EXTRA_WEIGHTS = "notellm.json", "notellm.safetensors"
DENSE = "2_Dense"
"""The projection's folder in a folder of sentence-transformers."""
MODULES = "modules.json"
"""What such a folder consists of."""

_WRITTEN = (
    *model_folder.KEPT,
    *("config.json", "tokenizer.json", "model.safetensors*", "model-*.safetensors"),
    *(EXTRA_CONFIG, EXTRA_WEIGHTS, "README.md"),
    *(MODULES, "sentence_bert_config.json", "config_sentence_transformers.json"),
    *("1_Pooling", DENSE, "[0-9]_Normalize"),
    *("model.gguf", "projection.npy"),
    # where sentence-transformers has saved an export again
    *("vocab.json", "merges.txt", "added_tokens.json"),
)
"""Patterns of what a save or an export has in its folder; nothing else is ever replaced."""


def check_new_folder(path: Path) -> None:
    """Refuses a folder with other things in it than a model.

    Raises:
        FileExistsError: If it is one.
    """
    check_holds_only(expanded(path), _WRITTEN, EXTRA_CONFIG, "a saved NoteLLM")


def check_holds_only(path: Path, written: Sequence[str], mark: str, what: str) -> None:
    """Refuses a folder that is neither absent nor empty, unless all in it is from an earlier save.

    Args:
        path: The folder.
        written: Patterns of what a save writes.
        mark: What every save has.
        what: What such a folder is called.

    Raises:
        FileExistsError: If it holds anything else; names it.
    """
    names = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
    is_ours = mark in names
    others = [name for name in names if not (is_ours and any(fnmatchcase(name, one) for one in written))]
    if others:
        listed = ", ".join(others[:3]) + (" and more" if len(others) > 3 else "")
        raise FileExistsError(
            f"{path}: must be absent, empty or {what}, but holds other files: {listed}; try another folder"
        )


@contextmanager
def new_folder(path: str | Path, card: str = "") -> Iterator[Path]:
    """A folder that appears complete or not at all, and may replace one made by an earlier call.

    Args:
        path: The folder to create.
        card: Its README.md, if it is to have one.

    Yields:
        The temporary folder, to be filled.

    Raises:
        FileExistsError: If there is a folder with other things in it.
    """
    path = expanded(path)
    check_new_folder(path)
    with atomic_folder(path, replace=True) as target:
        if card:
            (target / "README.md").write_text(card, encoding="utf-8")
        yield target


def write_extra(
    folder: Path,
    dim: int,
    nested_dims: Sequence[int],
    pooling: str | None,
    prompt: PromptConfig,
    backend: str = CORE,
) -> None:
    """Writes what a NoteLLM folder says of itself beside its backbone, for `read_extra`."""
    widths = {"dim": dim, "nested_dims": list(nested_dims)}
    extra = {"format": FORMAT, **widths, "pooling": pooling, "prompt": prompt.to_dict()}
    if backend != CORE:
        extra["backend"] = backend
    text = json.dumps(extra, indent=2, ensure_ascii=False)
    (folder / EXTRA_CONFIG).write_text(text, encoding="utf-8")


def read_extra(path: Path) -> dict[str, Any]:
    """The fields that `save_pretrained` wrote beside the backbone.

    Raises:
        DataError: If it is missing, damaged, of another format, or lacks a field.
    """
    file = path / EXTRA_CONFIG
    extra = dict(read_json_object(file))
    prompt = Node(extra, str(file)).at("prompt")
    if not isinstance(prompt.value, dict):
        raise DataError(f"{prompt.where} must be an object, but is {shortened(prompt.value)}")
    if extra.get("format") != FORMAT:
        raise DataError(f"{file}: format must be {FORMAT}, but is {shortened(extra.get('format'))}")
    dim = Fields(extra, str(file)).whole("dim", most=LARGEST_DIM)
    extra["nested_dims"] = [
        one.whole() for one in Node(extra, str(file)).list("nested_dims")
    ]  # not in older folders
    if fault := nested_dims_fault(extra["nested_dims"], dim):
        raise DataError(f"{file}: nested_dims {fault}")
    extra.setdefault("backend", CORE)  # not in older folders
    if extra["backend"] not in (CORE, TRANSFORMERS):
        raise DataError(
            f"{file}: backend must be {CORE} or {TRANSFORMERS}, but is {shortened(extra['backend'])}"
        )
    pooling = Node(extra, str(file)).at("pooling").value
    if not isinstance(pooling, str | None):
        raise DataError(f"{file}: pooling must be a name or null, but is {shortened(pooling)}")
    if pooling is not None:
        try:
            check_pooling(pooling)
        except ValueError as error:
            raise DataError(f"{file}: {error}") from None
    return extra


def read_own(path: Path) -> dict[str, Tensor]:
    """The parameters of a NoteLLM folder that are not the backbone's, by name.

    Where sentence-transformers has saved an exported model again, its Dense module is the projection, and there is no
    tau: it begins anew. Without such a module vectors are not projected, and there is no projection either.

    Raises:
        DataError: If they are missing or damaged.
    """
    if (path / EXTRA_WEIGHTS).exists():
        return model_folder.read_weights(path, single=EXTRA_WEIGHTS)
    if not (path / MODULES).exists():
        raise DataError(
            f"{path}: must have {EXTRA_WEIGHTS}, or {MODULES} of sentence-transformers, but has neither; try a whole "
            "copy of the folder"
        )
    is_projected = f'"{DENSE}"' in read_text(path / MODULES)
    found = model_folder.read_weights(path / DENSE) if is_projected else {}
    own = {name.replace("linear.", "projection."): value for name, value in found.items()}
    return own | {"tau": torch.tensor(ModelOptions.tau)}


def check_asked(
    path: Path, extra: dict[str, Any], own_layers: int, dim: int | None, layers: int, pooling: object
) -> None:
    """Refuses arguments that contradict a saved NoteLLM.

    Raises:
        DataError: If it was trained with another ``dim``, another number of layers or another pooling.
    """
    for name, there, asked in (("dim", extra["dim"], dim), ("layers", own_layers, layers)):
        if asked and asked != there:
            raise DataError(f"{path}: {name} must be {there} as it was trained, but {asked} is asked for")
    trained = extra["pooling"]
    if pooling is None and trained is None:
        raise DataError(f"{path}: pooling must be given, since it was trained with a function, but is not")
    if isinstance(pooling, str) and pooling != trained:
        raise DataError(
            f"{path}: pooling must be {trained or 'a function'} as it was trained, but {pooling} is asked for"
        )
