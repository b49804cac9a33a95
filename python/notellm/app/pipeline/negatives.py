"""Hard negatives of a run's pairs: an earlier model embeds training notes, and its neighbours are kept."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from notellm.app.config import Config
from notellm.app.kept import folder_key, made_by
from notellm.app.pipeline.data import Dataset, IntArray, read_pairs, shuffled
from notellm.app.pipeline.models import MODEL, check_trained, is_projected, load_trained
from notellm.app.run import RunFolder
from notellm.data.named_notes import naming_notes
from notellm.embedding import embed
from notellm.hard_negatives import FIRST, HardNegatives, mine_hard_negatives
from notellm.io.files import atomic_write
from notellm.io.fingerprints import Fingerprint, json_fingerprint
from notellm.io.home import expanded
from notellm.processes import first_process_first
from notellm.progress import console_progress

FIRST_RUN = "first"
"""Folder of the first model's run in a run folder, until the run has its own model."""


@first_process_first()
def hard_negatives(
    run: RunFolder, dataset: Dataset, source: IntArray, target: IntArray, model: Path | None = None
) -> HardNegatives:
    """The hard negatives of training pairs: mined and kept in the run folder, or read from there.

    Args:
        run: A run with ``pairs.parquet``; all pairs in there are related, whether they are trained on or not.
        dataset: Its data; only notes of the training side are negatives.
        source: Shape ``(P,)``: training pairs, positions in the notes.
        target: Shape ``(P,)``.
        model: The earlier model's folder; by default that of ``negatives.model``.

    Raises:
        DataError: If there is no trained model in the folder.
    """
    options = run.config.negatives
    folder = model or earlier_model(run.config)
    name = json_fingerprint(
        made_by(
            run.config,
            "negatives",
            model=FIRST if options.model == FIRST else folder_key(folder),
            pairs=Fingerprint(8).add_array(np.stack([source, target])).name(),
        )
    )
    path = run.file(f"hard_negatives-{name}.safetensors")
    if path.exists():
        kept = load_file(path)
        return HardNegatives(kept["offsets"].numpy(), kept["notes"].numpy(), options.per_pair)
    found = _mine(run, dataset, source, target, folder)
    with atomic_write(path) as temporary:
        save_file(
            {"offsets": torch.from_numpy(found.offsets), "notes": torch.from_numpy(found.notes)}, temporary
        )
    print(_said_of(found), flush=True)
    return found


def _said_of(found: HardNegatives) -> str:
    """How many there are; and what to do if most pairs have none, since the earlier model finds all notes alike."""
    pairs = len(found.offsets) - 1
    said = f"hard negatives: {len(found.notes):,}, for {found.covered:,} of {pairs:,} pairs"
    remedy = "; try smaller margins (negatives.relative_margin), a better earlier model or a larger last_rank"
    return said + (remedy if 2 * found.covered < pairs else "")


def earlier_model(config: Config) -> Path:
    """The folder of ``negatives.model``, which may be that of a run."""
    folder = expanded(config.negatives.model)
    return folder / MODEL if (folder / MODEL).is_dir() else folder


def earlier_model_key(config: Config) -> str:
    """A name for the files of the earlier model; empty where there is none, or the run trains it itself."""
    return "" if config.negatives.model in ("", FIRST) else folder_key(earlier_model(config))


def _mine(
    run: RunFolder, dataset: Dataset, source: IntArray, target: IntArray, folder: Path
) -> HardNegatives:
    candidates = _candidates(run.config, dataset)
    embedded = np.unique(np.concatenate([candidates, source, target]))
    place = np.full(len(dataset.notes), -1)
    place[embedded] = np.arange(len(embedded))
    related = np.stack(read_pairs(run.file("pairs.parquet"), dataset.notes))
    related = place[related]
    related = related[:, (related >= 0).all(axis=0)]
    vectors = _vectors(run.config, dataset, embedded, folder)
    with console_progress("hard negatives", "notes") as progress:
        found = mine_hard_negatives(
            vectors,
            place[source],
            place[target],
            options=run.config.negatives,
            candidates=place[candidates],
            related=(related[0], related[1]),
            groups=dataset.groups[embedded],
            progress=progress,
        )
    return HardNegatives(found.offsets, embedded[found.notes], found.per_pair)


def _candidates(config: Config, dataset: Dataset) -> IntArray:
    """Positions of the notes that may be negatives, drawn by the split's seed."""
    notes, most = np.flatnonzero(dataset.is_train), config.negatives.candidates
    if not most or most >= len(notes):
        return notes
    names = [f"negative {dataset.notes.ids[note]}" for note in notes]
    return np.sort(shuffled(notes, names, config.data.split_seed)[:most])


def _vectors(config: Config, dataset: Dataset, positions: IntArray, folder: Path) -> Tensor:
    check_trained(folder)
    model, notes = load_trained(config, folder), dataset.notes.take(positions)
    with (
        console_progress("embedding, earlier model", "notes", part="batch") as progress,
        naming_notes(notes.ids),
    ):
        return embed(
            model,
            model.prompt.tokenize(notes),
            projected=is_projected(folder),
            dtype=config.dtype,
            options=config.embed.replace(dim=0, weights="same"),  # whatever is embedded later
            progress=progress,
        ).vectors
