"""All notes of a run and what people did with them, before anything is held out."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from notellm.app.config import Config
from notellm.data import Interactions, Notes, debian, union_groups
from notellm.data.remote import local_copy
from notellm.data.tables import Column, Kind, read_table
from notellm.hashtags import HashtagRule
from notellm.io.cache import cache_folder
from notellm.io.fingerprints import Fingerprint
from notellm.io.home import expanded
from notellm.processes import first_process_first
from notellm.progress import console_progress

__all__ = ["Catalogue", "contents_of", "read_catalogue"]

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Catalogue:
    """Notes and behaviour as they are read; all splits of them are made from it.

    Attributes:
        notes: N notes.
        interactions: The log, over these notes.
        groups: Shape ``(N,)``: notes of one group are never on both sides of a split of notes.
    """

    notes: Notes
    interactions: Interactions
    groups: IntArray

    def fingerprint(self) -> str:
        """A name for all of it, whatever is held out."""
        return contents_of(self.notes, self.interactions, self.groups).name()


def read_catalogue(config: Config) -> Catalogue:
    """Reads the notes and the log, and downloads them if needed.

    Args:
        config: Its ``data`` group names the source.

    Raises:
        DataError: If a file is malformed, or the data cannot be downloaded.
        FileNotFoundError: If a file does not exist.
    """
    data = config.data
    if data.source == "debian":
        folder = expanded(data.folder) if data.folder else cache_folder("debian")
        with first_process_first(), console_progress("Debian catalogue", "%") as progress:
            found = debian.fetch(folder, progress)
        return Catalogue(found.notes, found.interactions, found.groups)
    notes = Notes.read(data.notes, hashtags=_hashtag_rule(config))
    log = Interactions.read(data.interactions, notes=notes, ordered=data.ordered)
    return Catalogue(notes, log, _read_groups(data.notes, data.groups_column, len(notes)))


def contents_of(notes: Notes, log: Interactions, groups: IntArray) -> Fingerprint:
    """The fingerprint of notes, a log and groups, to which a split may be added."""
    fields = (notes.ids, notes.titles, notes.contents, notes.topics, notes.categories, log.user_ids)
    found = Fingerprint().add_json(fields)
    if log.ticks_per_second != 1:
        found.add_json(log.ticks_per_second)
    for array in (log.users, log.notes, log.times, log.events, groups):
        found.add_array(array)
    return found


def _hashtag_rule(config: Config) -> HashtagRule:
    """The rule for hashtags: they are also split at the prompt's separator; only the prompt limits their length."""
    return HashtagRule(tuple(dict.fromkeys((*HashtagRule().separators, config.prompt.hashtag_separator))))


def _read_groups(path: str, column: str, count: int) -> IntArray:
    if not column:
        return np.arange(count)
    with local_copy(path) as file:
        labels = read_table(file, {"group": Column(Kind.KEY)}, {"group": column}).columns["group"]
    return union_groups(labels.to_pylist())
