"""MLflow: where ``MLFLOW_TRACKING_URI`` says, a run in the experiment ``notellm``; a study is its runs' parent."""

import re
import time
from collections.abc import Mapping
from typing import Any

from notellm.io.locks import locked
from notellm.loggers.about import About, Parent
from notellm.loggers.logger import Logger, Record, numbers_of, package

NAME = "mlflow"
LONGEST = 500
"""Characters of a parameter that every server takes."""
AT_ONCE = 100
"""Parameters that a server takes in one call."""


class MlFlow(Logger):
    """A run in MLflow; one that goes on is the same run, with the same parameters.

    Steps that are done again after an interruption are there twice, with the same numbers.

    Raises:
        NotSupportedError: If mlflow is not installed.
    """

    def __init__(self, about: About, first_step: int | None) -> None:
        self._client = _client()
        self._run = about.id_in(NAME)
        if self._run:
            self._client.update_run(self._run, status="RUNNING")
            return
        experiment = _experiment(self._client, about.project)
        tags = {"notellm.folder": str(about.folder.resolve())}
        if about.parent is not None:
            tags["mlflow.parentRunId"] = _id_of(self._client, experiment, about.parent)
        self._run = _created(self._client, experiment, about.name, tags)
        self._describe(about.flat_config())
        about.set_id(NAME, self._run)

    def step(self, record: Record) -> None:
        """One metric for each number."""
        self._log(numbers_of(record), record["step"])

    def summary(self, metrics: Mapping[str, float]) -> None:
        """One metric for each, without a history."""
        self._log(metrics, 0)

    def close(self, *, failed: bool) -> None:
        """Ends the run, until it goes on."""
        self._client.set_terminated(self._run, "FAILED" if failed else "FINISHED")

    def _log(self, metrics: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        named = [Metric(_named(name), float(value), now, step) for name, value in metrics.items()]
        self._client.log_batch(self._run, metrics=named)

    def _describe(self, config: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        described = [Param(_named(name), str(value)[:LONGEST]) for name, value in config.items()]
        for begin in range(0, len(described), AT_ONCE):
            self._client.log_batch(self._run, params=described[begin : begin + AT_ONCE])


def end_parent(parent: Parent) -> None:
    """Says that a study's runs are done for now; nothing if MLflow does not know it."""
    if known := parent.id_in(NAME):
        _client().set_terminated(known, "FINISHED")


def _client() -> Any:
    return package("mlflow.tracking", NAME).MlflowClient()


def _experiment(client: Any, name: str) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException:  # another process was faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)


def _id_of(client: Any, experiment: str, parent: Parent) -> str:
    with locked(parent.folder / f"{parent.name}.{NAME}"):  # sweeps of one folder have one parent
        known = parent.id_in(NAME)
        if known:
            client.update_run(known, status="RUNNING")
            return known
        made = _created(client, experiment, parent.name, {"notellm.folder": str(parent.folder.resolve())})
        parent.set_id(NAME, made)
        return made


def _created(client: Any, experiment: str, name: str, tags: Mapping[str, str]) -> str:
    return str(client.create_run(experiment, run_name=name, tags=dict(tags)).info.run_id)


def _named(name: str) -> str:
    """A name that MLflow takes: recall_at_10."""
    return re.sub(r"[^\w\-. /]", "_", name.replace("@", "_at_"))
