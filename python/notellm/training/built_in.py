"""The callbacks that a training's options ask for."""

from pathlib import Path

from notellm.loggers import About, check_installed
from notellm.training.callbacks import Callback
from notellm.training.logging import StepLogging
from notellm.training.options import TrainOptions
from notellm.training.validation import Measure, Validation


def chosen_callbacks(
    options: TrainOptions, folder: Path | None, measure: Measure | None, about: About | None
) -> tuple[list[Callback], list[Callback]]:
    """The callbacks before a script's own, and those behind them.

    Args:
        options: Of the training.
        folder: Of the run.
        measure: What validation measures.
        about: What loggers are told of the run.

    Raises:
        ValueError: If there is no measure or no folder, but options need it, or a measure that they do not.
        NotSupportedError: If a logger's package is not installed.
    """
    return _validation(options, measure), _logging(options, folder, about)


def _validation(options: TrainOptions, measure: Measure | None) -> list[Callback]:
    if not options.validate_every:
        if measure is not None or options.patience:
            what = "validate is given" if measure is not None else f"patience is {options.patience}"
            raise ValueError(f"Trainer: validate_every must be at least 1 where {what}, but is 0")
        return []
    if measure is None:
        raise ValueError(
            f"Trainer: validate must be given where validate_every is {options.validate_every}; try "
            "notellm.training.validation.recall_on"
        )
    return [Validation(measure, every=options.validate_every, patience=options.patience)]


def _logging(options: TrainOptions, folder: Path | None, about: About | None) -> list[Callback]:
    names = options.loggers
    check_installed(names)
    if folder is not None:
        return [StepLogging(names, about or About(folder.name, folder, options.to_dict()))]
    if set(names) - {"jsonl"}:
        raise ValueError(f"Trainer: loggers must have a folder, but folder is None beside {', '.join(names)}")
    return []
