"""What converters share: lines of JSON, plain texts, and logs from names."""

import gzip
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from notellm.data.interactions import Interactions
from notellm.errors import DataError

_TAG = re.compile(r"<[^<>]*>")
_SPACE = re.compile(r"\s+")


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and object of each line of a JSON Lines file, which may be gzipped.

    Raises:
        DataError: With file and line, where a line is no JSON object.
    """
    opening = gzip.open if path.suffix == ".gz" else open
    with opening(path, "rt", encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
            except ValueError as error:
                raise DataError(f"{path}:{number}: must be a JSON object, but {error}") from error
            if not isinstance(row, dict):
                raise DataError(f"{path}:{number}: must be a JSON object, but is {type(row).__name__}")
            yield number, row


def need(row: Mapping[str, Any], key: str, where: str) -> Any:
    """The value of a key that must be there.

    Raises:
        DataError: If it is not; names the keys that are.
    """
    if key not in row:
        raise DataError(f"{where}: must have {key!r}, but has {', '.join(row) or 'nothing'}")
    return row[key]


def plain(text: object) -> str:
    """A text, or texts, without markup and with single spaces.

    Example:
        >>> plain(["<b>Two</b>", "words &amp; more"])
        'Two words & more'
    """
    joined = " ".join(map(str, text)) if isinstance(text, list) else str(text or "")
    return _SPACE.sub(" ", html.unescape(_TAG.sub(" ", joined))).strip()


def log_of(
    users: Sequence[str],
    notes: Sequence[str],
    times: Sequence[int] | None,
    note_ids: list[str],
    where: str,
) -> Interactions:
    """A log in order of time (or as it comes), of those events whose note is known.

    Raises:
        DataError: If no event is left.
    """
    place = {note: i for i, note in enumerate(note_ids)}
    kept = [i for i, note in enumerate(notes) if note in place]
    if not kept:
        raise DataError(
            f"{where}: must hold events of the items, but none of its {len(notes):,} events is of one"
        )
    if times is not None:
        kept.sort(key=lambda i: times[i])  # stable: equal times stay as they come
    names, codes = np.unique([users[i] for i in kept], return_inverse=True)
    return Interactions(
        users=codes.astype(np.int64),
        notes=np.array([place[notes[i]] for i in kept], dtype=np.int64),
        user_ids=names.tolist(),
        note_ids=note_ids,
        times=None if times is None else np.array([times[i] for i in kept], dtype=np.int64),
    )


def distinct(names: Iterable[str]) -> list[str]:
    """Names without repeats and empty ones, in order."""
    return [name for name in dict.fromkeys(name.strip() for name in names) if name]
