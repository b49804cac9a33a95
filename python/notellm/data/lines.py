"""Finds lines in text tables: the header, the line of a row, and where a file is malformed.

pyarrow reads the files, fast and in parallel, but cannot say on which line it failed. These slow
scans run only over the first line, or once an error is certain.
"""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from notellm.errors import DataError

__all__ = ["csv_header", "diagnose", "first_object", "is_integer", "jsonl_header", "place"]

_HEADER_OBJECTS = 1000
"""How many objects of a JSON lines file are looked at for the names of its columns."""


def place(path: Path, row: int) -> str:
    """Names a data row (from 0) for a message: ``file:line``, or ``file: row n`` without lines."""
    walk = {".csv": _csv_rows, ".jsonl": _jsonl_rows}.get(path.suffix)
    if walk is not None:
        with suppress(csv.Error, UnicodeDecodeError):
            for line, _ in islice(walk(path), row, row + 1):
                return f"{path}:{line}"
    return f"{path}: row {row + 1}"


def csv_header(path: Path) -> list[str]:
    """The column names of a CSV file.

    Raises:
        DataError: If there is no first line, or it is no UTF-8.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            header = next((row for row in csv.reader(file) if row), None)
        except (csv.Error, UnicodeDecodeError) as error:
            raise _not_utf8(path) or DataError(f"{path}:1: must be a header, but {error}") from error
    if header is None:
        raise DataError(f"{path}: must begin with a line of column names, but is empty")
    return header


def first_object(path: Path) -> dict[str, Any]:
    """The first object of a JSON lines file.

    Raises:
        DataError: If there is no first line, or it is no JSON object.
    """
    for line, text in _jsonl_rows(path):
        return _object(path, line, text)
    raise DataError(f"{path}: must hold at least one row, but is empty")


def jsonl_header(path: Path) -> list[str]:
    """The names in the first objects of a JSON lines file: any one object may lack what is null."""
    first_object(path)
    names: dict[str, None] = {}
    for line, text in islice(_jsonl_rows(path), _HEADER_OBJECTS):
        names |= dict.fromkeys(_object(path, line, text))
    return list(names)


def diagnose(path: Path, kinds: Mapping[str, str], error: Exception) -> DataError:
    """Says why and where pyarrow could not read a file.

    Args:
        path: The file.
        kinds: What each column must hold, in words, by its name in the file.
        error: What pyarrow said, for what no scan here finds.
    """
    found = _not_utf8(path) if path.suffix != ".parquet" else None
    if found is None and path.suffix == ".csv":
        found = _ragged(path)
    if found is None and path.suffix == ".jsonl":
        found = _mistyped(path, kinds)
    return found or DataError(f"{path}: must be readable, but {' '.join(str(error).split())}")


def _csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The data rows with the lines they begin on; blank lines are no rows, as in pyarrow."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        begin, header_seen = 1, False
        for row in reader:
            if row and header_seen:
                yield begin, row
            header_seen = header_seen or bool(row)
            begin = reader.line_num + 1


def _jsonl_rows(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        for line, text in enumerate(file, 1):
            if text.strip():
                yield line, text


def _not_utf8(path: Path) -> DataError | None:
    with path.open("rb") as file:
        for line, text in enumerate(file, 1):
            try:
                text.decode()
            except UnicodeDecodeError as error:
                byte = text[error.start]
                return DataError(f"{path}:{line}: must be UTF-8, but byte {error.start + 1} is 0x{byte:02x}")
    return None


def _ragged(path: Path) -> DataError | None:
    width = len(csv_header(path))
    with suppress(csv.Error):  # a field beyond the csv module's limit: pyarrow's own words will do
        for line, row in _csv_rows(path):
            if len(row) != width:
                return DataError(f"{path}:{line}: must have {width} columns, but has {len(row)}")
    return None


def _object(path: Path, line: int, text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except UnicodeDecodeError as error:
        raise _not_utf8(path) or DataError(f"{path}:{line}: must be UTF-8") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{line}: must be one JSON object, but {error}") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}:{line}: must be one JSON object, but is a {type(value).__name__}")
    return value


def _mistyped(path: Path, kinds: Mapping[str, str]) -> DataError | None:
    fits: dict[str, Callable[[object], bool]] = {
        "text": lambda value: isinstance(value, str),
        "integers": is_integer,
        "lists of text": lambda value: (
            isinstance(value, list) and all(isinstance(item, str | None) for item in value)
        ),
    }
    first = first_object(path)
    for line, text in _jsonl_rows(path):
        try:
            row = _object(path, line, text)
        except DataError as error:
            return error
        for name, kind in kinds.items():
            value = row.get(name)
            # Keys are text or integers, but the same through the file.
            fit = fits.get(kind, is_integer if is_integer(first.get(name)) else fits["text"])
            if value is not None and not fit(value):
                what = kind if kind in fits else f"{kind}, as in the first row"
                return DataError(f"{path}:{line}: {name} must hold {what}, but is {json.dumps(value)}")
    return None


def is_integer(value: object) -> bool:
    """Whether a value read from JSON is a whole number; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)
