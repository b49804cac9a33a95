"""Opens loggers by name."""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec

from notellm.errors import NotSupportedError
from notellm.loggers import mlflow
from notellm.loggers.about import About, Parent
from notellm.loggers.json_lines import JsonLines
from notellm.loggers.logger import Logger, Record, package
from notellm.loggers.tensorboard import TensorBoard
from notellm.loggers.trackio import Trackio
from notellm.loggers.wandb import WeightsAndBiases

LOGGERS: dict[str, type[Logger]] = {
    "jsonl": JsonLines,
    "tensorboard": TensorBoard,
    "mlflow": mlflow.MlFlow,
    "wandb": WeightsAndBiases,
    "trackio": Trackio,
}
"""Each is opened for a run, and the first step that it is to get; None: a summary alone."""

PACKAGES = {"tensorboard": "tensorboard", "mlflow": "mlflow", "wandb": "wandb", "trackio": "trackio"}


def check_installed(names: Sequence[str]) -> None:
    """Looks for the packages of loggers, without importing those that are there.

    Raises:
        NotSupportedError: If one is not installed.
    """
    for name in names:
        if name in PACKAGES and find_spec(PACKAGES[name]) is None:
            package(PACKAGES[name], name)


def end_parent(names: Sequence[str], parent: Parent) -> None:
    """Says that the runs of a study are done for now, to those loggers that know it; a failure is only said.

    Args:
        names: Keys of `LOGGERS`.
        parent: The study.
    """
    if "mlflow" in names:
        try:
            mlflow.end_parent(parent)
        except Exception as error:
            print(f"MLflow shows {parent.name} as running, since it fails: {error}", file=sys.stderr)


class Loggers:
    """Loggers of a run, until they are closed.

    A package that fails, for example since its server is away, is left out from then on: its failure is said once, and
    the work goes on.

    Args:
        names: Keys of `LOGGERS`.
        about: The run.
        first_step: Number of the first step that they will get: those behind it are done again. None: no step.

    Raises:
        NotSupportedError: If a package is not installed.
    """

    def __init__(self, names: Sequence[str], about: About, first_step: int | None = None) -> None:
        self._open: list[Logger] = []
        try:
            for name in names:
                self._add(name, about, first_step)
        except BaseException:
            self.close(failed=True)
            raise

    def _add(self, name: str, about: About, first_step: int | None) -> None:
        try:
            self._open.append(LOGGERS[name](about, first_step))
        except NotSupportedError:
            raise
        except Exception as error:
            if LOGGERS[name].is_ours:
                raise
            print(f"{name} gets nothing of this run, since it cannot be opened: {error}", file=sys.stderr)

    def step(self, record: Record) -> None:
        """Gives them the numbers of a step."""
        self._each(lambda logger: logger.step(record))

    def summary(self, metrics: Mapping[str, float]) -> None:
        """Gives them the numbers of the whole run."""
        self._each(lambda logger: logger.summary(metrics))

    def close(self, *, failed: bool) -> None:
        """Closes them.

        Args:
            failed: Whether the work ends by an error or an interruption.
        """
        self._each(lambda logger: logger.close(failed=failed))
        self._open = []

    def _each(self, call: Callable[[Logger], None]) -> None:
        for logger in list(self._open):
            try:
                call(logger)
            except Exception as error:
                if logger.is_ours:
                    raise
                self._open.remove(logger)
                name = type(logger).__name__
                print(f"{name} gets nothing more of this run, since it fails: {error}", file=sys.stderr)
