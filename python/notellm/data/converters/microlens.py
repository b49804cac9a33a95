"""MicroLens (Ni et al. 2023): titles of micro-videos, and who commented on which; the cuts of 50,000 and 100,000 users.

Sources of the layout. The repository westlake-repl/MicroLens: the names of the releases in its README; the rows of the
TSV log in `Code/IDRec/process_data.ipynb`; titles with bare commas in `Code/VideoRec/GRU4Rec/utils/load_data.py`. The
repository sananm/multimodal-video-recommender: the 50k release's own `readme.txt`, its whole table of titles with a
header, and the header of the CSV log in `src/data/microlens_dataset.py`. The repository GAIR-Lab/LLMPopcorn, in
`pipline.py`: that the 100k release's titles and `tags_to_summary.csv`, one category per video, have no header.

Left out: hashtags, because in the translated titles nothing marks where they end; likes and views, which are counts of
the whole platform without a time; comments.
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from notellm.data.converters.reading import as_data_errors, csv_rows, log_of, name, plain, whole
from notellm.data.csv_form import QUOTE_REMEDY
from notellm.data.interactions import Interactions
from notellm.data.notes import Notes
from notellm.errors import DataError

HEADER = ["item", "title"]
EVENTS = ("user", "item", "timestamp")
TAGS = "tags_to_summary.csv"


def microlens(items: Path, interactions: Path | None) -> tuple[Notes, Interactions | None]:
    """Videos as notes with a title and no content; the 100k release has categories, too.

    Args:
        items: Rows of an item and its title, with a header in the 50k release, without one in the 100k release. With
            the latter, `TAGS` in the same folder is read if it exists: rows of an item and its category.
        interactions: CSV with the columns of `EVENTS`, the times in milliseconds; or TSV with one line per user: the
            user and the user's items, oldest first.

    Raises:
        DataError: If something is missing; names file and line.
    """
    rows = list(_rows(items))
    has_header = bool(rows) and rows[0][1] == HEADER
    titles = _by_item(rows[has_header:], items)
    tags = items.with_name(
        TAGS
    )  # only for the 100k release: in another release the same numbers may be other videos
    categories = _by_item(list(_rows(tags)), tags) if not has_header and tags.is_file() else {}
    notes = Notes(
        ids=list(titles),
        titles=[plain(title) for title in titles.values()],
        contents=[""] * len(titles),
        topics=[[] for _ in titles],
        categories=[categories.get(item, "").strip() for item in titles],
    )
    return notes, None if interactions is None else _log(interactions, notes.ids)


def _log(path: Path, note_ids: list[str]) -> Interactions:
    if path.suffix not in (".csv", ".tsv"):
        raise DataError(f"{path}: must be pairs as .csv or .tsv, but ends in {path.suffix!r}")
    users: list[str] = []
    seen: list[str] = []
    times: list[int] | None = None
    if path.suffix == ".tsv":
        for user, own in _sequences(path):
            users.extend([user] * len(own))
            seen.extend(own)
    else:
        times = []
        for line, row in csv_rows(path, EVENTS):
            where = f"{path}:{line}"
            users.append(name(row, "user", where))
            seen.append(name(row, "item", where))
            times.append(whole(row, "timestamp", where))
    return log_of(users, seen, times, note_ids, str(path), ticks=1000)


def _sequences(path: Path) -> Iterator[tuple[str, list[str]]]:
    with path.open(encoding="utf-8-sig") as file, as_data_errors(path):
        for number, line in enumerate(file, 1):
            user, _, items = line.partition("\t")
            if not user.strip() or not items.split():
                raise DataError(
                    f"{path}:{number}: must be a user, a tab, and items with spaces between, but is {line[:40]!r}"
                )
            yield user.strip(), items.split()


def _by_item(rows: Sequence[tuple[int, list[str]]], path: Path) -> dict[str, str]:
    """Texts by item; a text with commas is one text, quoted or not."""
    texts: dict[str, str] = {}
    for line, (item, *parts) in rows:
        if not item.isdecimal() or not parts:
            raise DataError(
                f"{path}:{line}: must be the number of an item and a text, but is {','.join((item, *parts))!r}"
            )
        if item in texts:
            raise DataError(f"{path}:{line}: items must be unique, but {item} comes before, too")
        texts[item] = ",".join(parts)
    if not texts:
        raise DataError(f"{path}: must hold an item, but holds none")
    return texts


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        begin = 1
        try:
            for row in reader:
                if any("\n" in field for field in row):
                    raise DataError(
                        f"{path}:{begin}: a row must be one line, but a quote in this one is not closed on it; "
                        f"{QUOTE_REMEDY}"
                    )
                if row:
                    yield reader.line_num, row
                begin = reader.line_num + 1
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{path}:{reader.line_num + 1}: must be CSV in UTF-8, but {error}") from error
