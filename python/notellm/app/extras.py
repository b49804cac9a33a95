"""The packages that this one asks for, by its installed metadata: those it needs, and those of each extra.

Works with the standard library alone where `packaging` is missing, in so far as it then says so.
"""

import importlib.metadata
from collections.abc import Iterator
from dataclasses import dataclass

from notellm.machine import version_of

__all__ = ["PURPOSES", "Requirement", "extras", "requirements"]

PURPOSES = {
    "8bit": "AdamW's moments in 8 bits (train.moments=8bit)",
    "bench": "some rows of the benchmarks",
    "demo": "parts of the demo: reading SmolLM2 (gguf), TF-IDF (scikit-learn), figures (matplotlib)",
    "docs": "the documentation as a site (make docs)",
    "export": "export to sentence-transformers and GGUF, and the rows of SentenceBERT",
    "frames": "Notes.to_pandas and Interactions.to_pandas",
    "mlflow": "MLflow (train.loggers=[mlflow])",
    "ray": "embedding and searching on a Ray cluster",
    "remote": "files of URLs (hf://, s3://)",
    "spark": "mining as a job of Spark (notellm mine --engine spark)",
    "tensorboard": "TensorBoard logs (train.loggers=[tensorboard])",
    "test": "the tests (make test)",
    "trackio": "trackio (train.loggers=[trackio])",
    "transformers": "backbones that transformers computes (model.backend=transformers)",
    "wandb": "Weights & Biases (train.loggers=[wandb])",
}
"""What does not work without an extra. Metadata has no place for it; a test compares the names with pyproject.toml."""


@dataclass(frozen=True)
class Requirement:
    """A package that is asked for.

    Attributes:
        text: Its name with the versions that are allowed, such as ``ray>=2.40``.
        name: Its name.
        version: The version that is installed; None: it is not.
        is_met: Whether a version that is allowed is installed.
    """

    text: str
    name: str
    version: str | None
    is_met: bool


def extras() -> list[str]:
    """The names of all extras.

    Raises:
        importlib.metadata.PackageNotFoundError: If this package is imported from a folder without being installed.
    """
    return sorted(importlib.metadata.metadata("notellm").get_all("Provides-Extra") or [])


def requirements(extra: str = "") -> list[Requirement]:
    """What an extra asks for on this machine.

    Args:
        extra: Its name; empty: what the package needs without any.

    Raises:
        importlib.metadata.PackageNotFoundError: As `extras`.
        ImportError: If `packaging` is missing, which reads requirements.

    Example:
        >>> [requirement.name for requirement in requirements("spark")]
        ['pyspark']
    """
    return list(_asked(extra))


def _asked(extra: str) -> Iterator[Requirement]:
    from packaging import requirements  # Hydra brings it

    for text in importlib.metadata.requires("notellm") or []:
        asked = requirements.Requirement(text)
        of_extra = asked.marker is not None and asked.marker.evaluate({"extra": extra})
        of_all = asked.marker is None or asked.marker.evaluate({"extra": ""})
        if of_all if not extra else of_extra and not of_all:
            version = version_of(asked.name)
            is_met = version is not None and asked.specifier.contains(version, prereleases=True)
            yield Requirement(f"{asked.name}{asked.specifier}", asked.name, version, is_met)
