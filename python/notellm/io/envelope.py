"""Files with a checksum: nothing that they hold is believed before all of it is known to be as it was written.

For contents whose reader cannot be trusted with damaged bytes. The checksum tells damage, not intent: whoever can
write such a file can write its checksum, so files from strangers stay files from strangers.

Layout: 16 bytes that name the kind and its version; 32 bytes of checksum; 8 bytes, the position of the description (the
lowest byte first); the content; the description, a JSON object, to the file's end. The checksum is BLAKE2b of the
content, the description and the position, in this order.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

from notellm.errors import DataError
from notellm.io.files import atomic_write
from notellm.io.json_tree import Node

__all__ = ["EnvelopeWriter", "opened_envelope", "written_envelope"]

START = 56
"""Where the content begins."""

_PIECE = 4 << 20
"""Bytes that are read at a time."""

_LARGEST_DESCRIPTION = 1 << 20
"""The most bytes of a description."""


class EnvelopeWriter:
    """The content of a file that is being written.

    Attributes:
        description: Written behind the content: plain data. To be filled by the writer.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.description: dict[str, Any] = {}
        self._file = file
        self._digest = hashlib.blake2b(digest_size=32)
        self._size = 0

    @property
    def size(self) -> int:
        """Bytes of content so far."""
        return self._size

    def write(self, data: "bytes | memoryview") -> int:
        """Appends to the content; returns how many bytes."""
        self._digest.update(data)
        self._file.write(data)
        self._size += memoryview(data).nbytes
        return memoryview(data).nbytes

    def finish(self, kind: bytes) -> None:
        """Writes the description, and what stands in front of the content."""
        position = (START + self._size).to_bytes(8, "little")
        self.write(json.dumps(self.description).encode())
        self._digest.update(position)
        self._file.seek(0)
        self._file.write(kind + self._digest.digest() + position)


@contextmanager
def written_envelope(path: str | Path, kind: bytes) -> Iterator[EnvelopeWriter]:
    """Writes a file, completely or not at all.

    Args:
        path: The file.
        kind: 16 bytes that name what it is, and the version of its content.

    Yields:
        What takes the content and its description.

    Raises:
        OSError: If it cannot be written; names ``path``.
    """
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        file.write(bytes(START))
        writer = EnvelopeWriter(file)
        yield writer
        writer.finish(kind)


@contextmanager
def opened_envelope(path: str | Path, kind: bytes, what: str) -> Iterator[tuple[Node, int, BufferedReader]]:
    """Opens a file whose bytes are as they were written.

    Args:
        path: The file.
        kind: As it was written.
        what: What the file must be, in words, for errors.

    Yields:
        The description, the size of the content in bytes, and the file, at the beginning of the content.

    Raises:
        DataError: If it is not there, is of another kind, or is damaged; names ``path``.
    """
    try:
        file = Path(path).open("rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise DataError(f"{path}: must be {what}, but: {error.strerror}") from None
    with file:
        try:
            description, size = _checked(file, kind)
        except (ValueError, OSError, RecursionError) as error:
            raise DataError(f"{path}: must be {what}, but {error}") from None
        yield Node(description, str(path)), size, file


def _checked(file: IO[bytes], kind: bytes) -> tuple[dict[str, Any], int]:
    """The description and the size of the content, where the checksum is right; the file is left at the content.

    Raises:
        ValueError: If it is not.
    """
    front = file.read(START)
    if front[:16] != kind:
        raise ValueError(f"begins with {front[:16]!r}, not with {kind!r}")
    digest, end = hashlib.blake2b(digest_size=32), START
    while piece := file.read(_PIECE):
        digest.update(piece)
        end += len(piece)
    digest.update(front[48:])
    if len(front) < START or digest.digest() != front[16:48]:
        raise ValueError("is damaged: its checksum is wrong")
    position = int.from_bytes(front[48:], "little")
    if not START <= position <= end or end - position > _LARGEST_DESCRIPTION:
        raise ValueError(f"its description begins at byte {position} of {end}")
    file.seek(position)
    description = json.loads(file.read())
    if not isinstance(description, dict):
        raise ValueError("its description is no object")
    file.seek(START)
    return description, position - START
