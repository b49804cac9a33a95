"""The ledger of all runs: one JSON object per line, appended and never changed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from notellm.io.json_files import read_complete_lines
from notellm.io.json_tree import Node
from notellm.io.locks import hold
from notellm.io.write_errors import append_whole

Entry = dict[str, Any]
"""Study, row, seed, scale, key and configuration of a cell; status (``"done"``, ``"failed"``, or ``"begun"`` if a
finished cell is run again) and error; its metrics, names of its data, of the catalogue that these are a split of, of
its queries and, by system, of its embeddings; commit and machine; seconds in all, and those of its training; and the
time it was finished."""


DEFAULTS: Entry = {
    "searched": "",
    "error": "",
    "metrics": {},
    "data": "",
    "catalogue": "",
    "queries": "",
    "embeddings": {},
    "commit": "",
    "machine": "",
    "seconds": 0.0,
    "training_seconds": 0.0,
}
"""What an entry says that lacks one of these."""


class Ledger:
    """A ledger file. Several processes may append at once.

    Args:
        path: The file; created at the first entry.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def append(self, entry: Mapping[str, Any]) -> None:
        """Adds an entry, completely or not at all.

        Raises:
            OSError: If there is no room for it, the folder is read-only, or its file system has no locks.
            ValueError: If a number is not finite.
        """
        line = json.dumps(dict(entry), ensure_ascii=False, allow_nan=False) + "\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            hold(file.fileno(), self.path)
            _cut_torn_line(file.fileno())
            append_whole(file.fileno(), line.encode(), self.path)
            os.fsync(file.fileno())

    def entries(self) -> list[Entry]:
        """All entries, oldest first; an incomplete last one (after a crash) is left out.

        Raises:
            DataError: If another line is not an entry; names the line.
        """
        if not self.path.exists():
            return []
        return [_checked(line) for line in read_complete_lines(self.path)]

    def newest(self) -> dict[str, Entry]:
        """The newest entry of each cell, by its key."""
        return {entry["key"]: entry for entry in self.entries()}


def _checked(line: Node) -> Entry:
    """An entry whose values have the types that studies rely on."""
    entry = Node(DEFAULTS | line.value, line.where)
    for name in ("key", "status", "searched", "error", "data", "catalogue", "queries", "commit", "machine"):
        entry.text(name)
    for system in entry.entries("embeddings"):
        entry.at("embeddings").text(system)
    for name in ("seconds", "training_seconds"):
        entry.at(name).number()
    for metric in entry.entries("metrics").values():
        metric.number()
    checked: Entry = entry.value
    return checked


def _cut_torn_line(descriptor: int) -> None:
    """Removes what a crashed process left after the last complete line."""
    size = os.fstat(descriptor).st_size
    content = os.pread(descriptor, size, 0)
    whole = content.rfind(b"\n") + 1
    if whole < size:
        os.ftruncate(descriptor, whole)
