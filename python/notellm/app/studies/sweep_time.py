"""How long a cell takes, over all calls of sweeps on it: kept in its run folder, as the time of its training is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from notellm.errors import DataError
from notellm.io.json_files import read_json_object, write_json
from notellm.io.json_tree import Node

_FILE = "sweep_time.json"


@contextmanager
def clocked(folder: Path) -> Iterator[None]:
    """Adds the time until the block's end, however it ends, to what earlier calls took.

    A process that is killed does not add its time.
    """
    begin = time.perf_counter()
    try:
        yield
    finally:
        with suppress(OSError):  # a full disk ends the cell with a message of its own
            seconds = sweep_seconds(folder) + time.perf_counter() - begin
            write_json(folder / _FILE, {"seconds": seconds})


def sweep_seconds(folder: Path) -> float:
    """Seconds that sweeps have worked on a cell, up to the end of the last call; 0 if none is known."""
    file = folder / _FILE
    try:
        return Node(read_json_object(file), str(file)).at("seconds").number() if file.exists() else 0.0
    except DataError:  # no result depends on it, so a damaged one stops no cell
        return 0.0


def forget_sweep_time(folder: Path) -> None:
    """Lets the time of a cell begin anew."""
    (folder / _FILE).unlink(missing_ok=True)
