"""KuaiRec (Gao et al. 2022): captions of short videos, in Chinese, with hashtags and categories."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from notellm.data.converters.reading import distinct, log_of, plain
from notellm.data.interactions import Interactions
from notellm.data.notes import Notes
from notellm.errors import DataError

ITEMS = ("video_id", "manual_cover_text", "caption", "topic_tag", "first_level_category_name")
EVENTS = ("user_id", "video_id", "timestamp")
_INLINE = re.compile(r"#\S+")
_BARE_RETURN = re.compile(r"\r(?!\n)")


def kuairec(items: Path, interactions: Path | None) -> tuple[Notes, Interactions | None]:
    """Videos as notes: the cover's text is the title, the caption without its inline hashtags the content.

    Args:
        items: CSV with the columns of `ITEMS`; ``UNKNOWN`` means that there is none.
        interactions: CSV with the columns of `EVENTS`; ``big_matrix.csv``, since nearly every user of the small one saw
            nearly every video.

    Raises:
        DataError: If a column is missing, or a row has a wrong number of fields.
    """
    rows = list(_rows(items, ITEMS))
    notes = Notes(
        ids=[row["video_id"] for row in rows],
        titles=[plain(_known(row["manual_cover_text"])) for row in rows],
        contents=[plain(_INLINE.sub(" ", _known(row["caption"]))) for row in rows],
        topics=[distinct(_known(row["topic_tag"]).strip("[]").split(",")) for row in rows],
        categories=[_known(row["first_level_category_name"]) for row in rows],
    )
    if interactions is None:
        return notes, None
    events = list(_rows(interactions, EVENTS))
    users, seen = ([row[key] for row in events] for key in ("user_id", "video_id"))
    times = [int(float(row["timestamp"] or 0)) for row in events]
    return notes, log_of(users, seen, times, notes.ids, str(interactions))


def _known(text: str) -> str:
    return "" if text in ("UNKNOWN", "-124") else text


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = (_BARE_RETURN.sub(" ", line) for line in _lines(file))
        reader = csv.DictReader(lines)
        missing = [name for name in columns if name not in (reader.fieldnames or [])]
        if missing:
            raise DataError(
                f"{path}: must have the columns {', '.join(missing)}, but has "
                f"{', '.join(reader.fieldnames or []) or 'none'}"
            )
        for row in reader:
            if None in row or None in row.values():
                raise DataError(f"{path}:{reader.line_num}: must have {len(reader.fieldnames or [])} fields")
            yield row


def _lines(file: TextIO) -> Iterator[str]:
    """Lines that end with a newline: some captions hold a carriage return, which is no end of a row."""
    begun = ""
    for part in file:  # at either
        begun += part
        if begun.endswith("\n"):
            yield begun
            begun = ""
    if begun:
        yield begun
