"""Pools in folders of shards, as a configuration asks for them: by this process, by several, or by a cluster."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from notellm.app.config import Config
from notellm.app.kept import folder_key, made_by
from notellm.app.pipeline.generating import Describer
from notellm.app.pipeline.models import load_trained
from notellm.data.notes import Notes
from notellm.pools.cluster import Actors, make_on_ray
from notellm.pools.making import MakeShard, Workshop, embedder, generator, make_all
from notellm.pools.shards import Shards
from notellm.processes import started, work_apart
from notellm.progress import ProgressFn

__all__ = ["EmbedWorkshop", "Filled", "LabelWorkshop", "fill", "label"]


@dataclass(frozen=True)
class EmbedWorkshop:
    """Loads a trained model that embeds.

    Attributes:
        config: Its device, dtype and ``embed`` group.
        model: The model's folder.
        projected: Whether a contrastive loss has trained the projection.
    """

    config: Config
    model: Path
    projected: bool = True

    def __call__(self) -> MakeShard:
        """Loads it."""
        model = load_trained(self.config, self.model)
        return embedder(model, dtype=self.config.dtype, options=self.config.embed, projected=self.projected)

    @property
    def made_by(self) -> dict[str, Any]:
        """What decides its vectors beside the notes."""
        found = made_by(self.config, "vectors", model=folder_key(self.model))
        found["options"]["loss"] = {
            "contrastive": self.projected
        }  # as the model was trained, whatever is asked
        return found


@dataclass(frozen=True)
class LabelWorkshop:
    """Loads a trained model that writes categories and hashtags.

    Attributes:
        config: Its device, dtype, seed and ``generation`` group.
        model: The model's folder.
        categories: The only categories there are, if any are given.
        hashtags: The only hashtags there are; None: any.
        ban_in_text: Whether hashtags in the note's text are left out.
    """

    config: Config
    model: Path
    categories: Sequence[str] = ()
    hashtags: Sequence[str] | None = None
    ban_in_text: bool = False

    def describer(self) -> Describer:
        """Loads it."""
        return Describer(
            self.config,
            load_trained(self.config, self.model),
            known_categories=self.categories,
            closed=True,
            vocabulary=self.hashtags,
            ban_in_text=self.ban_in_text,
        )

    def __call__(self) -> MakeShard:
        """Loads it."""
        describer = self.describer()
        return generator(lambda notes, progress: label(describer, notes, progress))


def label(describer: Describer, notes: Notes, progress: ProgressFn) -> list[dict[str, Any]]:
    """The lines of some notes: id, title, and what is written for them."""
    rows = describer(notes, lambda done, total: progress(done * len(notes) // max(total, 1), len(notes)))
    named = zip(notes.ids, notes.titles, rows, strict=True)
    return [{"id": note, "title": title} | row for note, title, row in named]


class Filled(NamedTuple):
    """What a call found and made of a folder."""

    made: int
    """Shards that this call made."""
    there: int
    """Shards that are there now."""


def fill(
    shards: Shards,
    notes: Notes,
    workshop: Workshop,
    *,
    actors: Actors | None = None,
    threads: int = 0,
    progress: ProgressFn | None = None,
) -> Filled:
    """Makes the shards that are not there yet; of several processes that ``torchrun`` started, each makes its share.

    Args:
        shards: The folder.
        notes: The pool.
        workshop: Loads the model; not called if there is nothing to make.
        actors: Of Ray; None: this process works itself.
        threads: Of an actor; 0: its CPUs.
        progress: Called with (notes done, notes).

    Raises:
        DataError: As `make_all`.
        NotSupportedError: If Ray is asked for and not installed.
    """
    work_apart()
    count = len(shards.plan)
    if actors is not None:
        made = make_on_ray(shards, notes, workshop, actors=actors, threads=threads, progress=progress)
    else:
        own = range(*started().share(count))
        is_needed = any(index in own for index in shards.missing())
        make = workshop() if is_needed else _make_nothing
        made = make_all(shards, notes, make, among=own, progress=progress)
    return Filled(made, count - len(shards.missing()))


def _make_nothing(shards: Shards, index: int, notes: Notes, progress: ProgressFn | None) -> None:
    """Stands in for a model where all shards are there."""
