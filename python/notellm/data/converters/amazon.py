"""Amazon Reviews: the releases of 2018 (Ni, Li and McAuley 2019) and 2023 (Hou et al. 2024), and a common cut of them.

An item is a note; the second level of its category path is the category, deeper levels are the hashtags. The first
level is the same for all items of a file. Brands are left out: items could be recognised by the name.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from notellm.data.converters.reading import distinct, json_lines, log_of, name, need, plain, whole
from notellm.data.interactions import Interactions
from notellm.data.notes import Notes
from notellm.errors import DataError
from notellm.io.json_files import read_json_object
from notellm.io.json_tree import Node


class _Item(NamedTuple):
    id: str
    title: str
    content: str
    path: Sequence[str]


class _Release(NamedTuple):
    """The names of keys in a release."""

    item: str
    features: str
    path: str
    user: str
    time: str
    ticks: int  # units of time per second


def amazon_2018(items: Path, interactions: Path | None) -> tuple[Notes, Interactions | None]:
    """The release of 2018: ``asin, title, description, feature, category``; ``reviewerID, asin, unixReviewTime``.

    Args:
        items: JSON Lines, may be gzipped; if an item occurs twice, the first is taken.
        interactions: JSON Lines; reviews of other items are left out.

    Raises:
        DataError: If something is missing; names file and line.
    """
    return _converted(
        items, interactions, _Release("asin", "feature", "category", "reviewerID", "unixReviewTime", 1)
    )


def amazon_2023(items: Path, interactions: Path | None) -> tuple[Notes, Interactions | None]:
    """The release of 2023: ``parent_asin, title, description, features, categories``; ``user_id, timestamp``.

    Arguments and errors are those of `amazon_2018`.
    """
    return _converted(
        items, interactions, _Release("parent_asin", "features", "categories", "user_id", "timestamp", 1000)
    )


def amazon_items(items: Path, interactions: Path | None) -> tuple[Notes, Interactions | None]:
    """A subset used in papers on generative retrieval: a JSON object of items, and one of each user's items.

    Args:
        items: ``{number: {title, description, categories}}``, the categories one string with commas between levels.
        interactions: ``{user: [number, ...]}``, oldest first.

    Raises:
        DataError: If something is missing; names file and entry.
    """

    def read() -> Iterator[_Item]:
        for number, row in read_json_object(items).items():
            where = f"{items}: {number}"
            levels = re.split(r",(?! )", str(need(row, "categories", where)))  # names may contain ", "
            title, content = need(row, "title", where), need(row, "description", where)
            yield _Item(number, plain(title), plain(content), levels)

    notes = _notes(read(), items)
    if interactions is None:
        return notes, None
    sequences = {
        user: Node(own, f"{interactions}: {user}").items()
        for user, own in read_json_object(interactions).items()
    }
    events = [(user, str(item.value)) for user, own in sequences.items() for item in own]
    users, seen = ([event[part] for event in events] for part in (0, 1))
    return notes, log_of(users, seen, None, notes.ids, str(interactions))


def _converted(items: Path, interactions: Path | None, keys: _Release) -> tuple[Notes, Interactions | None]:
    def read() -> Iterator[_Item]:
        for number, row in json_lines(items):
            where = f"{items}:{number}"
            item, path = name(row, keys.item, where), need(row, keys.path, where)
            content = [*_texts(row.get(keys.features)), *_texts(row.get("description"))]
            yield _Item(item, plain(row.get("title")), plain(content), _texts(path))

    notes = _notes(read(), items)
    if interactions is None:
        return notes, None
    users, seen, times = [], [], []
    for number, row in json_lines(interactions):
        where = f"{interactions}:{number}"
        users.append(name(row, keys.user, where))
        seen.append(name(row, keys.item, where))
        times.append(whole(row, keys.time, where))
    return notes, log_of(users, seen, times, notes.ids, str(interactions), ticks=keys.ticks)


def _notes(found: Iterator[_Item], where: Path) -> Notes:
    items: dict[str, _Item] = {}
    for item in found:
        items.setdefault(item.id, item)
    if not items:
        raise DataError(f"{where}: must hold an item, but holds none")
    paths = [distinct(plain(level) for level in item.path) for item in items.values()]
    return Notes(
        ids=list(items),
        titles=[item.title for item in items.values()],
        contents=[item.content for item in items.values()],
        topics=[path[2:] for path in paths],
        categories=[path[1] if len(path) > 1 else "" for path in paths],
    )


def _texts(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(text) for text in value] if isinstance(value, list) else [str(value)]
