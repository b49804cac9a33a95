"""How long work on a run folder took: kept there, since it may be interrupted and go on in another call."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from notellm.errors import DataError
from notellm.io.json_files import read_json_object, write_json
from notellm.io.json_tree import Node
from notellm.processes import Processes

__all__ = ["SWEEP_TIME", "TRAINING_TIME", "KeptSeconds"]


@dataclass(frozen=True)
class KeptSeconds:
    """Seconds of one kind of work, added up over all calls.

    Attributes:
        file: The name of their file in a run folder.
        is_result: Whether results show them: then a damaged file is an error, else it counts as none.
    """

    file: str
    is_result: bool

    @contextmanager
    def clocked(self, folder: Path) -> Iterator[None]:
        """Adds the time until the block's end, however it ends, to what earlier calls on the run folder took.

        A process that is killed does not add its time.

        Raises:
            DataError: Before the block, if results show these seconds and their file is damaged.
        """
        self.of(folder)  # an error comes before the work, not after it
        begin = time.perf_counter()
        try:
            yield
        finally:
            if Processes.current().is_first:
                with suppress(OSError):  # a full disk ends the block with a message of its own
                    self.add(folder, time.perf_counter() - begin)

    def of(self, folder: Path) -> float:
        """Seconds up to the end of the last call; 0 if none is known.

        Raises:
            DataError: If results show them and their file is damaged.
        """
        file = folder / self.file
        try:
            return Node(read_json_object(file), str(file)).at("seconds").number() if file.exists() else 0.0
        except DataError:
            if self.is_result:
                raise
            return 0.0

    def add(self, folder: Path, seconds: float) -> None:
        """Adds what was spent elsewhere for this folder."""
        write_json(folder / self.file, {"seconds": self.of(folder) + seconds})

    def forget(self, folder: Path) -> None:
        """Lets them begin anew."""
        (folder / self.file).unlink(missing_ok=True)


TRAINING_TIME = KeptSeconds("training_time.json", is_result=True)
"""Training, with reading the model and writing checkpoints."""

SWEEP_TIME = KeptSeconds("sweep_time.json", is_result=False)
"""All that sweeps did for a cell: what later cells are planned by."""
