"""What loggers are told of a run beside its numbers, and under which id each of them knows it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from notellm.io.json_files import read_json_object, write_json
from notellm.io.json_tree import Node
from notellm.io.locks import locked

IDS = "loggers.json"
"""A run folder's file with the run's id in each package that has one; so a run that goes on is the same run there."""


@dataclass(frozen=True)
class Parent:
    """What several runs belong to, such as a study.

    Attributes:
        name: Its name. folder: Where its ids are kept.
    """

    name: str
    folder: Path

    def id_in(self, logger: str) -> str:
        """Its id in a package; empty if it has none."""
        return _read(self._file).get(logger, "")

    def set_id(self, logger: str, value: str) -> None:
        """Keeps its id."""
        _write(self._file, logger, value)

    @property
    def _file(self) -> Path:
        return self.folder / f"{self.name}.{IDS}"


@dataclass(frozen=True)
class About:
    """A run, as loggers show it.

    Attributes:
        name: Its name. folder: Its folder. config: Its options; groups are dictionaries. project: What it is sorted
            under. parent: What it belongs to.
    """

    name: str
    folder: Path
    config: Mapping[str, Any] = field(default_factory=dict)
    project: str = "notellm"
    parent: Parent | None = None

    def id_in(self, logger: str) -> str:
        """Its id in a package; empty if it has none."""
        return _read(self.folder / IDS).get(logger, "")

    def set_id(self, logger: str, value: str) -> None:
        """Keeps its id."""
        _write(self.folder / IDS, logger, value)

    def flat_config(self) -> dict[str, Any]:
        """The options by dotted key.

        Example:
            >>> About("run", Path("runs/run"), {"seed": 0, "train": {"lr": 0.1}}).flat_config()
            {'seed': 0, 'train.lr': 0.1}
        """
        flat: dict[str, Any] = {}
        for key, value in self.config.items():
            inside = value.items() if isinstance(value, Mapping) else ()
            flat |= {f"{key}.{name}": own for name, own in inside} or {key: value}
        return flat


def _read(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    node = Node(read_json_object(path), str(path))
    return {name: node.text(name) for name in node.value}


def _write(path: Path, logger: str, value: str) -> None:
    with locked(path):
        write_json(path, _read(path) | {logger: value})
