"""What the page shows: notes of one or two runs, each run's vectors before and after training, near notes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from notellm.app.config import Config, load_config
from notellm.app.pipeline import load_data, read_pairs
from notellm.app.pipeline.systems import as_stored, kept_vectors
from notellm.app.plane import METHODS, Points, on_a_plane, turned
from notellm.data.notes import Notes
from notellm.errors import ConfigError, DataError
from notellm.retrieval import neighbours

__all__ = ["ExploreOptions", "Explored", "View", "gather"]

SYSTEMS = {"zero_shot_prompt": "before training", "trained": "after training"}
"""Whose vectors are shown, and what they are called there."""


@dataclass(frozen=True)
class ExploreOptions:
    """How much the page shows, and how.

    Attributes:
        notes: At most so many notes; of more, so many are drawn.
        k: Neighbours of each note.
        map: ``"tsne"`` or ``"pca"``, see `notellm.app.plane`.
        seed: Decides which notes are drawn.
    """

    notes: int = 3000
    k: int = 10
    map: str = "tsne"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("notes", 2), ("k", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"explore: {name} must be at least {least}, but is {getattr(self, name)}")
        if self.map not in METHODS:
            raise ConfigError(f"explore: map must be one of {', '.join(METHODS)}, but is {self.map!r}")


@dataclass(frozen=True)
class View:
    """The notes as one system of one run sees them.

    Attributes:
        run: The run's name.
        name: Of the system, such as ``"after training"``.
        points: Shape ``(N, 2)``.
        neighbours: Shape ``(N, k)`` int64, rows of the notes, nearest first.
        cosines: Shape ``(N, k)``.
    """

    run: str
    name: str
    points: Points
    neighbours: npt.NDArray[np.int64]
    cosines: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Explored:
    """N notes, and one view of them or more.

    Attributes:
        notes: The notes that are shown.
        of: How many notes the run has evaluated.
        related: For each note the rows of those that the first run has mined with it, if they are shown.
        views: Run by run, before and after training.
        options: How they were gathered.
    """

    notes: Notes
    of: int
    related: list[list[int]]
    views: list[View]
    options: ExploreOptions


class _Vectors(NamedTuple):
    """The vectors of a system: N ids and as many rows."""

    run: str
    name: str
    ids: list[str]
    rows: Tensor


def gather(run: Path, other: Path | None, options: ExploreOptions) -> Explored:
    """Reads one run or two, and finds what the page shows. See `write_explorer`.

    Notes are those that the first run has evaluated; with a second run, those that both have, by their ids. Neighbours
    are exact, and found among the notes that are shown, so that two runs choose from the same ones.
    """
    config = _config_of(run)
    names = _names(run, other)
    found = _vectors_of(run, names[0], config)
    of = len(found[0].ids)
    if other is not None:
        found += _vectors_of(other, names[1], _config_of(other))
    ids = _drawn(_common([vectors.ids for vectors in found]), options)
    if len(ids) < 2:
        who = f"{run} must" if other is None else f"{run} and {other} must"
        raise ConfigError(f"explore: {who} have two or more of the same evaluated notes, but have {len(ids)}")
    every = load_data(config).notes
    places = every.index(ids)
    views: list[View] = []
    for vectors in found:
        view = _view(vectors, ids, options)
        views.append(replace(view, points=turned(view.points, views[0].points)) if views else view)
    return Explored(every.take(places), of, _related(run / "pairs.parquet", every, places), views, options)


def _config_of(run: Path) -> Config:
    file = run / "config.yaml"
    if not file.is_file():
        raise ConfigError(f"{run}: must be a run folder, but has no config.yaml")
    return load_config(file)


def _names(run: Path, other: Path | None) -> tuple[str, str]:
    """What the runs are called: after their folders, or after their paths where those are called the same.

    Raises:
        ConfigError: If both are the same folder.
    """
    if other is None or run.resolve().name != other.resolve().name:
        return run.resolve().name, "" if other is None else other.resolve().name
    if run.resolve() == other.resolve():
        raise ConfigError(f"explore: the other run must be in another folder, but both are {run}")
    return str(run), str(other)


def _vectors_of(run: Path, name: str, config: Config) -> list[_Vectors]:
    """What the run keeps, as it evaluates it."""
    found = []
    for system, what in SYSTEMS.items():
        kept = kept_vectors(run, system)
        if kept is None:
            continue
        ids, rows = kept
        if system == "trained":
            rows = as_stored(rows, config.embed.dim, config.embed.storage)
        found.append(_Vectors(name, what, ids, rows))
    if not found:
        raise DataError(
            f"{run / 'embeddings'}: must hold vectors of {' or '.join(SYSTEMS)}, but does not; "
            f"try `notellm evaluate --run {run}`"
        )
    return found


def _common(lists: list[list[str]]) -> list[str]:
    """The ids that all lists have, in the order of the first."""
    shared = set(lists[0]).intersection(*lists[1:])
    return [name for name in lists[0] if name in shared]


def _drawn(ids: list[str], options: ExploreOptions) -> list[str]:
    if len(ids) <= options.notes:
        return ids
    rows = np.random.default_rng(options.seed).permutation(len(ids))[: options.notes]
    return [ids[row] for row in np.sort(rows)]


def _view(vectors: _Vectors, ids: list[str], options: ExploreOptions) -> View:
    row_of = {name: row for row, name in enumerate(vectors.ids)}
    rows = vectors.rows[torch.tensor([row_of[name] for name in ids])]
    near = neighbours(rows, rows, min(options.k, len(ids) - 1), exclude=torch.arange(len(ids)))
    points = on_a_plane(rows, options.map, where="explore")
    return View(vectors.run, vectors.name, points, near.indices.numpy(), near.scores.numpy())


def _related(pairs: Path, every: Notes, places: npt.NDArray[np.int64]) -> list[list[int]]:
    """For each place the numbers of the places whose notes were mined with it; none where no pairs are kept."""
    related: list[list[int]] = [[] for _ in places]
    if not pairs.exists():
        return related
    number = np.full(len(every), -1)
    number[places] = np.arange(len(places))
    source, target = (number[side] for side in read_pairs(pairs, every))
    for one, partner in zip(source.tolist(), target.tolist(), strict=True):
        if one >= 0 and partner >= 0:
            related[one].append(partner)
    return related
