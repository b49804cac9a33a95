"""Where a file or a folder is written, and what cannot be replaced by one."""

import os
from pathlib import Path

__all__ = ["behind_links", "check_file", "check_folder"]


def behind_links(path: str | Path) -> Path:
    """What a path leads to: a link stays, and what is written under a temporary name is on the right disk."""
    return Path(os.path.realpath(path))


def check_file(path: str | Path) -> None:
    """Refuses what `atomic_write` would replace by a file although it is none.

    Raises:
        ValueError: If ``path`` is a folder, a device or a pipe, also as a link to one.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        kind = "folder" if os.path.isdir(path) else "device or a pipe"
        raise ValueError(f"{path}: must be a file, but is a {kind}; try another name")


def check_folder(path: str | Path) -> None:
    """Refuses a folder that `atomic_folder` cannot replace, or could replace only under the feet of who is in it.

    Raises:
        ValueError: If ``path`` is a mount point or the current folder.
    """
    there, kind = behind_links(path), ""
    if os.path.ismount(there):
        kind = "a mount point"
    elif there.is_dir() and os.path.samefile(there, os.curdir):
        kind = "the current one"
    if kind:
        raise ValueError(f"{path}: must be a folder that can be replaced, but is {kind}; try a folder in it")
