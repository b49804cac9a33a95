"""TensorBoard events in the run folder."""

import time
from collections.abc import Mapping
from pathlib import Path

from notellm.loggers.about import About
from notellm.loggers.logger import Logger, Record, numbers_of, package


class TensorBoard(Logger):
    """Writes events below ``tensorboard/``; those of steps that are done again are purged.

    Raises:
        NotSupportedError: If tensorboard is not installed.
    """

    def __init__(self, about: About, first_step: int | None) -> None:
        package("tensorboard", "tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        folder = about.folder / "tensorboard"
        _wait_for_a_later_name(folder)
        self._writer = SummaryWriter(str(folder), purge_step=first_step)

    def step(self, record: Record) -> None:
        """One scalar for each number."""
        for name, value in numbers_of(record).items():
            self._writer.add_scalar(name, value, record["step"])

    def summary(self, metrics: Mapping[str, float]) -> None:
        """One scalar for each metric, at step 0."""
        for name, value in metrics.items():
            self._writer.add_scalar(f"evaluation/{name}", value, 0)

    def close(self, *, failed: bool) -> None:
        """Writes what is left."""
        self._writer.close()


def _wait_for_a_later_name(folder: Path) -> None:
    """Waits, for a second at most, until a new file of events comes after those in ``folder``.

    TensorBoard reads files in the order of their names: the second they were opened in, the host, the process, and a
    count that is not padded. Of two files of one second the tenth would come before the ninth, and be purged by it.
    """
    while any(folder.glob(f"events.out.tfevents.{int(time.time()):010d}.*")):
        time.sleep(0.02)
