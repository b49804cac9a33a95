"""From related pairs to a trained model in the run folder."""

import shutil
from pathlib import Path

import torch

from notellm.config import Config
from notellm.models.notellm import NoteLLM
from notellm.pipeline.data import Dataset, IntArray
from notellm.progress import console_progress
from notellm.prompts import PromptConfig
from notellm.run import RunFolder
from notellm.training import Trainer, TrainOptions

MODEL = "model"
"""Folder of the trained model in a run folder."""


def prompt_config(config: Config) -> PromptConfig:
    """The configuration's prompt."""
    return PromptConfig.from_dict(config.prompt.to_dict(), where="prompt")


def load_backbone(config: Config, prompt: PromptConfig | None = None) -> NoteLLM:
    """The untrained model of a configuration, fetched where it must be, on the configured device.

    Args:
        config: Its ``model`` group, seed and device.
        prompt: Instead of the configuration's own.

    Raises:
        DataError: If the model folder is missing or damaged, or cannot be fetched.
        NotSupportedError: If the backbone is of another family, or CUDA is asked for and not there.
    """
    with console_progress("backbone", "MiB") as progress:
        model = NoteLLM.from_pretrained(
            config.model.path,
            dim=config.model.dim,
            prompt=prompt or prompt_config(config),
            tau=config.model.tau,
            seed=config.seed,
            progress=progress,
        )
    return model.to(torch.device(config.device))


def train_options(config: Config) -> TrainOptions:
    """The options of a training run that a configuration describes."""
    return TrainOptions(
        **config.train.to_dict(), **config.loss.to_dict(), dtype=config.dtype, seed=config.seed
    )


def train(run: RunFolder, dataset: Dataset, source: IntArray, target: IntArray) -> Path:
    """Trains on pairs, going on from a checkpoint where there is one, and keeps the model in the run folder.

    Args:
        run: Gets ``model/``, ``train.jsonl`` and, while it lasts, ``checkpoints/``.
        dataset: The notes.
        source: Shape ``(P,)``: training pairs, positions in the notes.
        target: Shape ``(P,)``.

    Returns:
        The model's folder; nothing is done where it is there already.
    """
    folder = run.file(MODEL)
    if folder.exists():
        return folder
    model = load_backbone(run.config)
    trainer = Trainer(model, dataset.notes, source, target, train_options(run.config), folder=run.path)
    with console_progress("training", "steps") as progress:
        trainer.train(resume=True, progress=progress)
    model.save_pretrained(folder)
    shutil.rmtree(run.file("checkpoints"))  # the model is complete: no step will be repeated
    return folder


def load_trained(run: RunFolder, folder: Path | None = None) -> NoteLLM:
    """The run's trained model, or that of another folder, on the configured device.

    Raises:
        DataError: If the run has not been trained.
    """
    return NoteLLM.from_pretrained(folder or run.file(MODEL)).to(torch.device(run.config.device))
