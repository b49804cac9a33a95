"""What all loggers do, and what they need in common."""

import math
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from notellm.loggers.about import About
from notellm.optional import importing

Record = Mapping[str, Any]
"""The numbers of a step, by name, with its number ``step``; None where there is none."""


class Logger:
    """One place where numbers of a run go, from when it is made until it is closed."""

    is_ours = False
    """Whether its failures are ours: a package that fails is left out from then on, and the training goes on."""

    def __init__(self, about: About, first_step: int | None) -> None:
        """Opens it for a run.

        Args:
            about: The run.
            first_step: Number of the first step that it is to get; None: it gets a summary alone.
        """

    def step(self, record: Record) -> None:
        """Takes the numbers of a step."""

    def summary(self, metrics: Mapping[str, float]) -> None:
        """Takes the numbers of the whole run."""

    def close(self, *, failed: bool) -> None:
        """Ends this part of the run.

        Args:
            failed: Whether it ends by an error or an interruption; it may still go on later.
        """


def numbers_of(record: Record) -> dict[str, float]:
    """The finite numbers of a step, by name.

    Example:
        >>> numbers_of({"step": 3, "loss": 0.5, "generative": None})
        {'loss': 0.5}
    """
    return {
        name: value
        for name, value in record.items()
        if name != "step" and isinstance(value, int | float) and math.isfinite(value)
    }


def package(name: str, logger: str) -> Any:
    """The module of a logger's package.

    Raises:
        NotSupportedError: If it is not installed.
    """
    with importing("train.loggers", name, install=f"'notellm[{logger}]'", otherwise="leave it out"):
        return import_module(name)
