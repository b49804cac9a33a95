"""What keeps a file from being written, said in one sentence that names it."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["FULL", "append_whole", "make_folder", "named"]

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers of system calls that mean that there is no room to write."""


@contextmanager
def named(path: str | Path, *, is_ours: bool = False) -> Iterator[None]:
    """Tells in one sentence that there is no room for ``path``, or, where the fault can only be of that, any other.

    Raises:
        OSError: Of the kind that it is.
    """
    try:
        yield
    except Exception as error:
        number = _number(error)
        if number is None or not (is_ours or number in (*FULL, errno.EROFS)):
            raise
        raise _unwritable(path, number) from error


def _unwritable(path: str | Path, number: int) -> OSError:
    remedy = "free some space" if number in FULL else "try another folder"
    kind = type(OSError(number, ""))  # PermissionError, say
    found = kind(f"{path}: must be written, but: {os.strerror(number)}; nothing is half-written; {remedy}")
    found.errno = number
    return found


def _number(error: Exception) -> int | None:
    """The system's number of a fault, unless it is told already; safetensors has it in its text alone.

    NumPy says of what was not written only how much that is.
    """
    if isinstance(error, OSError):
        is_numpy_s = error.errno is None and re.fullmatch(r"\d+ requested and \d+ written", str(error))
        return errno.ENOSPC if is_numpy_s else error.errno if error.strerror else None
    match = (
        re.search(r"\(os error (\d+)\)", str(error)) if type(error).__name__ == "SafetensorError" else None
    )
    return int(match[1]) if match else None


def make_folder(path: Path) -> None:
    """Creates a folder and its parents where they are missing.

    Raises:
        OSError: If it cannot be created; names it.
    """
    with named(path, is_ours=True):
        path.mkdir(parents=True, exist_ok=True)


def append_whole(descriptor: int, data: bytes, path: str | Path) -> None:
    """Appends to a file, completely or not at all.

    Args:
        descriptor: The file, open for appending; no other writer may use it during the call.
        data: What to write.
        path: Its name, for the error.

    Raises:
        OSError: If there is no room: the file is as it was.
    """
    before = os.fstat(descriptor).st_size
    left = memoryview(data)
    with named(path, is_ours=True):
        try:
            while left:  # a call may write only a part
                left = left[os.write(descriptor, left) :]
        except BaseException:
            os.ftruncate(descriptor, before)
            raise
