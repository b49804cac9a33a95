"""KuaiRec (Gao et al. 2022): captions of short videos, in Chinese, with hashtags and categories."""

import re
from pathlib import Path

from notellm.data.converters.reading import csv_rows, distinct, log_of, plain
from notellm.data.interactions import Interactions
from notellm.data.notes import Notes

ITEMS = ("video_id", "manual_cover_text", "caption", "topic_tag", "first_level_category_name")
EVENTS = ("user_id", "video_id", "timestamp")
_INLINE = re.compile(r"#\S+")


def kuairec(items: Path, interactions: Path | None) -> tuple[Notes, Interactions | None]:
    """Videos as notes: the cover's text is the title, the caption without its inline hashtags the content.

    Args:
        items: CSV with the columns of `ITEMS`; ``UNKNOWN`` means that there is none.
        interactions: CSV with the columns of `EVENTS`; ``big_matrix.csv``, since nearly every user of the small one saw
            nearly every video.

    Raises:
        DataError: If a column is missing, or a row has a wrong number of fields.
    """
    rows = [row for _, row in csv_rows(items, ITEMS)]
    notes = Notes(
        ids=[row["video_id"] for row in rows],
        titles=[plain(_known(row["manual_cover_text"])) for row in rows],
        contents=[plain(_INLINE.sub(" ", _known(row["caption"]))) for row in rows],
        topics=[distinct(_known(row["topic_tag"]).strip("[]").split(",")) for row in rows],
        categories=[_known(row["first_level_category_name"]) for row in rows],
    )
    if interactions is None:
        return notes, None
    events = [row for _, row in csv_rows(interactions, EVENTS)]
    users, seen = ([row[key] for row in events] for key in ("user_id", "video_id"))
    times = [int(float(row["timestamp"] or 0)) for row in events]
    return notes, log_of(users, seen, times, notes.ids, str(interactions))


def _known(text: str) -> str:
    return "" if text in ("UNKNOWN", "-124") else text
