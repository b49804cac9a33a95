"""SentenceBERT, or another encoder, in a run folder: trained on the run's pairs, over the text that prompts show."""

from pathlib import Path

import torch
from torch import Tensor

from notellm.app.config import Config
from notellm.app.pipeline.data import Dataset, IntArray
from notellm.app.pipeline.texts import truncated_texts
from notellm.app.pipeline.training import train_options, trained_part
from notellm.app.run import RunFolder
from notellm.baselines.sentence_bert import SentenceBert, prepare
from notellm.data.notes import Notes
from notellm.errors import DataError
from notellm.io.cache import cache_folder
from notellm.io.home import expanded
from notellm.progress import console_progress

ENCODER = "sentence_bert"
"""Folder of the trained encoder in a run folder."""


def load_encoder(config: Config, folder: Path | None = None) -> SentenceBert:
    """An encoder on the configured device: from a folder, or the original one.

    Raises:
        DataError: If it cannot be downloaded, or loaded.
        NotSupportedError: If ``sentence-transformers`` is not installed.
    """
    asked = config.model
    if folder is None and asked.encoder:
        folder = Path(asked.encoder)
    if folder is None:
        with console_progress("encoder", "MiB") as progress:
            folder = prepare(cache_folder("minilm"), progress)
    encoder = SentenceBert(folder, tau=asked.tau, prompt=asked.encoder_prompt, pooling=asked.encoder_pooling)
    return encoder.to(torch.device(config.device))


def encoder_name(config: Config) -> str:
    """The encoder's name in tables.

    Example:
        >>> from notellm.app.config import compose
        >>> encoder_name(compose()), encoder_name(compose(["model.encoder=models/e5-base"]))
        ('MiniLM', 'e5-base')
    """
    return expanded(config.model.encoder).resolve().name if config.model.encoder else "MiniLM"


def train_encoder(run: RunFolder, dataset: Dataset, source: IntArray, target: IntArray) -> Path:
    """Trains the encoder on the pairs that a NoteLLM would be trained on, with the configuration's ``train`` group.

    With ``train.validate_every`` these are the pairs without the notes held out for validation; the encoder itself is
    not validated, and its last step is kept.

    Args:
        run: The run folder; gets ``sentence_bert/``. If this exists already, nothing is done.
        dataset: The notes.
        source: Shape ``(P,)``: training pairs, positions in the notes.
        target: Shape ``(P,)``.

    Raises:
        DataError: If there are fewer pairs than one step takes.
    """
    folder = run.file(ENCODER)
    if folder.exists():
        return folder
    _, source, target, _ = trained_part(run.config, dataset, source, target)
    needed = run.config.train.pairs_per_step
    if len(source) < needed:
        raise DataError(f"train: there must be at least {needed} training pairs, but there are {len(source)}")
    encoder = load_encoder(run.config)
    texts = truncated_texts(run.config, dataset.notes)
    with console_progress("training SentenceBERT", "steps", part="step") as progress:
        encoder.fit(texts, source, target, train_options(run.config), progress=progress)
    encoder.save(folder)
    return folder


def encode(config: Config, notes: Notes, folder: Path | None = None) -> Tensor:
    """Embeddings by the encoder of a folder, or by the original one: ``(N, D)`` unit rows."""
    if folder is not None and not folder.exists():
        raise DataError(f"{folder}: must hold a trained encoder, but is not there; try `notellm sweep`")
    return load_encoder(config, folder).embed(truncated_texts(config, notes))
