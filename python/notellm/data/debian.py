"""The Debian package catalogue as notes and interactions: real text and real co-occurrence, available everywhere.

A note is a binary package: its title is the synopsis, its content the long description, its topics
the debtags (the part after ``::``), its category the archive section. Its name is its id and not
part of the text, since names reveal which packages belong together. A user is a package, too; its
basket is itself and the packages it depends on, recommends, suggests and enhances.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from notellm.data import apt
from notellm.data.interactions import Interactions
from notellm.data.notes import Notes
from notellm.data.split import union_groups
from notellm.data.tables import Column, Kind, read_table
from notellm.data.writing import write_table
from notellm.errors import DataError
from notellm.io.locks import make_once
from notellm.progress import ProgressFn

__all__ = ["DebianCatalogue", "fetch", "from_stanzas", "read"]

DROPPED_SECTIONS = frozenset(
    ["debug", "oldlibs", "localization", "translations", "metapackages", "kernel", "libs", "libdevel"]
)
DROPPED_NAMES = re.compile(r"-(dbg|dbgsym|doc|l10n|locale)$|-(l10n|locale)-")
DROPPED_SYNOPSES = re.compile(r"\b(transitional|dummy)\b", re.IGNORECASE)

RELATIONS = ("Depends", "Recommends", "Suggests", "Enhances")
SMALLEST_BASKET, LARGEST_BASKET = 2, 100

GROUP_PREFIX = 150
"""Packages whose descriptions have this many first characters in common are siblings."""

_DOWNLOADED, _PARSED = 60, 90
"""Percent of the whole work after each stage, as measured with a fast connection."""

_FILES = ("notes.parquet", "interactions.parquet", "groups.parquet")


@dataclass(frozen=True, eq=False)
class DebianCatalogue:
    """The catalogue, ready for mining.

    Attributes:
        notes: N packages, by name.
        interactions: The baskets, unordered; note indices are those of ``notes``.
        groups: Shape ``(N,)`` int64: packages of the same source, or whose descriptions begin the
            same, are one group; the split keeps groups together.
    """

    notes: Notes
    interactions: Interactions
    groups: npt.NDArray[np.int64]


def fetch(folder: str | Path, progress: ProgressFn | None = None) -> DebianCatalogue:
    """Gets the catalogue from the machine's own package mirror, once, without root.

    Only the distribution's own apt sources are used: those whose release file names the origin
    Debian (component main) or Ubuntu (main and universe, which together are Debian's main), and of
    these a release as it is: updates, security and backports change from day to day, and would make
    another data set of each. If a package is in several releases, the first source's entry is used.

    Args:
        folder: For notes.parquet, interactions.parquet and groups.parquet; if they exist, nothing is
            downloaded. An interrupted call leaves no half-written file, and the next one continues
            apt's downloads where they stopped.
        progress: Called as ``(done, total)`` in percent.

    Raises:
        DataError: If there is no apt, it cannot reach its mirrors, or no source is the
            distribution's own.
    """
    folder = Path(folder)
    report = progress or (lambda done, total: None)
    make_once(folder, lambda: _is_complete(folder), lambda: _make(folder, report))
    return read(folder)


def _is_complete(folder: Path) -> bool:
    return all((folder / name).is_file() for name in _FILES)


def _make(folder: Path, report: ProgressFn) -> None:
    with apt.catalogue(folder / "apt", _first(_DOWNLOADED, report)) as (packages, descriptions):
        catalogue = from_stanzas(packages, descriptions)
        report(_PARSED, 100)
        _write(folder, catalogue)
    report(100, 100)


def read(folder: str | Path) -> DebianCatalogue:
    """Reads a catalogue that ``fetch`` has written.

    Raises:
        FileNotFoundError: If there is none.
        DataError: If its files do not fit together.
    """
    notes_path, log_path, groups_path = (Path(folder) / name for name in _FILES)
    notes = Notes.read(notes_path)
    log = Interactions.read(log_path, notes=notes, ordered=False)
    groups = read_table(groups_path, {"group": Column(Kind.INTEGER)}).columns["group"].to_numpy()
    if len(groups) != len(notes):
        raise DataError(f"{groups_path}: must have {len(notes)} rows, one a note, but has {len(groups)}")
    return DebianCatalogue(notes, log, groups)


def from_stanzas(
    packages: Iterable[Mapping[str, str]], descriptions: Iterable[Mapping[str, str]]
) -> DebianCatalogue:
    """Makes the catalogue from the entries of Packages and Translation-en files.

    Args:
        packages: Fields of each binary package; the first entry of a name is used.
        descriptions: Entries with ``Description-md5`` and ``Description-en``.

    Raises:
        DataError: If no package is left, or no two of them are in one basket.
    """
    texts = {_field(entry, "Description-md5"): _field(entry, "Description-en") for entry in descriptions}
    catalogue: dict[str, Mapping[str, str]] = {}
    for entry in packages:
        catalogue.setdefault(_field(entry, "Package"), entry)
    kept = {}
    for name in sorted(catalogue):
        synopsis, content = _description(catalogue[name], texts)
        if _is_note(name, catalogue[name], synopsis):
            kept[name] = (synopsis, content)
    if not kept:
        raise DataError("debian: the catalogue must hold packages, but none is left; try `apt-get update`")
    notes = Notes(
        list(kept),
        [synopsis for synopsis, _ in kept.values()],
        [content for _, content in kept.values()],
        [_topics(catalogue[name]) for name in kept],
        [_section(catalogue[name]) for name in kept],
    )
    sources = [catalogue[name].get("Source", name).split(" ")[0] for name in kept]
    beginnings = [content[:GROUP_PREFIX] or None for content in notes.contents]
    return DebianCatalogue(notes, _baskets(catalogue, notes), union_groups(sources, beginnings))


def _field(entry: Mapping[str, str], name: str) -> str:
    if name not in entry:
        known = ", ".join(f"{key}: {value}" for key, value in entry.items())
        raise DataError(f"debian: an entry of apt's lists must have {name}, but one has not: {known[:100]}")
    return entry[name]


def _description(entry: Mapping[str, str], texts: Mapping[str, str]) -> tuple[str, str]:
    """Synopsis and long description, one line per paragraph."""
    text = texts.get(entry.get("Description-md5", ""), entry.get("Description", ""))
    synopsis, _, rest = text.partition("\n")
    paragraphs: list[list[str]] = [[]]
    for line in rest.split("\n"):
        if line.strip() == ".":
            paragraphs.append([])
        elif line.startswith("  "):  # Debian policy 5.6.13: shown verbatim, so a separate line
            paragraphs += [[line.strip()], []]
        else:
            paragraphs[-1].append(line.strip())
    return synopsis, "\n".join(" ".join(lines).strip() for lines in paragraphs if any(lines))


def _is_note(name: str, entry: Mapping[str, str], synopsis: str) -> bool:
    return bool(
        synopsis
        and _section(entry) not in DROPPED_SECTIONS
        and not DROPPED_NAMES.search(name)
        and not DROPPED_SYNOPSES.search(synopsis)
    )


def _section(entry: Mapping[str, str]) -> str:
    """The section without the component that Ubuntu puts before it (``universe/net``)."""
    return entry.get("Section", "").rpartition("/")[2]


def _topics(entry: Mapping[str, str]) -> list[str]:
    tags = (tag.strip().rpartition("::")[2] for tag in entry.get("Tag", "").split(","))
    return list(dict.fromkeys(tag for tag in tags if tag))


def _baskets(catalogue: Mapping[str, Mapping[str, str]], notes: Notes) -> Interactions:
    """Every package's basket; its members must be notes, its owner need not be one."""
    positions = {name: row for row, name in enumerate(notes.ids)}
    user_ids: list[str] = []
    users: list[int] = []
    items: list[int] = []
    for name in sorted(catalogue):
        named = {name, *_related(catalogue[name])}
        members = sorted(positions[other] for other in named if other in positions)
        if SMALLEST_BASKET <= len(members) <= LARGEST_BASKET:
            users += [len(user_ids)] * len(members)
            items += members
            user_ids.append(name)
    if not user_ids:
        raise DataError("debian: packages must name one another, but none does")
    return Interactions(
        np.array(users, np.int64), np.array(items, np.int64), user_ids, notes.ids, ordered=False
    )


def _related(entry: Mapping[str, str]) -> Iterator[str]:
    """The packages an entry names, without versions and architectures.

    Each alternative of ``a | b`` counts, since each works with the package. A virtual package is not
    a package; the baskets leave it out, like every name that is not a note.
    """
    for relation in RELATIONS:
        for name in re.split(r"[,|]", entry.get(relation, "")):
            yield re.split(r"[\s(:\[<]", name.strip(), maxsplit=1)[0]


def _first(percent: int, report: ProgressFn) -> ProgressFn:
    """Reports a stage as the first ``percent`` of the whole."""
    return lambda done, total: report(percent * done // total, 100)


def _write(folder: Path, catalogue: DebianCatalogue) -> None:
    """Writes the three files; groups.parquet comes last and completes them."""
    notes_path, log_path, groups_path = (folder / name for name in _FILES)
    groups_path.unlink(missing_ok=True)
    catalogue.notes.write(notes_path)
    catalogue.interactions.write(log_path)
    write_table(groups_path, pa.table({"group": pa.array(catalogue.groups, pa.int64())}))
