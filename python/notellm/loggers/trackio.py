"""trackio: a run of the project ``notellm``, in the folder that ``TRACKIO_DIR`` says."""

from collections.abc import Mapping
from contextlib import redirect_stdout
from io import StringIO
from uuid import uuid4

from notellm.loggers.about import About
from notellm.loggers.logger import Logger, Record, numbers_of, package

NAME = "trackio"


class Trackio(Logger):
    """A run of a project; runs of a study are a group. trackio knows runs by their names alone, so ours end in an id.

    Steps that are done again after an interruption are there twice, with the same numbers.

    Raises:
        NotSupportedError: If trackio is not installed.
    """

    def __init__(self, about: About, first_step: int | None) -> None:
        self._trackio = package("trackio", NAME)
        known = about.id_in(NAME) or f"{about.name} {uuid4().hex[:8]}"
        with redirect_stdout(StringIO()):  # advice on its dashboard, in the midst of our lines
            self._run = self._trackio.init(
                project=about.project,
                name=known,
                group=about.parent.name if about.parent else None,
                config=about.flat_config(),
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        about.set_id(NAME, known)

    def step(self, record: Record) -> None:
        """One line of the run's history."""
        self._run.log(numbers_of(record), step=record["step"])

    def summary(self, metrics: Mapping[str, float]) -> None:
        """One line more."""
        self._run.log({f"evaluation/{name}": value for name, value in metrics.items()})

    def close(self, *, failed: bool) -> None:
        """Writes what is left."""
        with redirect_stdout(StringIO()):
            self._trackio.finish()  # it knows one run at a time
