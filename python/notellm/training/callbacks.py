"""The moments of a training at which other code is called.

In a call of `Trainer.train`, on every process, in the order in which the callbacks are given:

1. ``before_training``: the weights are those to begin with, from a checkpoint if there is one; so is the callback's own
   state.
2. ``after_step``, for each step: the weights are updated, but the step counts only once all callbacks have returned. An
   interruption in one of them is an interruption of the step, which is then done again from the newest checkpoint.
3. ``after_checkpoint``: a checkpoint is complete. It is of the last step whose callbacks have returned.
4. ``after_training``, in reverse order and in any case: also after an error, and for all whose ``before_training`` has
   been called.

A run that was interrupted and goes on calls them as one that was not, if a callback keeps in `Callback.state` whatever
its behaviour depends on, and draws no random numbers but its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from notellm.errors import DataError
from notellm.io.plain import plain
from notellm.models.note_model import NoteModel
from notellm.processes import Processes
from notellm.training.options import TrainOptions


class Training(Protocol):
    """What a callback may use of a `Trainer`."""

    step: int
    """Steps that count."""
    total_steps: int
    options: TrainOptions
    folder: Path | None
    processes: Processes

    def stop(self) -> None:
        """Ends the training before its next step, with a checkpoint, if any process asks for it."""

    def whole_model(self) -> AbstractContextManager[NoteModel]:
        """The model for other uses than training; all processes must ask for it together."""


class Callback:
    """What is called at the moments of a training; each of them may be left as it is."""

    def before_training(self, training: Training) -> None:
        """The weights are those to begin with."""

    def after_step(self, training: Training, record: dict[str, Any]) -> None:
        """The weights are updated.

        Args:
            training: The trainer. Its ``step`` is still this step's number.
            record: The numbers of the step. What is added to it by new names is logged, too: plain data, or numbers of
                NumPy or torch.
        """

    def after_checkpoint(self, training: Training, path: Path) -> None:
        """A checkpoint is complete.

        Args:
            training: The trainer.
            path: The checkpoint's folder.
        """

    def after_training(self, training: Training, error: BaseException | None) -> None:
        """The training ends.

        Args:
            training: The trainer.
            error: Why it ends before its time; an interruption is a KeyboardInterrupt.
        """

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of the callback: plain data, under the name of its class.

        Numbers and arrays of NumPy and torch are kept as plain ones.
        """
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes what `state` returned when the checkpoint was written."""


@contextmanager
def called_around(callbacks: Sequence[Callback], training: Training) -> Iterator[None]:
    """Calls the first and the last of the moments around a training."""
    with ExitStack() as stack:
        for callback in callbacks:
            stack.push(partial(_end, callback, training))
            callback.before_training(training)
        yield


def _end(callback: Callback, training: Training, kind: Any, error: BaseException | None, trace: Any) -> None:
    callback.after_training(training, error)


def states(callbacks: Sequence[Callback]) -> dict[str, dict[str, Any]]:
    """The states of those callbacks that have one, by the names of their classes.

    Raises:
        TypeError: If one is not plain data, which a checkpoint could not keep.
    """
    return {
        name: plain(state, f"{name}.state")
        for callback in callbacks
        if (state := callback.state()) and (name := type(callback).__name__)
    }


def load_states(callbacks: Sequence[Callback], saved: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Gives each callback its state; one that the checkpoint does not know begins anew.

    Args:
        callbacks: All callbacks.
        saved: From `states`.
        path: The checkpoint.

    Raises:
        DataError: If a callback cannot read its state.
    """
    for callback in callbacks:
        name = type(callback).__name__
        if name not in saved:
            continue
        try:
            callback.load_state(saved[name])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{path}: must hold the state of {name}, but its load_state fails: {type(error).__name__}: {error}"
            ) from error


def check_distinct(callbacks: Sequence[Callback]) -> None:
    """Refuses two callbacks with a state under one name.

    Raises:
        ValueError: If there are.
    """
    keeps = [type(one).__name__ for one in callbacks if type(one).state is not Callback.state]
    for name in keeps:
        if keeps.count(name) > 1:
            raise ValueError(
                f"Trainer: callbacks that keep a state must be of different classes, but {keeps.count(name)} are {name}"
            )
