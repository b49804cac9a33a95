"""TensorBoard events in the run folder."""

from collections.abc import Mapping

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

        self._writer = SummaryWriter(str(about.folder / "tensorboard"), purge_step=first_step)

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
