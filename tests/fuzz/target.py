"""What a target is, and where all of them are."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from notellm.errors import ConfigError, DataError, NotSupportedError

REFUSALS = (ConfigError, DataError, NotSupportedError)
"""How a reader may refuse a content."""


class Target(NamedTuple):
    """Contents that a reader takes, and how it is called with one."""

    seeds: list[bytes]
    read: Callable[[bytes], object]


TARGETS: dict[str, Callable[[Path], Target]] = {}
"""By name; each makes its target, in an empty folder of its own."""


def target(make: Callable[[Path], Target]) -> Callable[[Path], Target]:
    TARGETS[make.__name__] = make
    return make


def of_file(path: Path, seeds: list[bytes], read: Callable[[Path], object]) -> Target:
    """A reader of a file."""

    def from_bytes(content: bytes) -> object:
        path.write_bytes(content)
        return read(path)

    return Target(seeds, from_bytes)


def in_folder(folder: Path, name: str, read: Callable[[Path], object], *seeds: object) -> Target:
    """A reader of a folder, one file of which is changed; seeds are JSON values, by default what the file holds."""
    path = folder / name
    contents = [json.dumps(seed).encode() for seed in seeds] or [path.read_bytes()]
    return of_file(path, contents, lambda _: read(folder))
