"""Shared by converters: lines of JSON, rows of CSV, parts of Parquet tables, plain texts, and logs from names."""

import csv
import gzip
import html
import json
import math
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TextIO, cast

import numpy as np

from notellm.data.coding import numbered
from notellm.data.csv_form import bad_quote, not_utf8
from notellm.data.interactions import Interactions
from notellm.data.tables import parquet_header
from notellm.errors import DataError
from notellm.io.json_files import bounded_lines
from notellm.io.json_tree import shortened

_TAG = re.compile(r"<[^<>]*>")
_SPACE = re.compile(r"\s+")
_BARE_RETURN = re.compile(r"\r(?!\n)")


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and object of each line of a JSON Lines file, which may be gzipped.

    Raises:
        DataError: If a line is not a JSON object in UTF-8, or has more than 256 MiB; names file and line.
    """
    number = 0
    try:
        with _opened(path) as file:
            for number, line in bounded_lines(file, path):
                yield number, _object(line, f"{path}:{number}", "utf-8-sig" if number == 1 else "utf-8")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: must be a whole gzip file, but after line {number} {error}") from error


def _opened(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def _object(line: bytes, where: str, encoding: str) -> dict[str, Any]:
    try:
        row = json.loads(line.decode(encoding))
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: must be UTF-8, but {error}; try to save it as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: must be a JSON object, but {error}") from error
    if not isinstance(row, dict):
        raise DataError(f"{where}: must be a JSON object, but is {type(row).__name__}")
    return row


def csv_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and fields, by column, of each row of a CSV file with a header.

    Raises:
        DataError: If a column is missing, a row has a wrong number of fields, or a quote is not closed.
    """
    with path.open(encoding="utf-8-sig", newline="") as file, as_data_errors(path):
        lines = (_BARE_RETURN.sub(" ", line) for line in _lines(file))
        reader = csv.DictReader(lines, strict=True)
        missing = [name for name in columns if name not in (reader.fieldnames or [])]
        if missing:
            raise DataError(
                f"{path}: must have the columns {', '.join(missing)}, but has "
                f"{', '.join(reader.fieldnames or []) or 'none'}"
            )
        for row in _with_closed_quotes(path, reader):
            if None in row or None in row.values():
                raise DataError(f"{path}:{reader.line_num}: must have {len(reader.fieldnames or [])} fields")
            yield reader.line_num, row


def _with_closed_quotes(path: Path, reader: "csv.DictReader[str]") -> Iterator[dict[str, str]]:
    """The rows of a strict reader; without this, an open quote takes the rows behind it for one text."""
    begin = reader.line_num + 1
    try:
        for row in reader:
            yield row
            begin = reader.line_num + 1
    except csv.Error as error:
        raise bad_quote(f"{path}:{begin}", error) or error from error


@contextmanager
def as_data_errors(path: Path) -> Iterator[None]:
    """Turns errors in reading a text table (not UTF-8, or not CSV) into DataErrors.

    Raises:
        DataError: With the line if it can be known.
    """
    try:
        yield
    except UnicodeDecodeError as error:
        raise not_utf8(path) or DataError(f"{path}: must be UTF-8, but {error}") from error
    except csv.Error as error:
        raise DataError(f"{path}: must be CSV, but {error}") from error


def parquet_parts(path: Path, columns: Sequence[str]) -> list[Path]:
    """The Parquet files of a table: a file, or those of a folder, in order of their names.

    Raises:
        DataError: If there is none, or one is not a Parquet file or lacks a column.
        FileNotFoundError: If there is no such file or folder.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: must be a Parquet file or a folder of some, but does not exist")
    parts = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not parts:
        raise DataError(f"{path}: must hold Parquet files, but holds none; try one of the folders in it")
    for part in parts:
        header = parquet_header(part)
        missing = [name for name in columns if name not in header]
        if missing:
            raise DataError(
                f"{part}: must have the columns {', '.join(missing)}, but has {', '.join(header) or 'none'}"
            )
    return parts


def need(row: Mapping[str, Any], key: str, where: str) -> Any:
    """The value of a key that must exist.

    Raises:
        DataError: If it does not, naming the keys that exist; or if ``row``, as read, is no object.
    """
    if not isinstance(row, Mapping):
        raise DataError(f"{where}: must be an object, but is {shortened(row)}")
    if key not in row:
        raise DataError(f"{where}: must have {key!r}, but has {', '.join(row) or 'nothing'}")
    return row[key]


def name(row: Mapping[str, Any], key: str, where: str) -> str:
    """The name of a user or an item.

    Raises:
        DataError: If it is missing, null or empty.
    """
    value = need(row, key, where)
    if value is None or value == "":
        raise DataError(f"{where}: {key} must be given, but is {value!r}")
    return str(value)


def number(row: Mapping[str, Any], key: str, where: str) -> float:
    """A number of at most 64 bits, also one written as text.

    Raises:
        DataError: If it is not there, or no such number.
    """
    found = _number(need(row, key, where))
    if not abs(found) < 2**63:  # is false for what is not a number, too
        raise DataError(f"{where}: {key} must be a number, but is {shortened(row[key])}")
    return found


def whole(row: Mapping[str, Any], key: str, where: str) -> int:
    """A whole number of at most 64 bits, also one written as text.

    Raises:
        DataError: If it is not there, or no such number.
    """
    found = _whole(need(row, key, where))
    if found is None or abs(found) >= 2**63:
        raise DataError(f"{where}: {key} must be a whole number, but is {shortened(row[key])}")
    return found


def _whole(value: Any) -> int | None:
    """The number if it is whole; one of more than 53 bits must not become a float, which would round it."""
    if isinstance(value, int | str) and not isinstance(value, bool):
        with suppress(ValueError):
            return int(value)
    found = _number(value)
    return int(found) if found.is_integer() else None


def _number(value: Any) -> float:
    try:
        return math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


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
    times: Sequence[float] | None,
    note_ids: list[str],
    where: str,
    events: Sequence[int] | None = None,
    *,
    ticks: int = 1,
) -> Interactions:
    """A log of the events whose note is known, in order of time (or as given without times).

    Args:
        users: One name per event.
        notes: One name per event.
        times: One per event, or None.
        note_ids: The names of the known notes.
        where: The file, for the error.
        events: `VIEW` or `CLICK`; None if each event is both.
        ticks: Units of ``times`` per second; the log itself counts in seconds.

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
        kept.sort(key=lambda i: times[i])  # stable: equal times keep their order
    names, codes = numbered([users[i] for i in kept])
    return Interactions(
        users=codes,
        notes=np.array([place[notes[i]] for i in kept], dtype=np.int64),
        user_ids=names,
        note_ids=note_ids,
        times=None if times is None else np.array([int(times[i] // ticks) for i in kept], dtype=np.int64),
        events=None if events is None else np.array([events[i] for i in kept], dtype=np.int8),
    )


def distinct(names: Iterable[str]) -> list[str]:
    """Names without repeats and empty ones, in order."""
    return [name for name in dict.fromkeys(name.strip() for name in names) if name]


def _lines(file: TextIO) -> Iterator[str]:
    """Lines that end with a newline: some captions contain a carriage return, which does not end a row."""
    begun = ""
    for part in file:  # ends at a newline or a carriage return
        begun += part
        if begun.endswith("\n"):
            yield begun
            begun = ""
    if begun:
        yield begun
