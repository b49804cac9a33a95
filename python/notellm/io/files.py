"""Files and folders that appear complete or not at all."""

import fcntl
import os
import re
import secrets
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from notellm.interrupts import before_a_hard_end, finishing

__all__ = ["atomic_folder", "atomic_write", "locked", "make_once", "scratch_folder"]

_unfinished: set[Path] = set()
"""What this process is writing under temporary names."""

_placing = threading.Lock()
"""Held while something takes its own name, or is about to be begun."""


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Writes a file under a temporary name beside it, then renames it into place.

    A reader sees the old file or the new one, whatever happens in between. When the body raises,
    the temporary file is removed and ``path`` stays as it was.

    Args:
        path: The file to write; missing parent folders are made.

    Yields:
        The temporary path to write to.

    Example:
        >>> folder = getfixture("tmp_path")
        >>> with atomic_write(folder / "a.txt") as temporary:
        ...     _ = temporary.write_text("complete")
        >>> [file.name for file in folder.iterdir()]
        ['a.txt']
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with finishing("file", then_stop=True), _temporary(path) as temporary:
        yield temporary
        _sync(temporary)
        with _placing:
            temporary.replace(path)
        _sync(path.parent)
        _sweep(path)


@contextmanager
def atomic_folder(path: str | Path, *, replace: bool = False) -> Iterator[Path]:
    """Fills a folder under a temporary name beside it, then renames it into place.

    Args:
        path: The folder to make; missing parent folders are made.
        replace: Whether a folder that is already there and not empty gives way to the new one. No
            call swaps two folders, so for an instant between two renames there is none.

    Yields:
        The temporary folder, empty.

    Raises:
        FileExistsError: If ``path`` is a non-empty folder and ``replace`` is false.
    """
    path = Path(path)
    if not replace and path.is_dir() and any(path.iterdir()):
        raise FileExistsError(f"{path}: must be empty or absent, but holds files; try another folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    with finishing("file", then_stop=True), _temporary(path) as temporary:
        temporary.mkdir()
        yield temporary
        for entry in sorted(temporary.rglob("*")):
            _sync(entry)
        _sync(temporary)
        _place_folder(temporary, path)
        _sync(path.parent)
        _sweep(path)


def _place_folder(temporary: Path, path: Path) -> None:
    """Gives a folder its own name; one that has the name goes, but not if that fails."""
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
    """Keeps other processes from making the same thing; the lock goes with the process that holds it.

    Args:
        path: What is being made; while it lasts, the lock is a file beside it.
        wait: Whether to wait until no other process holds the lock.

    Yields:
        Whether it is ours: false only where another process holds it and we do not wait.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.with_name(f"{path.name}.lock")
    while True:
        with name.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            if not _is_file_of(lock.fileno(), name):  # its last holder has removed it since
                continue
            try:
                yield True
            finally:
                name.unlink()
            return


def make_once(path: str | Path, is_complete: Callable[[], bool], make: Callable[[], object]) -> None:
    """Makes what is not there yet; of several processes one makes it, and the others wait for it.

    Args:
        path: What is being made, for the lock.
        is_complete: Whether it is there.
        make: Makes it.
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
    """Lends a folder beside ``path``, on the same disk, for what its making needs meanwhile.

    Args:
        path: What is being made, with ``atomic_write`` or ``atomic_folder``; its success also
            removes scratch folders of killed processes.

    Yields:
        The folder, empty; it is removed at the end.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _temporary(path) as scratch:
        scratch.mkdir()
        yield scratch


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """A name beside ``path``; what still bears it at the end is removed."""
    temporary = _temporary_name(path)
    with _placing:  # nothing is begun any more once all is abandoned
        _unfinished.add(temporary)
    try:
        yield temporary
    finally:
        _remove(temporary)
        _unfinished.discard(temporary)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _abandon_all() -> None:
    """Removes what is unfinished; nothing more is begun, or takes its own name: the process is about to end.

    It is renamed first: who is writing into a folder must not find it to add a file while it is emptied.
    """
    _placing.acquire()
    for temporary in _unfinished.copy():
        away = temporary.with_name(f"{temporary.name.removesuffix('.part')[:-8]}{secrets.token_hex(4)}.part")
        with suppress(OSError):  # it need not be there yet
            temporary.rename(away)
            _remove(away)


before_a_hard_end(_abandon_all)


def _temporary_name(path: Path) -> Path:
    """A name of our own: it says who writes it, so that a later writer knows what is abandoned."""
    writer = f"{socket.gethostname()}-{os.getpid()}"
    return path.with_name(f".{path.name}.{writer}-{secrets.token_hex(4)}.part")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(path: Path) -> None:
    """Removes what killed writers of ``path`` left; called once ``path`` is complete."""
    ours = re.compile(
        rf"\.{re.escape(path.name)}\.{re.escape(socket.gethostname())}-(\d+)-[0-9a-f]{{8}}\.part"
    )
    for entry in path.parent.iterdir():
        match = ours.fullmatch(entry.name)
        if match and not _is_running(int(match[1])):
            _remove(entry)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
