"""What the systems of a run generate for notes of its evaluation, kept in the run folder beside the truth."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from notellm.app.config import Config
from notellm.app.kept import backbone_key, folder_key, made_by
from notellm.app.pipeline.data import IntArray
from notellm.app.pipeline.generating import Describer
from notellm.app.pipeline.models import MODEL, load_backbone, load_trained
from notellm.app.run import RunFolder
from notellm.data.fingerprint import notes_fingerprint
from notellm.data.notes import Notes
from notellm.errors import DataError
from notellm.io.files import atomic_write
from notellm.io.fingerprints import json_fingerprint
from notellm.io.json_files import read_json_lines
from notellm.io.json_tree import Node
from notellm.progress import console_progress
from notellm.prompts import PromptConfig
from notellm.prompts.tokenizing import clean_hashtags, clean_value

Written = dict[str, dict[str, Any]]
"""By system: its outputs for one note, see `Describer`."""


def evaluated_notes(config: Config, pool: int) -> IntArray:
    """The notes of a pool of this size that categories and hashtags are generated for: drawn by the split's seed."""
    draw = np.random.default_rng(config.data.split_seed)
    return np.sort(draw.permutation(pool)[: config.evaluation.generation_notes])


def generate(
    run: RunFolder, notes: Notes, known_categories: Sequence[str], writers: Sequence[str]
) -> dict[str, Written]:
    """What the untrained and the trained model generate for some notes; kept in ``generation.jsonl``.

    Args:
        run: The run.
        notes: The notes; their own categories are not used, but recorded.
        known_categories: The closed set of which the best category is found, too.
        writers: ``"zero_shot_prompt"``, ``"trained"`` or both.

    Returns:
        By note id: what each system generated.
    """
    path = run.file("generation.jsonl")
    name = json_fingerprint(_generation_made_by(run, notes, known_categories, writers))
    written = _written_before(path, name, notes.ids)
    if written is None:
        written = _write(run, notes, known_categories, writers)
    _keep_written(path, name, notes, run.config.prompt, written)
    return written


def _write(
    run: RunFolder, notes: Notes, known_categories: Sequence[str], writers: Sequence[str]
) -> dict[str, Written]:
    """Lets each writer describe the notes; by note id."""
    systems: dict[str, list[dict[str, Any]]] = {}
    writes = compared(notes)
    for key in writers:
        is_trained = key == "trained"
        who = "the trained model" if is_trained else "the untrained model"
        model = load_trained(run.config, run.file(MODEL)) if is_trained else load_backbone(run.config)
        describer = Describer(run.config, model, known_categories=known_categories, writes=list(writes))
        with console_progress(
            f"{' and '.join(writes.values())} by {who}", "outputs", part="batch"
        ) as progress:
            systems[key] = describer(notes, progress)
    return {note: {key: outputs[i] for key, outputs in systems.items()} for i, note in enumerate(notes.ids)}


def _keep_written(
    path: Path, name: str, notes: Notes, prompt: PromptConfig, written: dict[str, Written]
) -> None:
    """One line a note, with the truth that its metrics compare with."""
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for note, title, category, hashtags in zip(
            notes.ids, notes.titles, *truth_of(notes, prompt), strict=True
        ):
            row = {
                "id": note,
                "title": title,
                "category": category,
                "topics": hashtags,
                "made_by": name,
                "systems": written[note],
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def truth_of(notes: Notes, prompt: PromptConfig) -> tuple[list[str], list[list[str]]]:
    """The category and the hashtags of each note as the prompt shows them, so that a model can write them."""
    categories = [clean_value(category).strip() for category in notes.categories]
    return categories, [clean_hashtags(topics, prompt) for topics in notes.topics]


def compared(notes: Notes) -> dict[str, str]:
    """What some note has, so that an output can be compared with it: by field, its name in words."""
    has = {"category": any(map(str.strip, notes.categories)), "hashtags": any(notes.topics)}
    names = {"category": "categories", "hashtags": "hashtags"}
    return {field: name for field, name in names.items() if has[field]}


def _written_before(path: Path, name: str, ids: Sequence[str]) -> dict[str, Written] | None:
    """What is kept under a name for the same notes; None if it is not there, or damaged: it is then made anew."""
    if not path.exists():
        return None
    try:
        rows = [Node(row, f"{path}:{line}") for line, row in read_json_lines(path)]
        if [(row.text("id"), row.text("made_by")) for row in rows] != [(note, name) for note in ids]:
            return None
        return {note: row.at("systems").value for note, row in zip(ids, rows, strict=True)}
    except DataError:
        return None


def _generation_made_by(
    run: RunFolder, notes: Notes, known_categories: Sequence[str], writers: Sequence[str]
) -> dict[str, Any]:
    return made_by(
        run.config,
        "generation",
        notes=notes_fingerprint(notes),
        backbone=backbone_key(run.config) if "zero_shot_prompt" in writers else "",
        model=folder_key(run.file(MODEL)) if "trained" in writers else "",
        writers=list(writers),
        known_categories=json_fingerprint(list(known_categories)),
    )
