"""Weights & Biases: as ``WANDB_MODE`` and its other variables say, a run of the project ``notellm``."""

from collections.abc import Mapping
from uuid import uuid4

from notellm.loggers.about import About
from notellm.loggers.logger import Logger, Record, numbers_of, package

NAME = "wandb"


class WeightsAndBiases(Logger):
    """A run of a project; runs of a study are a group. One that goes on is the same run.

    Steps that are done again after an interruption have the same numbers, and are left out there.

    Raises:
        NotSupportedError: If wandb is not installed.
    """

    def __init__(self, about: About, first_step: int | None) -> None:
        wandb = package("wandb", NAME)
        known = about.id_in(NAME) or uuid4().hex[:8]
        self._run = wandb.init(
            project=about.project,
            id=known,
            resume="allow",
            name=about.name,
            group=about.parent.name if about.parent else None,
            config=dict(about.config),
            dir=str(about.folder),
            reinit="create_new",  # beside a run of the script's own
            settings=wandb.Settings(console="off", silent=True),
        )
        about.set_id(NAME, known)

    def step(self, record: Record) -> None:
        """One line of the run's history."""
        self._run.log(numbers_of(record), step=record["step"])

    def summary(self, metrics: Mapping[str, float]) -> None:
        """The run's summary."""
        self._run.summary.update(dict(metrics))

    def close(self, *, failed: bool) -> None:
        """Sends what is left."""
        self._run.finish(exit_code=int(failed))
