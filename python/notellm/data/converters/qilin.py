"""Qilin (Chen et al. 2025): notes of Xiaohongshu, and what its users were shown in their feed and clicked.

Sources of the layout. The repository RED-Search/Qilin, in its README, `baselines/src/dataset_factory.py` and
`datasets/analyze_qilin.py`: the tables, the columns, that a click is a number above zero, that a time is in seconds.
The data set's card, THUIR/Qilin: the Parquet folders and the columns of a request. The repository czb772/Qilin, whose
`baselines/res.md` quotes many notes: the hashtags ``#name[话题]#`` in a note's content.

Left out: `recent_clicked_note_idxs`, which has neither times nor a documented order; the search tables, whose clicks
answer a query; the second and third level of the taxonomy.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from notellm.data.converters.reading import distinct, log_of, parquet_parts, plain, whole
from notellm.data.interactions import CLICK, VIEW, Interactions
from notellm.data.notes import Notes
from notellm.data.tables import Column, Kind, read_table
from notellm.errors import DataError

ITEMS = ("note_idx", "note_title", "note_content", "taxonomy1_id")
EVENTS = ("user_idx", "rec_result_details_with_idx")
_TEXTS = {
    "note_idx": Column(Kind.KEY),
    "note_title": Column(Kind.TEXT),
    "note_content": Column(Kind.TEXT),
}
_TOPIC = re.compile(r"#([^#\[\]\n]+)\[话题\]#")
_NO_BREAK = "\ufeff"  # the editor puts it around hashtags; `plain` does not treat it as a space


class _Shown(NamedTuple):
    """A note that was shown to the user of a request."""

    note: int
    position: int
    time: int
    is_clicked: bool


def qilin(items: Path, interactions: Path | None) -> tuple[Notes, Interactions | None]:
    """Notes with their hashtags, taken out of the content; the first level of the taxonomy is the category.

    Notes shown are views, in the order of time and position; a clicked note also has a click right after its view.

    Args:
        items: Parquet with the columns of `ITEMS`: the folder ``notes``, or a file of it.
        interactions: Parquet with the columns of `EVENTS`: the folder ``recommendation_train``, or a file of it.
            Events of other notes are left out.

    Raises:
        DataError: If something is missing; names file and row.
        FileNotFoundError: If there is no such file or folder.
    """
    notes = _notes(items)
    if interactions is None:
        return notes, None
    users, seen, times, events = [], [], [], []
    for part in parquet_parts(interactions, EVENTS):
        for user, shown in _exposures(part):
            for event in (VIEW, CLICK) if shown.is_clicked else (VIEW,):
                users.append(user)
                seen.append(str(shown.note))
                times.append(shown.time)
                events.append(event)
    return notes, log_of(users, seen, times, notes.ids, str(interactions), events)


def _notes(items: Path) -> Notes:
    notes = Notes([], [], [], [], [])
    owners: dict[str, Path] = {}
    for part in parquet_parts(items, ITEMS):
        table = read_table(part, _TEXTS)
        ids, titles, raw = (table.columns[name].to_pylist() for name in _TEXTS)
        for row, name in enumerate(ids):
            if name in owners:
                raise table.fail(
                    row, f"note_idx must be unique, but {name} is that of a note before, in {owners[name]}"
                )
            owners[name] = part
        contents = [text.replace(_NO_BREAK, " ") for text in raw]
        notes.ids.extend(ids)
        notes.titles.extend(map(plain, titles))
        notes.contents.extend(plain(_TOPIC.sub(" ", text)) for text in contents)
        notes.topics.extend(distinct(_TOPIC.findall(text)) for text in contents)
        notes.categories.extend(_categories(part))
    return notes


def _categories(part: Path) -> Iterator[str]:
    """Names or numbers: no source says which of them the taxonomy's levels are."""
    column = pq.read_table(part, columns=[ITEMS[3]], partitioning=None)[ITEMS[3]].to_pylist()
    for row, value in enumerate(column, 1):
        if value is not None and not isinstance(value, str | int):
            raise DataError(f"{part}: row {row}: {ITEMS[3]} must be text or an integer, but is {value!r}")
        yield "" if value is None else str(value)


def _exposures(part: Path) -> Iterator[tuple[str, _Shown]]:
    """User and note for everything that the requests of a file showed."""
    row = 0
    for batch in pq.ParquetFile(part).iter_batches(columns=list(EVENTS)):
        for request in batch.to_pylist():
            row += 1
            where = f"{part}: row {row}"
            user, details = (request[name] for name in EVENTS)
            if user is None:
                raise DataError(f"{where}: user_idx must be given, but is null")
            if not isinstance(details or [], list):
                raise DataError(f"{where}: {EVENTS[1]} must be a list, but is {type(details).__name__}")
            for shown in sorted(
                (_shown(entry, where) for entry in details or []), key=lambda shown: shown.position
            ):
                yield str(user), shown


def _shown(entry: Any, where: str) -> _Shown:
    note, position, time, click = (
        _whole(entry, key, where) for key in ("note_idx", "position", "request_timestamp", "click")
    )
    return _Shown(note, position, time, click > 0)


def _whole(entry: Any, key: str, where: str) -> int:
    if not isinstance(entry, dict):
        raise DataError(f"{where}: {EVENTS[1]} must hold records, but holds {entry!r}")
    return whole(entry, key, where)
