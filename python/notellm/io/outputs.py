"""Checks an output before the work that it is for: it can be written, and it is nothing that the work reads."""

from collections.abc import Iterable
from pathlib import Path

from notellm.io.files import scratch_folder
from notellm.io.home import expanded
from notellm.io.targets import behind_links, check_file, check_folder

__all__ = ["check_apart", "check_output", "check_output_folder", "check_outputs"]


def check_output(path: str | Path, reads: Iterable[str | Path | None] = ()) -> None:
    """Refuses an output that could not be written after the work, or that would replace what the work reads.

    Args:
        path: The file to be written. Nothing is left behind, and missing folders are not created.
        reads: Files and folders that the work reads; None stands for none.

    Raises:
        OSError: If no file can be written there; names it.
        ValueError: If there is a folder, a device or a pipe of this name, or the file is one of those read, or in a
            folder that is read.

    Example:
        >>> folder = getfixture("tmp_path")
        >>> (folder / "notes.jsonl").touch()
        >>> check_output(folder / "labels.jsonl", [folder / "notes.jsonl"])
        >>> check_output(folder / "notes.jsonl", [folder / "notes.jsonl"])
        Traceback (most recent call last):
        ValueError: ...notes.jsonl: must be another file than those read, but is one of them; try another name
    """
    path, there = Path(path), behind_links(path)
    check_file(path)
    _check_writable(there)
    if not path.exists():
        return
    for read in reads:
        if read is not None and there.is_relative_to(expanded(read).resolve()):
            raise ValueError(
                f"{path}: must be another file than those read, but is one of them; try another name"
            )


def check_outputs(paths: Iterable[str | Path], reads: Iterable[str | Path | None] = ()) -> None:
    """Checks all files that a call writes, by `check_output`, and that they are different ones.

    Raises:
        OSError: As `check_output`.
        ValueError: As `check_output`, or if two are one file.
    """
    reads, before = list(reads), set()
    for path in paths:
        check_output(path, reads)
        if behind_links(path) in before:
            raise ValueError(f"{path}: must be written once, but is two of the outputs; try another name")
        before.add(behind_links(path))


def check_output_folder(path: str | Path, reads: Iterable[str | Path]) -> None:
    """Refuses a folder that could not be written after the work, or that would replace what the work reads.

    Args:
        path: The folder to be written; it may be there. Nothing is left behind.
        reads: Folders that the work reads.

    Raises:
        OSError: If nothing can be written there.
        ValueError: If there is a file of this name, or the folder cannot be replaced, or is one of those read, in one,
            or around one.
    """
    path, there = Path(path), behind_links(path)
    if path.is_file():
        raise ValueError(f"{path}: must be a folder, but is a file; try another name")
    check_folder(path)
    _check_writable(there)
    check_apart(path, reads)


def check_apart(path: str | Path, reads: Iterable[str | Path]) -> None:
    """Refuses a folder that is one of those read, or in one, which it would change, or around one.

    Raises:
        ValueError: If it is.
    """
    there = behind_links(path)
    for read in (Path(read).resolve() for read in reads):
        if there.is_relative_to(read) or read.is_relative_to(there):
            raise ValueError(
                f"{path}: must be another folder than {read}, which is read, but is in it or around it; try another "
                "name"
            )


def _check_writable(path: Path) -> None:
    """Fails where nothing can be written beside a path, or where its folder would be."""
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    with scratch_folder(folder / path.name):
        pass
