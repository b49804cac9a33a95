"""The systems that a run compares: vectors of the held-out notes by each, kept in the run folder, or word indices."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from notellm.app.config import Config
from notellm.app.kept import CUT, backbone_key, encoder_key, folder_key, made_by
from notellm.app.pipeline.encoder import ENCODER, encode, encoder_name
from notellm.app.pipeline.models import MODEL, load_backbone, load_trained
from notellm.app.pipeline.texts import full_texts, truncated_texts
from notellm.app.run import RunFolder
from notellm.baselines import Bm25Index, SparseIndex, TfidfIndex
from notellm.data.fingerprint import notes_fingerprint
from notellm.data.named_notes import naming_notes
from notellm.data.notes import Notes
from notellm.embedding import embed, truncated, warn_of_dim
from notellm.evaluation import NAMES
from notellm.int8 import from_int8, to_int8
from notellm.io.fingerprints import json_fingerprint
from notellm.models.note_model import NoteModel
from notellm.progress import console_progress
from notellm.prompts import PromptConfig, load_prompt
from notellm.vector_files import load_embeddings, save_embeddings


def zero_shot_mean(run: RunFolder, notes: Notes) -> Tensor:
    """Mean state of the untrained backbone over the note, without a prompt: ``(N, D)`` unit rows."""
    backbone = backbone_key(run.config)
    return _kept(
        run, "zero_shot_mean", notes, lambda: _embed_bare(run.config, notes, "mean"), backbone=backbone
    )


def zero_shot_prompt(run: RunFolder, notes: Notes) -> Tensor:
    """State of the untrained backbone at the compression position (or pooled), unprojected: ``(N, D)`` unit rows."""
    return _kept(
        run,
        "zero_shot_prompt",
        notes,
        lambda: _embed(run.config, load_backbone(run.config), notes, "zero-shot prompt", projected=False),
        backbone=backbone_key(run.config),
    )


def zero_shot_last(run: RunFolder, notes: Notes) -> Tensor:
    """State of the untrained backbone at the full stop behind the note, without a prompt: ``(N, D)`` unit rows."""
    backbone = backbone_key(run.config)
    return _kept(
        run, "zero_shot_last", notes, lambda: _embed_bare(run.config, notes, "compression"), backbone=backbone
    )


def trained(run: RunFolder, notes: Notes) -> Tensor:
    """Embeddings by the run's trained model, as ``embed.dim`` and ``embed.storage`` ask for them: ``(N, dim)``."""
    asked, loss = run.config.embed, run.config.loss
    vectors = trained_in_full(run, notes)
    warn_of_dim(asked.dim, vectors.shape[1], loss.nested_dims if loss.contrastive else ())
    return as_stored(vectors, asked.dim, asked.storage)


def trained_in_full(run: RunFolder, notes: Notes) -> Tensor:
    """Embeddings by the run's trained model: ``(N, d)`` unit rows.

    Without the contrastive loss the projection is still random, so the state itself is used: ``(N, D)``.
    """
    folder = run.file(MODEL)
    projected = run.config.loss.contrastive

    def make() -> Tensor:
        model = load_trained(run.config, folder)
        return _embed(run.config, model, notes, "trained model", projected=projected)

    return _kept(run, "trained", notes, make, model=folder_key(folder))


def as_stored(vectors: Tensor, dim: int, storage: str) -> Tensor:
    """Vectors cut to ``dim`` numbers (0: not cut), and as they are read from files of this storage."""
    cut = truncated(vectors, dim) if dim else vectors
    return from_int8(*to_int8(cut)) if storage == "int8" else cut


def variants(dims: Sequence[int]) -> dict[str, tuple[int, str]]:
    """What is measured of the trained model's vectors beside themselves: by name, width (0: all) and storage.

    Example:
        >>> list(variants([16, 32])), list(variants([]))
        (['int8', 'd32', 'd32.int8', 'd16', 'd16.int8'], [])
    """
    found = {"int8": (0, "int8")} if dims else {}
    for dim in reversed(dims):
        found |= {f"d{dim}": (dim, "fp32"), f"d{dim}.int8": (dim, "int8")}
    return found


def trained_variants(run: RunFolder, notes: Notes) -> dict[str, Tensor]:
    """The trained model's vectors in each of the configuration's `variants`, by ``trained.NAME``."""
    wanted = variants(run.config.evaluation.dims)
    if not wanted:
        return {}
    vectors = trained_in_full(run, notes)
    return {f"trained.{name}": as_stored(vectors, *how) for name, how in wanted.items()}


def name_of_variant(key: str) -> str:
    """The name in tables of a system ``trained.NAME``.

    Example:
        >>> name_of_variant("trained.d16.int8"), name_of_variant("trained.int8")
        ('NoteLLM trained, 16 numbers, int8', 'NoteLLM trained, int8')
    """
    parts = [f"{part[1:]} numbers" if part.startswith("d") else part for part in key.split(".")[1:]]
    return ", ".join([NAMES["trained"], *parts])


def names_of(config: Config, keys: Collection[str]) -> dict[str, str]:
    """The names in tables of systems that a configuration names otherwise than `NAMES`."""
    names = {key: name_of_variant(key) for key in keys if "." in key}
    for key in ("sentence_bert_zero_shot", "sentence_bert"):
        if key in keys and config.model.encoder:
            names[key] = NAMES[key].replace("MiniLM", encoder_name(config))
    return names


def sentence_bert_zero_shot(run: RunFolder, notes: Notes) -> Tensor:
    """Embeddings by a bidirectional encoder with its original weights: ``(N, D)`` unit rows."""
    made_of = {"backbone": backbone_key(run.config)}  # its tokenizer cuts the texts
    if run.config.model.encoder:
        made_of["encoder"] = encoder_key(run.config)
    return _kept(run, "sentence_bert_zero_shot", notes, lambda: encode(run.config, notes), **made_of)


def sentence_bert(run: RunFolder, notes: Notes) -> Tensor:
    """The same, trained on the run's pairs."""
    folder = run.file(ENCODER)
    return _kept(
        run,
        "sentence_bert",
        notes,
        lambda: encode(run.config, notes, folder),
        backbone=backbone_key(run.config),
        model=folder_key(folder),
    )


EMBEDDERS: dict[str, Callable[[RunFolder, Notes], Tensor]] = {
    "zero_shot_mean": zero_shot_mean,
    "zero_shot_last": zero_shot_last,
    "zero_shot_prompt": zero_shot_prompt,
    "sentence_bert_zero_shot": sentence_bert_zero_shot,
    "sentence_bert": sentence_bert,
    "trained": trained,
}


def tfidf(config: Config, notes: Notes, *, full: bool) -> TfidfIndex:
    """TF-IDF over title, hashtags and content; truncated to the tokens that the model sees, unless ``full``."""
    return TfidfIndex(
        full_texts(notes) if full else truncated_texts(config, notes), analyzer=config.evaluation.analyzer
    )


def bm25(config: Config, notes: Notes) -> Bm25Index:
    """BM25 over title, hashtags and content, in full."""
    return Bm25Index(full_texts(notes), analyzer=config.evaluation.analyzer)


WORD_INDICES: dict[str, Callable[[Config, Notes], SparseIndex]] = {
    "tfidf": partial(tfidf, full=False),
    "tfidf_full": partial(tfidf, full=True),
    "bm25": bm25,
}


def _embed_bare(config: Config, notes: Notes, pooling: str) -> Tensor:
    cut = {name: getattr(config.prompt, name) for name in CUT}
    bare: PromptConfig = replace(load_prompt("bare"), **cut)
    model = load_backbone(config, bare)
    return _embed(config, model, notes, "zero-shot, no prompt", pooling=pooling, projected=False)


def _embed(config: Config, model: NoteModel, notes: Notes, title: str, **options: Any) -> Tensor:
    with console_progress("tokenising", "notes") as progress:
        tokenized = model.prompt.tokenize(notes, progress=progress)
    with console_progress(f"embedding, {title}", "notes", part="batch") as progress, naming_notes(notes.ids):
        return embed(
            model,
            tokenized,
            dtype=config.dtype,
            options=config.embed.replace(dim=0),  # what is kept is whole
            progress=progress,
            **options,
        ).vectors


def _kept(run: RunFolder, system: str, notes: Notes, make: Callable[[], Tensor], **made_of: str) -> Tensor:
    """Reads the vectors of a system if they are kept under the name of everything that decides them; else makes them.

    They are ``embeddings/<system>-<name>.safetensors``; those of another name go when the new ones are there.
    """
    decided = made_by(run.config, system, notes=notes_fingerprint(notes), **made_of)
    folder: Path = run.file("embeddings")
    path = folder / f"{system}-{json_fingerprint(decided)}.safetensors"
    if path.exists():
        return load_embeddings(path)[1]
    vectors = make()
    save_embeddings(path, notes.ids, vectors)
    for outdated in folder.glob(f"{system}-*.safetensors"):
        if outdated != path:
            outdated.unlink(missing_ok=True)
    return vectors


def kept_vectors(folder: Path, system: str) -> tuple[list[str], Tensor] | None:
    """Ids and vectors of a system as its run folder keeps them, whatever they were made of; None if it keeps none.

    Raises:
        DataError: If the file is damaged.
    """
    files = sorted((folder / "embeddings").glob(f"{system}-*.safetensors"))
    return load_embeddings(files[-1]) if files else None
