"""The models of a run: its backbone, and what was trained of it."""

from pathlib import Path

import torch

from notellm.app.config import Config, load_config
from notellm.errors import DataError
from notellm.models.fallback import TransformersNoteLLM
from notellm.models.note_model import NoteModel
from notellm.models.notellm import NoteLLM
from notellm.models.notellm_folder import EXTRA_CONFIG, read_extra
from notellm.models.options import CORE, TRANSFORMERS
from notellm.processes import first_process_first
from notellm.progress import console_progress
from notellm.prompts import PromptConfig

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


def is_projected(folder: Path, *, otherwise: bool = True) -> bool:
    """Whether a trained model's projection has been trained; without a contrastive loss it is still random.

    Args:
        folder: The model's folder. Its run says it.
        otherwise: What holds of a folder that is not in that of a run.

    Raises:
        ConfigError: If the run's configuration cannot be read.
    """
    place = folder.absolute()
    said = place.parent / "config.yaml"
    return load_config(said).loss.contrastive if place.name == MODEL and said.is_file() else otherwise


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
