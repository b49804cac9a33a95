"""Reads the machine's package catalogue through apt, in private folders and without root."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from notellm.errors import DataError
from notellm.progress import ProgressFn

__all__ = ["catalogue", "stanzas"]

APT_HELPER = "/usr/lib/apt/apt-helper"

COMPONENTS = {"Debian": ("main",), "Ubuntu": ("main", "universe")}
"""The components to read of each distribution, by the origin named in its release files."""

ADDED_LATER = ("-updates", "-security", "-backports", "-backports-sloppy", "-proposed", "-proposed-updates")
"""Endings of suites that change from day to day. A release itself changes only with a point release, if at all; so
the catalogue of two machines, or of two days, is the same."""

Stanzas = Iterator[dict[str, str]]

_WITHOUT_HOOKS = """\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""
"""Configuration so that an update does not touch the machine's own caches; only a file can clear lists."""

_REMEDY = "try your own files instead: Notes.read and Interactions.read"


@contextmanager
def catalogue(folder: Path, progress: ProgressFn | None = None) -> Iterator[tuple[Stanzas, Stanzas]]:
    """Downloads the package lists into ``folder`` and opens them.

    The folder is removed after the body has succeeded. When it is interrupted the folder stays, and
    the next call continues apt's downloads.

    Yields:
        The entries of all Packages files and those of all Translation-en files.

    Raises:
        DataError: If there is no apt, or it has no list of Debian or Ubuntu.
    """
    if shutil.which("apt-get") is None or not Path(APT_HELPER).exists():
        raise DataError(
            f"debian: needs apt, the package manager of Debian and Ubuntu, but has none; {_REMEDY}"
        )
    folder = folder.resolve()
    (folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (folder / "apt.conf").write_text(_WITHOUT_HOOKS)
    said = _update(folder, progress)
    targets = [target for target in _targets(folder) if target.is_ours]
    if not any(target.kind == "Packages" for target in targets):
        raise DataError(
            "debian: apt must have fetched a list of Debian or Ubuntu, but has none; "
            f"it said: {said}; {_REMEDY}"
        )
    yield _all_stanzas(targets, "Packages"), _all_stanzas(targets, "Translations")
    shutil.rmtree(folder)


def stanzas(lines: Iterator[str]) -> Stanzas:
    r"""Splits the text of a control file into entries of field name to value.

    Continuation lines keep their leading blank, which distinguishes verbatim text from paragraphs.

    Example:
        >>> list(stanzas(iter(["Package: tea\n", "Tag: a,\n", " b\n", "\n", "Package: mud\n"])))
        [{'Package': 'tea', 'Tag': 'a,\n b'}, {'Package': 'mud'}]
    """
    entry: dict[str, str] = {}
    field = ""
    for line in lines:
        text = line.rstrip("\n")
        if not text:
            if entry:
                yield entry
            entry = {}
        elif text[0] in " \t":
            if not entry:
                raise DataError(
                    f"debian: an entry of a list must begin with a field, but one is {text[:60]!r}"
                )
            entry[field] += "\n" + text
        else:
            field, _, value = text.partition(":")
            entry[field] = value.strip()
    if entry:
        yield entry


@dataclass(frozen=True)
class _Target:
    """One list that apt has downloaded."""

    kind: str
    origin: str
    component: str
    suite: str
    file: str

    @property
    def is_ours(self) -> bool:
        is_main = self.component in COMPONENTS.get(self.origin, ())
        return is_main and not self.suite.endswith(ADDED_LATER)


def _options(folder: Path) -> list[str]:
    settings = {
        "Dir::State::Lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        "Acquire::Languages": "en",  # slim images set it to none
        "APT::Sandbox::User": "root",  # otherwise root gives its downloads to _apt, which has no access here
        "Acquire::IndexTargets::deb-src::Sources::DefaultEnabled": "false",
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
        "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled": "false",
    }
    options = [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]
    return ["--config-file", str(folder / "apt.conf"), *options]


def _update(folder: Path, progress: ProgressFn | None) -> str:
    """Runs ``apt-get update`` and returns the end of its error output.

    Its exit status is no help here: one unreachable third-party source makes it fail.
    """
    command = ["apt-get", "update", *_options(folder), "-o", "APT::Status-Fd=1"]
    with tempfile.TemporaryFile("w+", errors="replace") as complaints:
        with _running(command, complaints) as process:
            for line in process.stdout or ():
                if progress and line.startswith("dlstatus:"):
                    progress(round(float(line.split(":")[2])), 100)
        complaints.seek(0)
        return " ".join(complaints.read().split())[-500:] or "nothing"


def _targets(folder: Path) -> list[_Target]:
    """The lists that exist, in the order of the machine's sources."""
    form = "$(CREATED_BY)\t$(ORIGIN)\t$(COMPONENT)\t$(SUITE)\t$(FILENAME)"
    command = ["apt-get", "indextargets", *_options(folder), "--format", form]
    listed = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    rows = [line.split("\t") for line in listed.stdout.splitlines()]
    return [_Target(*row) for row in rows if len(row) == 5]


def _all_stanzas(targets: list[_Target], kind: str) -> Stanzas:
    for target in targets:
        if target.kind != kind:
            continue
        # apt chooses the compression of its lists.
        with _running([APT_HELPER, "cat-file", target.file]) as process:
            yield from stanzas(iter(process.stdout or ()))
        if process.returncode != 0:
            raise DataError(f"{target.file}: must be readable by {APT_HELPER}, but it failed; {_REMEDY}")


@contextmanager
def _running(command: list[str], errors: IO[str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """Runs a command and reads its output as text; stops it if the block ends first."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=errors, encoding="utf-8", errors="replace") as process:
        try:
            yield process
        except BaseException:
            process.terminate()
            raise
