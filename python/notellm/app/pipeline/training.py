"""From related pairs to a trained model in the run folder."""

import shutil
from pathlib import Path

import torch

from notellm.app.config import Config
from notellm.app.pipeline.data import Dataset, IntArray, select_queries, training_pairs, with_validation
from notellm.app.pipeline.length import LengthNotice
from notellm.app.run import RunFolder
from notellm.errors import DataError
from notellm.models.adapter import LoraOptions
from notellm.models.fallback import TransformersNoteLLM
from notellm.models.note_model import NoteModel
from notellm.models.notellm import NoteLLM
from notellm.models.notellm_folder import EXTRA_CONFIG, read_extra
from notellm.models.options import CORE, TRANSFORMERS
from notellm.processes import Processes, first_process_first
from notellm.progress import console_progress
from notellm.prompts import PromptConfig
from notellm.training import Trainer, TrainOptions
from notellm.training.checkpoint import CHECKPOINTS
from notellm.training.validation import BEST, Measure, recall_on

MODEL = "model"
"""Folder of the trained model in a run folder."""

_CLASSES: dict[str, type[NoteLLM] | type[TransformersNoteLLM]] = {
    CORE: NoteLLM,
    TRANSFORMERS: TransformersNoteLLM,
}


def load_backbone(config: Config, prompt: PromptConfig | None = None) -> NoteModel:
    """The untrained model of a configuration, downloaded if needed, on the configured device.

    Args:
        config: Its ``model`` group, seed and device.
        prompt: A prompt to use instead of the configuration's.

    Raises:
        DataError: If the model folder is missing or damaged, or cannot be downloaded.
        NotSupportedError: If the backbone is of another family, or CUDA is asked for but not available.
    """
    with first_process_first(), console_progress("backbone", "MiB") as progress:
        model = _CLASSES[config.model.backend].from_pretrained(
            config.model.path,
            dim=config.model.dim,
            prompt=prompt or config.prompt,
            tau=config.model.tau,
            pooling=config.model.pooling,
            layers=config.model.layers,
            seed=config.seed,
            progress=progress,
        )
    return model.to(torch.device(config.device))


def lora_options(config: Config) -> LoraOptions | None:
    """The LoRA that a configuration asks for, or None."""
    return config.lora if config.lora.r else None


def train_options(config: Config) -> TrainOptions:
    """The options of a training run that a configuration describes."""
    return TrainOptions(
        **config.train.to_dict(), **config.loss.to_dict(), dtype=config.dtype, seed=config.seed
    )


def train(run: RunFolder, dataset: Dataset, source: IntArray, target: IntArray) -> Path:
    """Trains on pairs, from a checkpoint if there is one, and saves the model in the run folder.

    Several processes call it together; the first one writes.

    Args:
        run: The run folder; gets ``model/``, ``train.jsonl`` and, during training, ``checkpoints/`` and ``best/``.
        dataset: The notes. With ``train.validate_every`` some of the training notes are held out for validation.
        source: Shape ``(P,)``: training pairs, positions in the notes.
        target: Shape ``(P,)``.

    Returns:
        The model's folder; if it exists already, nothing is done.

    Raises:
        DataError: If there are fewer pairs than one step takes, or none for validation.
        FloatingPointError: If the training diverges.
    """
    processes = Processes.current()
    folder = run.file(MODEL)
    if folder.exists():
        if processes.is_first:
            _drop_checkpoints(run)
        return folder
    measure = None
    if run.config.train.validate_every:
        measure, (source, target) = validation(run.config, dataset, source, target)
    needed = run.config.train.pairs_per_step
    if len(source) < needed:
        raise DataError(
            f"train: there must be at least train.pairs_per_step={needed} training pairs, but there are {len(source)}"
        )
    model = load_backbone(run.config)
    lora = lora_options(run.config)
    if lora is not None:
        model.add_lora(lora, seed=run.config.seed)
    trainer = Trainer(
        model,
        dataset.notes,
        source,
        target,
        train_options(run.config),
        folder=run.path,
        validate=measure,
        about=run.about,
    )
    with console_progress("training", "steps", part="step") as display:
        trainer.train(resume=True, progress=LengthNotice(display, run.config, model.layers))
    if processes.is_first:
        if measure is None:
            model.save_pretrained(folder)
        else:
            run.file(BEST).rename(folder)
        _drop_checkpoints(run)
    processes.wait()  # until the folder exists for all
    return folder


def validation(
    config: Config, dataset: Dataset, source: IntArray, target: IntArray
) -> tuple[Measure, tuple[IntArray, IntArray]]:
    """Holds out some training notes, in groups; the rest of the pairs is trained on.

    Args:
        config: Its ``data`` group says how large the share is, and how queries are drawn.
        dataset: The notes.
        source: Shape ``(P,)``: training pairs, positions in the notes.
        target: Shape ``(P,)``.

    Returns:
        Recall on queries of the held-out notes, and the pairs to train on.

    Raises:
        DataError: If either side has no pair.
    """
    parts = with_validation(config, dataset)
    queries = select_queries(config, parts, source, target)
    measure = recall_on(
        dataset.notes.take(queries.pool),
        queries.source,
        queries.target,
        k=config.train.validate_k,
        dtype=config.dtype,
        options=config.embed.replace(dim=0, weights="same"),
    )
    return measure, training_pairs(config, parts, source, target)


def _drop_checkpoints(run: RunFolder) -> None:
    """Removes the checkpoints: the model is complete, so no step will be repeated."""
    shutil.rmtree(run.file(CHECKPOINTS), ignore_errors=True)


def load_trained(config: Config, folder: Path) -> NoteModel:
    """A trained model, on the configured device.

    Args:
        config: Its device.
        folder: The folder ``model`` of a run, or another one made by `NoteLLM.save_pretrained`.

    Raises:
        DataError: If the folder has no trained model.
    """
    check_trained(folder)
    backend = read_extra(folder)["backend"]
    return _CLASSES[backend].from_pretrained(folder).to(torch.device(config.device))


def check_trained(folder: Path) -> None:
    """Refuses a folder without a trained model; a bare backbone has only a random projection.

    Raises:
        DataError: If there is none.
    """
    if not (folder / EXTRA_CONFIG).exists():
        raise DataError(
            f"{folder}: must hold a trained NoteLLM, but has no {EXTRA_CONFIG}; "
            "try `notellm train` first, or another --run or --model"
        )
