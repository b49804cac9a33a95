"""KuaiRec (Gao et al. 2022): captions of short videos, in Chinese, with hashtags and categories."""

import re
from pathlib import Path

from notellm.data.converters.reading import csv_rows, distinct, log_of, name, number, plain
from notellm.data.interactions import Interactions
from notellm.data.notes import Notes
from notellm.errors import DataError

ITEMS = ("video_id", "manual_cover_text", "caption", "topic_tag", "first_level_category_name")
EVENTS = ("user_id", "video_id", "timestamp")
_INLINE = re.compile(r"#\S+")


def kuairec(items: Path, interactions: Path | None) -> tuple[Notes, Interactions | None]:
    """Videos as notes: the cover's text is the title, the caption without its inline hashtags the content.

    Args:
        items: CSV with the columns of `ITEMS`; ``UNKNOWN`` stands for an absent value.
        interactions: CSV with the columns of `EVENTS`: ``big_matrix.csv``. In the small one nearly every user saw
            nearly every video, many of them at an unknown time.

    Raises:
        DataError: If a column, a name or a time is missing, or a video is repeated; names file and line.
    """
    videos: dict[str, dict[str, str]] = {}
    for line, row in csv_rows(items, ITEMS):
        video = name(row, "video_id", f"{items}:{line}")
        if video in videos:
            raise DataError(f"{items}:{line}: video_id must be unique, but {video} comes before, too")
        videos[video] = row
    rows = videos.values()
    notes = Notes(
        ids=list(videos),
        titles=[plain(_known(row["manual_cover_text"])) for row in rows],
        contents=[plain(_INLINE.sub(" ", _known(row["caption"]))) for row in rows],
        topics=[distinct(_known(row["topic_tag"]).strip("[]").split(",")) for row in rows],
        categories=[_known(row["first_level_category_name"]) for row in rows],
    )
    if interactions is None:
        return notes, None
    users, seen, times = [], [], []
    for line, row in csv_rows(interactions, EVENTS):
        where = f"{interactions}:{line}"
        users.append(name(row, "user_id", where))
        seen.append(name(row, "video_id", where))
        times.append(number(row, "timestamp", where))
    return notes, log_of(users, seen, times, notes.ids, str(interactions))


def _known(text: str) -> str:
    return "" if text in ("UNKNOWN", "-124") else text
