"""What a model is, what it was made from, how good it is, and how to load it, as Markdown."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from notellm.app.config import Config
from notellm.app.numbers import interval_text, percent
from notellm.app.report.findings import main_cutoff
from notellm.app.report.run_results import RunResults
from notellm.export import TextForm, text_form
from notellm.export.gguf_file import MODEL_FILE, PROJECTION_FILE
from notellm.models.backbone import FETCHED, backbone_licence, backbone_name
from notellm.models.notellm import NoteLLM

__all__ = ["Export", "model_card"]

_LIBRARIES = {"hf": "transformers", "sentence-transformers": "sentence-transformers", "gguf": "gguf"}
"""By target: the library that pages of models name."""

_SOURCES = {FETCHED: "HuggingFaceTB/SmolLM2-135M-Instruct"}
"""Published models that fetched backbones are made from."""


@dataclass(frozen=True)
class Export:
    """What is exported, and where to."""

    to: str
    """``hf``, ``sentence-transformers`` or ``gguf``."""
    takes: str
    """``notes`` or ``text``."""
    folder: Path
    projected: bool
    """Whether vectors are projected; not so where no contrastive loss trained the projection."""


def model_card(export: Export, config: Config, results: RunResults, model: NoteLLM) -> str:
    """The README.md of an exported model.

    Args:
        export: What is exported.
        config: The run's.
        results: What the run has written.
        model: The model as it is written.
    """
    licence = backbone_licence(config.model.path)
    front = {
        "license": licence,
        "library_name": _LIBRARIES[export.to],
        "pipeline_tag": "feature-extraction",
        "base_model": _SOURCES.get(config.model.path, ""),
    }
    environment = Environment(
        loader=PackageLoader("notellm.app.card"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(percent=percent, bounds=interval_text, thousands="{:,}".format)
    form = text_form(model.prompt)
    return environment.get_template("card.md").render(
        front={name: value for name, value in front.items() if value},
        export=export,
        name=export.folder.resolve().name,
        run=results,
        config=config,
        backbone=backbone_name(_name(config.model.path), config.model.layers),
        data=_name(config.data.notes),
        licence=licence,
        model=_facts(model),
        evaluation=results.evaluation,
        main_k=main_cutoff(results.evaluation) if results.evaluation else 0,
        form=form,
        form_source=form.source(config.prompt),
        prompt=_as_line(config),
        model_file=MODEL_FILE,
        projection_file=PROJECTION_FILE,
        served=_served(form, model),
    )


def _facts(model: NoteLLM) -> dict[str, Any]:
    shape = model.model.config
    return {
        "family": model.hf_config["model_type"],
        "layers": shape.layers,
        "width": shape.width,
        "dim": model.dim,
        "nested_dims": list(model.nested_dims),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "dtype": str(model.model.embed_tokens.weight.dtype).removeprefix("torch."),
    }


def _name(path: str) -> str:
    """The name of a file or folder; where it lies is of this machine alone."""
    return Path(path).name


def _as_line(config: Config) -> str:
    """The prompt for embeddings and categories, slots in angle brackets."""
    return "".join("[EMB]" if piece == "<emb>" else piece for piece in config.prompt.category)


def _served(form: TextForm, model: NoteLLM) -> int:
    """Tokens of context that a server of text needs."""
    longest = model.model.config.max_positions or form.most_tokens
    return min(form.most_tokens, longest)
