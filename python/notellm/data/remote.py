"""Files that are elsewhere: URLs of any system that fsspec knows (``hf://``, ``s3://``, ``https://``)."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from notellm.errors import DataError, NotSupportedError
from notellm.optional import importing

__all__ = ["local_copy"]

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


@contextmanager
def local_copy(path: str | Path) -> Iterator[Path]:
    """A file or folder on this machine: the path itself, or a copy of what a URL names, kept as long as it is used.

    Errors that name the copy name the URL instead.

    Args:
        path: A path, or a URL as text.

    Raises:
        FileNotFoundError: If the URL names nothing.
        NotSupportedError: If fsspec, or the package that it needs for this kind of URL, is not installed.
        DataError: If it cannot be copied.
    """
    if not _URL.match(str(path)):
        yield Path(path)
        return
    url = str(path).rstrip("/")
    with TemporaryDirectory(prefix="notellm-") as folder:
        copy = Path(folder, re.split(r"[/\\]", url)[-1].split("?")[0] or "data")
        _fetch(url, copy)
        try:
            yield copy
        except (DataError, ValueError, FileNotFoundError) as error:
            if type(error) not in (
                DataError,
                ValueError,
                FileNotFoundError,
            ):  # a subclass may take other arguments
                raise
            raise type(error)(str(error).replace(str(copy), url)) from error


def _fetch(url: str, copy: Path) -> None:
    system, place = _system(url)
    try:
        if system.isdir(place):
            system.get(place.rstrip("/") + "/", f"{copy}/", recursive=True)
        else:
            system.get_file(place, str(copy))
    except FileNotFoundError:
        raise FileNotFoundError(f"{url}: must be a file or a folder of files, but does not exist") from None
    except Exception as error:  # each system has exceptions of its own
        raise DataError(
            f"{url}: must be readable, but {' '.join(str(error).split()) or repr(error)}"
        ) from error


def _system(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the place in it."""
    with importing(url, "fsspec"):
        import fsspec
    try:
        system, place = fsspec.core.url_to_fs(url)
    except ImportError as error:  # it names the package to install
        raise NotSupportedError(f"{url}: must be of a kind that fsspec can read, but: {error}") from error
    except ValueError as error:
        raise DataError(f"{url}: must be of a kind that fsspec knows, but: {error}") from error
    return system, place
