"""How long a run's training took: kept in its folder, since it may be interrupted and go on in another call."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from notellm.app.run import RunFolder
from notellm.io.json_files import read_json_object, write_json
from notellm.io.json_tree import Node
from notellm.processes import Processes

_FILE = "training_time.json"


@contextmanager
def clocked(run: RunFolder) -> Iterator[None]:
    """Adds the time until the block's end, however it ends, to what earlier calls on the run folder took.

    A process that is killed does not add its time.
    """
    begin = time.perf_counter()
    try:
        yield
    finally:
        if Processes.current().is_first:
            with suppress(OSError):  # a full disk ends the training with a message of its own
                add_training_seconds(run.path, time.perf_counter() - begin)


def add_training_seconds(folder: Path, seconds: float) -> None:
    """Adds to the time of training in a run folder."""
    write_json(folder / _FILE, {"seconds": training_seconds(folder) + seconds})


def training_seconds(folder: Path) -> float:
    """Seconds of training in a run folder, with reading the model and writing checkpoints; 0 if none is known."""
    file = folder / _FILE
    return Node(read_json_object(file), str(file)).at("seconds").number() if file.exists() else 0.0


def forget_training_time(folder: Path) -> None:
    """Lets the time of training in a run folder begin anew."""
    (folder / _FILE).unlink(missing_ok=True)
