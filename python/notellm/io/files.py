"""Files and folders that appear complete or not at all."""

import errno
import fcntl
import json
import os
import re
import secrets
import shlex
import shutil
import socket
import stat
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from notellm.interrupts import before_a_hard_end, finishing
from notellm.io.targets import behind_links, check_file, check_folder

__all__ = [
    "append_whole",
    "atomic_folder",
    "atomic_write",
    "hold",
    "holder_of",
    "locked",
    "make_once",
    "scratch_folder",
]

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers of system calls that mean that there is no room to write."""

_UNSYNCED = (errno.EINVAL, errno.EBADF, errno.ENOTSUP, errno.EACCES)
"""Error numbers of folders that cannot be synchronised: their file system, or their permissions, do not allow it."""

_unfinished: set[Path] = set()
"""Files and folders that this process is writing under temporary names."""

_placing = threading.Lock()
"""Held while a file or folder is renamed to its final name, or is about to be created."""


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Writes a file under a temporary name beside it, then renames it into place.

    A reader sees the old file or the new one, whatever happens in between. When the body raises,
    the temporary file is removed and ``path`` stays as it was. The file has the permissions of any
    new file, even if the body's writer sets others.

    Args:
        path: The file to write; missing parent folders are created. Of a link, what it leads to is written.

    Yields:
        The temporary path to write to, an empty file.

    Raises:
        OSError: If it cannot be written (the disk is full, the folder is read-only); names ``path``.
        ValueError: If ``path`` is a device or a pipe.

    Example:
        >>> folder = getfixture("tmp_path")
        >>> with atomic_write(folder / "a.txt") as temporary:
        ...     _ = temporary.write_text("complete")
        >>> [file.name for file in folder.iterdir()]
        ['a.txt']
    """
    check_file(path)
    given, path = path, behind_links(path)
    _make_folder(path.parent)
    with finishing("file", then_stop=True), _temporary(path) as temporary, _named(given):
        with _named(given, is_ours=True):
            temporary.touch()
        mode = stat.S_IMODE(temporary.stat().st_mode)
        yield temporary
        temporary.chmod(mode)
        _sync(temporary)
        with _placing:
            temporary.replace(path)
        _sync(path.parent)
        _sweep(path)


@contextmanager
def atomic_folder(path: str | Path, *, replace: bool = False) -> Iterator[Path]:
    """Fills a folder under a temporary name beside it, then renames it into place.

    Args:
        path: The folder to create; missing parent folders are created, too. Of a link, what it leads to is created.
        replace: Whether an existing folder that is not empty is replaced by the new one. Two folders
            cannot be swapped in one call, so for an instant between two renames there is none.

    Yields:
        The temporary folder, empty.

    Raises:
        FileExistsError: If ``path`` is a non-empty folder and ``replace`` is false.
        OSError: As `atomic_write`.
        ValueError: If ``path`` is a folder that cannot be replaced.
    """
    check_folder(path)
    given, path = path, behind_links(path)
    if not replace and path.is_dir() and any(path.iterdir()):
        raise FileExistsError(f"{given}: must be empty or absent, but holds files; try another folder")
    _make_folder(path.parent)
    with finishing("file", then_stop=True), _temporary(path) as temporary, _named(given):
        with _named(given, is_ours=True):
            temporary.mkdir()
        mode = stat.S_IMODE(temporary.stat().st_mode)
        yield temporary
        for entry in sorted(temporary.rglob("*")):
            if not entry.is_symlink():
                entry.chmod(mode if entry.is_dir() else mode & 0o666)
            _sync(entry)
        _sync(temporary)
        _place_folder(temporary, path)
        _sync(path.parent)
        _sweep(path)


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
    with _named(path, is_ours=True):
        try:
            while left:  # a call may write only a part
                left = left[os.write(descriptor, left) :]
        except BaseException:
            os.ftruncate(descriptor, before)
            raise


@contextmanager
def _named(path: str | Path, *, is_ours: bool = False) -> Iterator[None]:
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
    """The system's number of a fault, unless it is told already; safetensors has it in its text alone."""
    if isinstance(error, OSError):
        return error.errno if error.strerror else None
    match = (
        re.search(r"\(os error (\d+)\)", str(error)) if type(error).__name__ == "SafetensorError" else None
    )
    return int(match[1]) if match else None


def _make_folder(path: Path) -> None:
    with _named(path, is_ours=True):
        path.mkdir(parents=True, exist_ok=True)


def _place_folder(temporary: Path, path: Path) -> None:
    """Renames a folder to its final name; a folder that has this name is removed, but kept if renaming fails."""
    old = _temporary_name(path)
    with _placing:
        try:
            if path.exists():
                path.rename(old)
            temporary.rename(path)
        except BaseException:
            if old.exists() and not path.exists():
                old.rename(path)
            raise
    _remove(old)


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
    _make_folder(name.parent)
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
    with _named(name, is_ours=True):
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


@contextmanager
def scratch_folder(path: str | Path) -> Iterator[Path]:
    """A temporary folder beside ``path``, on the same disk, for files needed while ``path`` is created.

    Args:
        path: What is being created, with ``atomic_write`` or ``atomic_folder``; their success also
            removes scratch folders of killed processes.

    Yields:
        The folder, empty; it is removed at the end.
    """
    given, path = path, behind_links(path)
    _make_folder(path.parent)
    with _temporary(path) as scratch:
        with _named(given, is_ours=True):
            scratch.mkdir()
        yield scratch


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path``; a file or folder that still has it at the end is removed."""
    temporary = _temporary_name(path)
    with _placing:  # nothing new is created once `_abandon_all` has begun
        _unfinished.add(temporary)
    try:
        yield temporary
    finally:
        _remove(temporary)
        _unfinished.discard(temporary)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _abandon_all() -> None:
    """Removes everything unfinished, as the process is about to end; nothing more is created or renamed after this.

    A folder is renamed first, so that a thread that writes into it cannot add a file while it is emptied.
    """
    _placing.acquire()
    for temporary in _unfinished.copy():
        away = temporary.with_name(f"{temporary.name.removesuffix('.part')[:-8]}{secrets.token_hex(4)}.part")
        with suppress(OSError):  # it may not exist yet
            temporary.rename(away)
            _remove(away)


before_a_hard_end(_abandon_all)


def _temporary_name(path: Path) -> Path:
    """A temporary name with the process that writes it, so that a later writer can tell what is abandoned."""
    writer = f"{socket.gethostname()}-{os.getpid()}"
    return path.with_name(f".{path.name}.{writer}-{secrets.token_hex(4)}.part")


def _sync(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _UNSYNCED or not path.is_dir():
            raise


def _sweep(path: Path) -> None:
    """Removes what killed writers of ``path`` left behind; called when ``path`` is complete."""
    host = re.escape(socket.gethostname())
    ours = re.compile(rf"\.{re.escape(path.name)}\.{host}-(\d+)-[0-9a-f]{{8}}\.part")
    with suppress(OSError):  # this only tidies up
        for entry in path.parent.iterdir():
            match = ours.fullmatch(entry.name)
            if match and not _is_in_use(entry, int(match[1])):
                _remove(entry)


def _is_in_use(temporary: Path, pid: int) -> bool:
    """Whether its writer lives; a process in a container is often followed by one of the same number."""
    if pid == os.getpid():
        return temporary in _unfinished
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
