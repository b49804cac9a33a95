"""What is kept bears the name of all that decides it: with other options, data or models it is made anew.

Which options decide each thing that a run keeps is said in `DECIDED_BY`, by the keys of their one description;
those that decide only costs are left out by themselves, and so are options that were added later where they have their
default: what was made before them keeps its name. Contents, such as a model's files, count by their fingerprints.
"""

from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

from notellm.app.config import Config, dotted, groups
from notellm.io.fingerprints import Fingerprint
from notellm.io.home import expanded
from notellm.models.backbone import FETCHED

__all__ = ["DECIDED_BY", "backbone_key", "deciding", "encoder_key", "folder_key", "made_by"]

_COMPUTED = ("device", "dtype")
_BACKBONE = ("model.path", "model.layers", "model.backend")
_ENCODER = ("model.encoder", "model.encoder_prompt", "model.encoder_pooling")
_CATALOGUE = tuple(
    f"data.{name}" for name in ("source", "folder", "notes", "interactions", "groups_column", "ordered")
)
CUT = ("title_tokens", "content_tokens", "max_hashtags")
"""What a prompt says of how notes are cut, whatever its pieces are."""

_CUT = tuple(f"prompt.{name}" for name in CUT)

DECIDED_BY: dict[str, tuple[str, ...]] = {
    "pairs": ("mining.",),
    "negatives": (*_COMPUTED, "negatives.", "data.split_seed"),
    "zero_shot_mean": (*_COMPUTED, *_BACKBONE, *_CUT, "embed.weights"),
    "zero_shot_last": (*_COMPUTED, *_BACKBONE, *_CUT, "embed.weights"),
    "zero_shot_prompt": (*_COMPUTED, *_BACKBONE, "model.pooling", "prompt.", "embed.weights"),
    "sentence_bert_zero_shot": ("device", "model.path", "prompt.", *_ENCODER),
    "sentence_bert": ("device", "model.path", "prompt.", *_ENCODER),
    "trained": (*_COMPUTED, "loss.contrastive", "embed.weights"),
    "generation": (*_COMPUTED, *_BACKBONE, "seed", "prompt.", "generation."),
    "vectors": (*_COMPUTED, "loss.contrastive", "embed."),
    "labels": (*_COMPUTED, "seed", "generation."),
    "catalogue": (*_CATALOGUE, "prompt.hashtag_separator"),
    "dataset": ("data.", "prompt.hashtag_separator", "model.path", "model.encoder", "negatives.model"),
}
"""By what is kept: keys, and groups with a dot behind them, that decide it beside the contents it is made of: a run's
pairs and their hard negatives; its embeddings, by system, in full width and not yet rounded; what its models write;
what `notellm embed` and `notellm generate` write into folders and files; the notes and log that all splits share; the
data that cells share."""


def made_by(config: Config, what: str, **contents: Any) -> dict[str, Any]:
    """All that decides something that is kept, as plain data: of other data than these it must be made anew.

    Args:
        config: The configuration.
        what: A key of `DECIDED_BY`.
        contents: Fingerprints, or other plain data, of what it is made of.
    """
    return {"options": deciding(config, DECIDED_BY[what])} | contents


def deciding(config: Config, keys: Collection[str] = (), *, without: Collection[str] = ()) -> dict[str, Any]:
    """Options that decide results, those of groups below the group's name.

    Args:
        config: The configuration.
        keys: Which: keys, and groups with a dot behind them; all by default.
        without: Those that are left out, likewise.
    """
    values = config.to_dict()
    found: dict[str, Any] = {}
    for group in groups():
        for described in group.options:
            key = dotted(group, described)
            is_wanted = not keys or _is_among(key, keys)
            value = values[group.name][described.name] if group.name else values[key]
            is_as_before = described.is_added_later and value == described.standard
            if described.decides_cost or is_as_before or not is_wanted or _is_among(key, without):
                continue
            (found.setdefault(group.name, {}) if group.name else found)[described.name] = value
    return found


def _is_among(key: str, keys: Collection[str]) -> bool:
    return key in keys or ("." in key and f"{key.partition('.')[0]}." in keys)


_MODEL_FILES = ("*.safetensors", "*.bin", "*.json", "*.model", "vocab.txt", "merges.txt")
"""Weights, configurations and vocabularies."""


def folder_key(folder: Path) -> str:
    """A name for the files of a model's folder, subfolders included; files that have not changed are read once."""
    files = sorted(file for kind in _MODEL_FILES for file in folder.rglob(kind))
    return _key_of_files(tuple((file, _state(file)) for file in files))


def _state(file: Path) -> tuple[int, ...]:
    found = file.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


@cache
def _key_of_files(files: tuple[tuple[Path, tuple[int, ...]], ...]) -> str:
    return Fingerprint(8).add_files(file for file, _ in files).name()


def encoder_key(config: Config) -> str:
    """A name for the files of the encoder; empty for the one that we fetch."""
    path = config.model.encoder
    return folder_key(expanded(path)) if path else ""


def backbone_key(config: Config) -> str:
    """A name for the files of the backbone; empty for one that we fetch, whose version is fixed."""
    path = config.model.path
    return "" if path == FETCHED else folder_key(expanded(path))
