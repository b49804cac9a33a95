"""The manifest of a folder that `gpu_bundle.sh` makes: what is in it, checked before a GPU machine's time is spent.

python tools/gpu_manifest.py write FOLDER --python 3.12 --commit NAME
python tools/gpu_manifest.py check FOLDER
python tools/gpu_manifest.py is-bundle FOLDER
"""

import argparse
import hashlib
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
LARGEST = 64 << 20
"""Bytes of a whole folder: it is carried to a machine that can fetch nothing."""


def files_of(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of every file but the manifest, by its place in the folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / MANIFEST:
            content = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            found[path.relative_to(folder).as_posix()] = {"bytes": len(content), "sha256": digest}
    return found


def needed_glibc(folder: Path) -> str:
    """The newest version of glibc that a shared library of the folder asks for, such as ``2.32``; "" for none."""
    asked = {
        tuple(int(part) for part in version.split(b"."))
        for path in folder.rglob("*.so*")
        for version in re.findall(rb"GLIBC_(2\.\d+)\b", path.read_bytes())
    }
    return ".".join(map(str, max(asked))) if asked else ""


def write(folder: Path, python: str, commit: str) -> str:
    """Writes the manifest; returns a line about it.

    Raises:
        ValueError: The folder is too large.
    """
    files = files_of(folder)
    total = sum(file["bytes"] for file in files.values())
    if total >= LARGEST:
        raise ValueError(f"{folder}: must be less than {LARGEST >> 20} MiB, but is {total / 2**20:.1f}")
    made = {"python": python, "glibc": needed_glibc(folder), "commit": commit, "bytes": total, "files": files}
    (folder / MANIFEST).write_text(json.dumps(made, indent=1) + "\n")
    return f"{folder}: {len(files)} files, {total / 2**20:.1f} MiB, for Python {python} and glibc {made['glibc']}"


def read(folder: Path) -> dict[str, Any] | None:
    """The manifest of a bundle; None where there is none, or one of something else, such as a folder of shards."""
    try:
        made = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return made if isinstance(made, dict) and made.keys() >= {"python", "glibc", "files"} else None


def check(folder: Path, python: str, glibc: str) -> list[str]:
    """What is wrong with a folder on a machine with this Python and this glibc."""
    if (made := read(folder)) is None:
        return [
            f"{folder}: must hold the {MANIFEST} of a bundle, but does not; make the folder by tools/gpu_bundle.sh"
        ]
    faults = []
    if made["python"] != python:
        faults.append(
            f"{folder}: is for Python {made['python']}, but this is {python}; try gpu_bundle.sh --python"
        )
    if made["glibc"] and _numbers(glibc) < _numbers(made["glibc"]):
        faults.append(f"{folder}: its libraries need glibc {made['glibc']} or newer, but here is {glibc}")
    there = files_of(folder)
    for name in sorted(made["files"].keys() | there.keys()):
        if name not in there:
            faults.append(f"{folder / name}: must be there, but is not")
        elif made["files"].get(name) != there[name]:
            faults.append(f"{folder / name}: must be as {MANIFEST} says, but is not")
    return faults


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def main() -> None:
    """Writes, checks, or only looks; ends with status 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["write", "check", "is-bundle"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default=f"{sys.version_info.major}.{sys.version_info.minor}")
    parser.add_argument("--commit", default="")
    options = parser.parse_args()
    if options.action == "write":
        try:
            print(write(options.folder, options.python, options.commit))
        except ValueError as error:
            sys.exit(str(error))
        return
    if options.action == "is-bundle":
        sys.exit(int(read(options.folder) is None))
    faults = check(options.folder, options.python, os.confstr("CS_GNU_LIBC_VERSION") or "")
    sys.exit("\n".join(faults) or None)


if __name__ == "__main__":
    main()
