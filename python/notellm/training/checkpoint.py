"""Checkpoints: everything a run needs to resume as if it had not stopped.

A checkpoint does not depend on the number of processes, nor on how they share the optimizer's state.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from notellm.errors import DataError
from notellm.io.files import atomic_folder
from notellm.io.json_files import read_json_object
from notellm.io.json_tree import Node, shortened
from notellm.models import folder as model_folder
from notellm.precision import DTYPES
from notellm.training.optimizer import Optimizer
from notellm.training.options import TrainOptions

NAME = re.compile(r"step-(\d{7})")

CHECKPOINTS = "checkpoints"
"""Folder of the checkpoints in a run folder."""

OPTIMIZER, STATE = "optimizer.safetensors", "state.json"

FREE_OPTIONS = frozenset(option.name for option in TrainOptions.GROUP.options if option.decides_cost)
"""Options that may differ when a run is resumed: how often to save, what else to log, how to fit into memory."""


def checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints below a run's ``checkpoints`` folder, oldest first."""
    return sorted(entry for entry in folder.glob("step-*") if NAME.fullmatch(entry.name))


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint below a run's ``checkpoints`` folder, or None."""
    return max(checkpoints(folder), default=None)


def refuse_newer(folder: Path, step: int) -> None:
    """Refuses to train from ``step`` on if there is a checkpoint of a later step: it would belong to another run.

    Args:
        folder: The run's ``checkpoints`` folder.
        step: Optimizer steps done.

    Raises:
        DataError: If there is such a checkpoint.
    """
    newest = latest_checkpoint(folder)
    if newest is not None and newest.name > f"step-{step:07d}":
        raise DataError(
            f"{newest}: a training must go on from its newest checkpoint, but begins at step {step}; try resume=True, "
            "or another folder for a new one"
        )


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizer: Optimizer,
    step: int,
    options: TrainOptions,
    data: str,
    callbacks: dict[str, dict[str, Any]] | None = None,
) -> Path:
    """Writes ``folder/step-NNNNNNN`` completely or not at all, then removes older ones; newer ones are kept.

    The schedule and the position in the data follow from the step and the options, which are kept too. All processes
    must call it; the first one writes.

    Args:
        folder: The run's ``checkpoints`` folder.
        model: Its parameters are saved by name.
        optimizer: Its state is saved by the same names.
        step: Optimizer steps done.
        options: Options of the run.
        data: Fingerprint of the training data.
        callbacks: The states of callbacks.

    Returns:
        Its folder, complete on every process.
    """
    moments, shards = optimizer.state(), optimizer.shards
    weights = (
        {name: p.detach() for name, p in model.named_parameters()} if shards is None else shards.weights()
    )
    target = folder / f"step-{step:07d}"
    if optimizer.processes.is_first:
        state = {"step": step, "options": options.to_dict(), "data": data, "callbacks": callbacks or {}}
        _write(target, weights, moments, state)
    optimizer.processes.wait(patiently=True)  # until it is there for all
    return target


def _write(
    target: Path, weights: dict[str, Tensor], moments: dict[str, Tensor], state: dict[str, Any]
) -> None:
    """Writes a checkpoint, then removes older ones."""
    with atomic_folder(target, replace=True) as temporary:
        save_file(weights, temporary / model_folder.SINGLE)
        save_file(moments, temporary / OPTIMIZER)
        (temporary / STATE).write_text(json.dumps(state, indent=2), encoding="utf-8")
    for entry in checkpoints(target.parent):
        if entry < target:
            shutil.rmtree(entry)


def saved_callbacks(path: Path) -> dict[str, dict[str, Any]]:
    """The states of callbacks in a checkpoint, by the names of their classes.

    Raises:
        DataError: If they are no objects.
    """
    state = _state(path)
    return {
        name: {key: node.value for key, node in state.at("callbacks").entries(name).items()}
        for name in state.entries("callbacks")
    }


def saved_dtype(path: Path) -> str:
    """The dtype of the matrix products in a checkpoint's run.

    Raises:
        DataError: If the checkpoint does not say it.
    """
    node = _state(path).at("options").at("dtype")
    if node.as_text() not in DTYPES:
        raise DataError(f"{node.where}: must be one of {', '.join(DTYPES)}, but is {shortened(node.value)}")
    return node.as_text()


def _state(path: Path) -> Node:
    return Node(read_json_object(path / STATE), str(path / STATE))


def load_checkpoint(
    path: Path, model: nn.Module, optimizer: Optimizer, options: TrainOptions, data: str
) -> int:
    """Loads a checkpoint's weights and optimizer state.

    Args:
        path: From `latest_checkpoint`; every process reads it.
        model: Of the same shape as the one saved.
        optimizer: Over the same parameters.
        options: Must equal those of the checkpoint, except for ``FREE_OPTIONS``.
        data: Must equal that of the checkpoint, too.

    Returns:
        Optimizer steps done.

    Raises:
        DataError: If a file is damaged, or an option or the data differ.
    """
    state = _state(path)
    step = state.count("step")
    saved = {name: node.value for name, node in state.entries("options").items()}
    _check_same(path, _defaults_of_later_options(options) | saved, options.to_dict())
    if state.text("data") != data:
        raise DataError(
            f"{path}: must be of a run on the same notes, pairs, hard negatives, prompt, pooling, layers, LoRA and "
            "extra losses, but is of another; train in another folder"
        )
    weights = model_folder.read_weights(path)
    for name, parameter in model.named_parameters():
        if name not in weights:
            raise DataError(f"{path}: must hold the tensor {name}, but does not")
        model_folder.load_tensor(parameter, weights[name], name, path)
    try:
        optimizer.load_state(model_folder.read_weights(path, single=OPTIMIZER))
    except ValueError as error:
        raise DataError(f"{path / OPTIMIZER}: must be the run's optimizer state, but {error}") from None
    return step


def _defaults_of_later_options(options: TrainOptions) -> dict[str, Any]:
    """What a checkpoint means that is older than an option."""
    return {one.name: one.standard for one in options.GROUP.options if one.is_added_later}


def _check_same(path: Path, saved: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name, value in wanted.items():
        if name not in FREE_OPTIONS and saved.get(name) != value:
            raise DataError(
                f"{path}: {name} must be {saved.get(name)} as the run began, but is {value}; "
                "go on with the same options or train in another folder"
            )
