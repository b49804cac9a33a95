"""From related pairs to a trained model in the run folder."""

import dataclasses
import shutil
from pathlib import Path

from notellm.app.config import Config, replace
from notellm.app.pipeline.data import Dataset, IntArray, select_queries, training_pairs, with_validation
from notellm.app.pipeline.length import LengthNotice
from notellm.app.pipeline.models import MODEL, load_backbone
from notellm.app.pipeline.negatives import FIRST_RUN, hard_negatives
from notellm.app.run import RunFolder
from notellm.errors import DataError
from notellm.hard_negatives import FIRST
from notellm.models.adapter import LoraOptions
from notellm.processes import Processes
from notellm.progress import console_progress
from notellm.training import Trainer, TrainOptions
from notellm.training.checkpoint import CHECKPOINTS
from notellm.training.validation import BEST, Measure, recall_on


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
            With ``negatives.model=first`` another model is trained before, in the folder ``first`` of the run.
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
            _drop_what_led_there(run)
        return folder
    first_model = _first_model(run, dataset, source, target)
    dataset, source, target, measure = trained_part(run.config, dataset, source, target)
    needed = run.config.train.pairs_per_step
    if len(source) < needed:
        raise DataError(
            f"train: there must be at least train.pairs_per_step={needed} training pairs, but there are {len(source)}"
        )
    negatives = None
    if run.config.negatives.model:
        negatives = hard_negatives(run, dataset, source, target, first_model)
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
        negatives=negatives,
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
        _drop_what_led_there(run)
    processes.wait()  # until the folder exists for all
    return folder


def trained_part(
    config: Config, dataset: Dataset, source: IntArray, target: IntArray
) -> tuple[Dataset, IntArray, IntArray, Measure | None]:
    """What a run trains on: all pairs, or, with ``train.validate_every``, those without the notes held out for it.

    Returns:
        The notes, with those held out on the test side; the pairs to train on; and what validation measures.
    """
    if not config.train.validate_every:
        return dataset, source, target, None
    dataset = with_validation(config, dataset)
    measure, pairs = validation(config, dataset, source, target)
    return dataset, *pairs, measure


def validation(
    config: Config, dataset: Dataset, source: IntArray, target: IntArray
) -> tuple[Measure, tuple[IntArray, IntArray]]:
    """Recall on notes that are held out, and the pairs without them.

    Args:
        config: Its ``data`` group says how queries are drawn.
        dataset: With the notes that are held out on its test side, see `with_validation`.
        source: Shape ``(P,)``: training pairs, positions in the notes.
        target: Shape ``(P,)``.

    Returns:
        Recall on queries of the held-out notes, and the pairs to train on.

    Raises:
        DataError: If either side has no pair.
    """
    queries = select_queries(config, dataset, source, target)
    measure = recall_on(
        dataset.notes.take(queries.pool),
        queries.source,
        queries.target,
        k=config.train.validate_k,
        projected=config.loss.contrastive,
        dtype=config.dtype,
        options=config.embed.replace(dim=0, weights="same"),
    )
    return measure, training_pairs(config, dataset, source, target)


def _first_model(run: RunFolder, dataset: Dataset, source: IntArray, target: IntArray) -> Path | None:
    """Trains the model whose neighbours are hard negatives, as the run itself but without any; None: none is wanted."""
    if run.config.negatives.model != FIRST:
        return None
    path = run.file(FIRST_RUN)
    path.mkdir(parents=True, exist_ok=True)
    config = replace(run.config, {"run_dir": str(path), "negatives.model": ""})
    first = dataclasses.replace(run, path=path, config=config, title=f"{run.about.name}, first")
    return train(first, dataset, source, target)


def _drop_what_led_there(run: RunFolder) -> None:
    """Removes checkpoints and the first model: the model is complete, so no step will be repeated."""
    for name in (CHECKPOINTS, FIRST_RUN):
        shutil.rmtree(run.file(name), ignore_errors=True)
