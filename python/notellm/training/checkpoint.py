"""Checkpoints: everything a run needs to go on as if it had not stopped."""

import json
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim import Optimizer

from notellm.errors import DataError
from notellm.files import atomic_folder
from notellm.models import folder as model_folder
from notellm.training.options import TrainOptions

NAME = re.compile(r"step-(\d{7})")


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint below a run's ``checkpoints`` folder, or None."""
    found = [entry for entry in folder.glob("step-*") if NAME.fullmatch(entry.name)]
    return max(found, default=None)


def save_checkpoint(
    folder: Path, model: nn.Module, optimizer: Optimizer, step: int, options: TrainOptions, data: str
) -> Path:
    """Writes ``folder/step-NNNNNNN`` complete or not at all, then removes the older ones.

    The schedule and the position in the data follow from the step and the options, which are kept too.

    Args:
        folder: The run's ``checkpoints`` folder.
        model: Its parameters are saved by name.
        optimizer: Its state is saved.
        step: Optimizer steps done.
        options: Of the run.
        data: Fingerprint of what is trained on.

    Returns:
        The checkpoint's folder.
    """
    target = folder / f"step-{step:07d}"
    with atomic_folder(target, replace=True) as temporary:
        weights = {name: value.detach() for name, value in model.named_parameters()}
        save_file(weights, temporary / model_folder.SINGLE)
        torch.save(optimizer.state_dict(), temporary / "optimizer.pt")
        state = {"step": step, "options": asdict(options), "data": data}
        (temporary / "state.json").write_text(json.dumps(state, indent=2), encoding="utf-8")
    for entry in folder.glob("step-*"):
        if entry != target:
            shutil.rmtree(entry)
    return target


def load_checkpoint(
    path: Path, model: nn.Module, optimizer: Optimizer, options: TrainOptions, data: str
) -> int:
    """Puts a checkpoint's weights and optimizer state in place.

    Args:
        path: From `latest_checkpoint`.
        model: Of the same shape as the one saved.
        optimizer: Over the same parameters.
        options: Must equal those of the checkpoint, or the run would not be one run.
        data: Likewise.

    Returns:
        Optimizer steps done.

    Raises:
        DataError: If a file is damaged, or an option or the data differ.
    """
    state = model_folder.read_json(path / "state.json")
    _check_same(path, state["options"], asdict(options))
    if state["data"] != data:
        raise DataError(
            f"{path}: must be of a run on the same notes, pairs and prompt, but is of another; train in another folder"
        )
    weights = model_folder.read_weights(path)
    for name, parameter in model.named_parameters():
        if name not in weights:
            raise DataError(f"{path}: must hold the tensor {name}, but does not")
        model_folder.load_tensor(parameter, weights[name], name, path)
    try:
        optimizer.load_state_dict(torch.load(path / "optimizer.pt", map_location="cpu", weights_only=True))
    except (RuntimeError, OSError, ValueError, KeyError) as error:
        raise DataError(f"{path / 'optimizer.pt'}: must be the run's optimizer state, but: {error}") from None
    return int(state["step"])


def _check_same(path: Path, saved: dict[str, Any], wanted: dict[str, Any]) -> None:
    # how often to save and what else to log changes nothing that is learned
    free = {"checkpoint_every", "tensorboard"}
    for name, value in wanted.items():
        if name not in free and saved.get(name) != value:
            raise DataError(
                f"{path}: {name} must be {saved.get(name)} as the run began, but is {value}; "
                "go on with the same options or train in another folder"
            )
