"""Files and folders that appear complete or not at all."""

import errno
import os
import re
import secrets
import shutil
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from notellm.interrupts import before_a_hard_end, finishing
from notellm.io.targets import behind_links, check_file, check_folder
from notellm.io.write_errors import make_folder, named

__all__ = ["atomic_folder", "atomic_together", "atomic_write", "scratch_folder"]

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
        ValueError: If ``path`` is a folder, a device or a pipe.

    Example:
        >>> folder = getfixture("tmp_path")
        >>> with atomic_write(folder / "a.txt") as temporary:
        ...     _ = temporary.write_text("complete")
        >>> [file.name for file in folder.iterdir()]
        ['a.txt']
    """
    with atomic_together(path) as (temporary,):
        yield temporary


@contextmanager
def atomic_together(*paths: str | Path) -> Iterator[list[Path]]:
    """Writes files that mean something only together, as `atomic_write` each: all are complete before one is in place.

    Args:
        paths: The last is the one that readers begin with. It is removed first and renamed into place last, so it
            never stands beside another's companions.

    Yields:
        The temporary paths.

    Raises:
        OSError: As `atomic_write`; names the last path.
        ValueError: If one is a folder, a device or a pipe.
    """
    for path in paths:
        check_file(path)
    given, files = paths[-1], [behind_links(path) for path in paths]
    for path in files:
        make_folder(path.parent)
    with finishing("file", then_stop=True), ExitStack() as stack, named(given):
        temporaries = [stack.enter_context(_temporary(path)) for path in files]
        for temporary in temporaries:
            with named(given, is_ours=True):
                temporary.touch()
        mode = stat.S_IMODE(temporaries[0].stat().st_mode)
        yield temporaries
        for temporary in temporaries:
            temporary.chmod(mode)
            _sync(temporary)
        with _placing:
            if len(files) > 1:
                files[-1].unlink(missing_ok=True)
            for temporary, path in zip(temporaries, files, strict=True):
                temporary.replace(path)
        for path in files:
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
    make_folder(path.parent)
    with finishing("file", then_stop=True), _temporary(path) as temporary, named(given):
        with named(given, is_ours=True):
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
def scratch_folder(path: str | Path) -> Iterator[Path]:
    """A temporary folder beside ``path``, on the same disk, for files needed while ``path`` is created.

    Args:
        path: What is being created, with ``atomic_write`` or ``atomic_folder``; their success also
            removes scratch folders of killed processes.

    Yields:
        The folder, empty; it is removed at the end.
    """
    given, path = path, behind_links(path)
    make_folder(path.parent)
    with _temporary(path) as scratch:
        with named(given, is_ours=True):
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
