"""The callback that gives the numbers of each step to the loggers."""

from typing import Any

from notellm.io.plain import plain
from notellm.loggers import About, Loggers
from notellm.training.callbacks import Callback, Training


class StepLogging(Callback):
    """Opens loggers for a training, and gives them the record of every step; on the first process alone.

    Args:
        names: Keys of `notellm.loggers.LOGGERS`.
        about: The run.
    """

    def __init__(self, names: tuple[str, ...], about: About) -> None:
        self._names, self._about = names, about
        self._loggers: Loggers | None = None

    def before_training(self, training: Training) -> None:
        """Opens them."""
        if training.processes.is_first:
            self._loggers = Loggers(self._names, self._about, training.step)

    def after_step(self, training: Training, record: dict[str, Any]) -> None:
        """Gives them the record."""
        if self._loggers is not None:
            self._loggers.step(plain(record, "after_step: record"))

    def after_training(self, training: Training, error: BaseException | None) -> None:
        """Closes them."""
        if self._loggers is not None:
            self._loggers.close(failed=error is not None)
            self._loggers = None
