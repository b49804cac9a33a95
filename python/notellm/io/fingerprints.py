"""Fingerprints: names for contents. Equal contents have equal names, on every machine and in every version.

Results kept on disk carry the fingerprint of what they were made from; if that has changed, they are made anew.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Fingerprint", "json_fingerprint"]


class Fingerprint:
    """A hash (BLAKE2b) of everything that is added; the order counts.

    Args:
        size: Size of the hash in bytes; the name has twice as many hexadecimal digits.

    Example:
        >>> Fingerprint(size=4).add_json([1, "a"]).name()
        'c698996a'
    """

    def __init__(self, size: int = 16) -> None:
        self._digest = hashlib.blake2b(digest_size=size)

    def add_json(self, value: Any) -> "Fingerprint":
        """Adds plain data, as written by JSON; the order of keys does not count."""
        self._digest.update(json.dumps(value, sort_keys=True).encode())
        return self

    def add_array(self, array: NDArray[Any] | None) -> "Fingerprint":
        """Adds the bytes of an array, without its dtype and shape; None adds nothing."""
        if array is not None:
            self._digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)  # no copy
        return self

    def add_files(self, paths: Iterable[Path]) -> "Fingerprint":
        """Adds names and contents of files, sorted by path."""
        for path in sorted(paths):
            self._digest.update(path.name.encode())
            with path.open("rb") as file:
                self._digest.update(hashlib.file_digest(file, "blake2b").digest())
        return self

    def name(self) -> str:
        """The name so far."""
        return self._digest.hexdigest()


def json_fingerprint(value: Any, *, size: int = 8) -> str:
    """The fingerprint of plain data.

    Example:
        >>> json_fingerprint({"a": 1}) == json_fingerprint({"a": 1.0})
        False
    """
    return Fingerprint(size).add_json(value).name()
