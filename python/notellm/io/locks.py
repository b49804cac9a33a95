"""Locks between processes: one creates a thing, the others wait or are told who does."""

import fcntl
import json
import os
import shlex
import socket
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from notellm.io.write_errors import append_whole, make_folder, named

__all__ = ["hold", "holder_of", "locked", "make_once"]


@contextmanager
def locked(path: str | Path, *, wait: bool = True) -> Iterator[bool]:
    """Keeps other processes from creating the same thing; the lock ends with the process that holds it.

    Args:
        path: What is being created; while held, the lock is a file beside it that says who holds it (`holder_of`).
        wait: Whether to wait until no other process holds the lock.

    Yields:
        Whether this process has the lock: false only if another process has it and ``wait`` is false.

    Raises:
        OSError: If there can be no lock: the folder is read-only, or its file system has none.
    """
    name = _lock_of(Path(path))
    make_folder(name.parent)
    while True:
        with _opened(name) as lock:
            try:
                hold(lock.fileno(), name, wait=wait)
            except BlockingIOError:
                yield False
                return
            except OSError:
                name.unlink(missing_ok=True)
                raise
            if not _is_file_of(lock.fileno(), name):  # its last holder has removed it meanwhile
                continue
            try:
                _sign(lock.fileno(), name)
                yield True
            finally:
                name.unlink(missing_ok=True)
            return


def hold(descriptor: int, path: str | Path, *, wait: bool = True) -> None:
    """Locks an open file until it is closed; ``path`` is its name, for the error.

    Raises:
        OSError: If its file system has no locks; a BlockingIOError if another holds it and ``wait`` is false.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        raise OSError(
            f"{path}: must be locked, but: {error.strerror}; try a folder on another file system, or a mount with flock"
        ) from error


def holder_of(path: str | Path) -> str:
    """Who holds the lock, in words; empty if that is no longer known."""
    try:
        known = json.loads(_lock_of(Path(path)).read_text(encoding="utf-8"))
        return f"`{known['command']}`, process {known['pid']} on {known['host']}, since {known['since']}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def _lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _opened(name: Path) -> IO[bytes]:
    with named(name, is_ours=True):
        return name.open("ab", buffering=0)


def _sign(descriptor: int, name: Path) -> None:
    os.ftruncate(descriptor, 0)
    known = {
        "command": textwrap.shorten(shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]), 200),
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    append_whole(descriptor, json.dumps(known).encode(), name)


def make_once(path: str | Path, is_complete: Callable[[], bool], make: Callable[[], object]) -> None:
    """Creates something that does not exist yet; one of several processes creates it, and the others wait.

    Args:
        path: What is being created, for the lock.
        is_complete: Whether it exists.
        make: Creates it.
    """
    if is_complete():
        return
    with locked(path):
        if not is_complete():  # no other process was faster
            make()


def _is_file_of(descriptor: int, name: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), name.stat())
    except FileNotFoundError:
        return False
