"""Finds lines in text tables: the header, the line of a row, and where a file is malformed.

pyarrow reads the files, fast and in parallel, but cannot say on which line it failed. These slow
scans run only over the first line, or once an error is certain.
"""

import json
import math
import mmap
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from notellm.data.csv_form import CsvForm, RowError, csv_rows, not_utf8
from notellm.errors import DataError
from notellm.io.json_files import LARGEST_LINE, bounded_lines

__all__ = ["LARGEST_LINE", "Holds", "diagnose", "first_values", "place"]

_HEADER_OBJECTS = 1000
"""How many objects of a JSON lines file are read to find the names and the types of its columns."""


_SURROGATE = re.compile("[\ud800-\udfff]")


class Holds(NamedTuple):
    """What a column of JSON lines contains: in words, as Python types, and as the type that pyarrow reads."""

    words: str
    types: type | tuple[type, ...]
    read_as: pa.DataType


def place(path: Path, form: CsvForm | None, row: int) -> str:
    """Names a data row (from 0) for a message: ``file:line``, or ``file: row n`` for files without lines."""
    rows: Iterable[tuple[int, Any]] = ()
    if form is not None:
        rows = islice(csv_rows(path, form), 1, None)
    elif path.suffix.lower() == ".jsonl":
        rows = _jsonl_rows(path)
    with suppress(RowError, UnicodeDecodeError):
        for line, _ in islice(rows, row, row + 1):
            return f"{path}:{line}"
    return f"{path}: row {row + 1}"


def first_values(path: Path, wanted: Iterable[str] = ()) -> dict[str, Any]:
    """Each name in the first objects of a JSON lines file, with its first value that is not null; None if all are.

    One object is not enough, as it may leave out nulls. The value decides the type of the column.

    Args:
        path: The file.
        wanted: Names that are looked for in the whole file if the first objects lack them.

    Raises:
        DataError: If there is no first line, or one of them is not a JSON object.
    """
    values: dict[str, Any] = {}
    rows = _jsonl_rows(path)
    for line, text in islice(rows, _HEADER_OBJECTS):
        _fill(values, _object(path, line, text))
    if not values:
        raise DataError(f"{path}: must hold at least one row, but is empty")
    late = {name: _key(name) for name in wanted if name not in values and _occurs(path, name)}
    for _, text in rows if late else ():
        if any(key.search(text) for key in late.values()):
            _fill(values, _fields(text, late))
            late = {name: key for name, key in late.items() if values.get(name) is None}
            if not late:
                break
    return values


def _fill(values: dict[str, Any], row: Mapping[str, Any]) -> None:
    for name, value in row.items():
        if values.get(name) is None:
            values[name] = value


def _fields(text: bytes, names: Iterable[str]) -> dict[str, Any]:
    """Some fields of an object; none of a damaged one, which pyarrow refuses."""
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return {name: row[name] for name in names if name in row} if isinstance(row, dict) else {}


def _spellings(name: str) -> set[bytes]:
    """A name as JSON writes it: in Unicode, and in ASCII."""
    return {json.dumps(name, ensure_ascii=in_ascii).encode() for in_ascii in (False, True)}


def _key(name: str) -> re.Pattern[bytes]:
    return re.compile(rb"(?:" + b"|".join(map(re.escape, sorted(_spellings(name)))) + rb")\s*:")


def _occurs(path: Path, name: str) -> bool:
    """Whether a name is anywhere in a file, as a key or not: much faster than to read all of its objects."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(spelling) >= 0 for spelling in _spellings(name))


def diagnose(path: Path, form: CsvForm | None, kinds: Mapping[str, Holds], error: Exception) -> DataError:
    """The error that says why and where pyarrow could not read a file.

    Args:
        path: The file.
        form: Its form, if it is CSV.
        kinds: What each column of JSON lines must contain, by its name in the file.
        error: pyarrow's error, used if no scan here finds the reason.
    """
    is_jsonl = path.suffix.lower() == ".jsonl"
    found = not_utf8(path) if form is not None or is_jsonl else None
    if found is None and form is not None:
        found = _ragged(path, form)
    if found is None and is_jsonl:
        found = _mistyped(path, kinds)
    if found is None and "Empty CSV file" in str(error):  # a header without a line end
        found = DataError(f"{path}: must hold at least one row, but is empty")
    if found is None and "straddling" in str(error):
        found = DataError(f"{path}: a row must have at most {LARGEST_LINE:,} bytes, but one has more")
    return found or DataError(f"{path}: must be readable, but {' '.join(str(error).split())}")


def _jsonl_rows(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        for line, text in bounded_lines(file, path):
            if text.strip():
                yield line, text.removeprefix(b"\xef\xbb\xbf") if line == 1 else text


def _ragged(path: Path, form: CsvForm) -> DataError | None:
    width = len(form.header)
    with suppress(RowError):  # then pyarrow's own message is used
        for line, row in csv_rows(path, form):
            if len(row) != width:
                return DataError(f"{path}:{line}: must have {width} columns, but has {len(row)}")
    return None


def _object(path: Path, line: int, text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise not_utf8(path) or DataError(f"{path}:{line}: must be UTF-8") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{line}: must be one JSON object, but is damaged: {error.msg}") from error
    except RecursionError as error:
        raise DataError(f"{path}:{line}: must be one JSON object, but is nested too deeply") from error
    except ValueError as error:  # of `_once`, of `_finite`, or a number of thousands of digits
        raise DataError(f"{path}:{line}: must be one JSON object, but {error}") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}:{line}: must be one JSON object, but is a {type(value).__name__}")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys differ; Python and pyarrow would read a repeated one differently."""
    found = dict(pairs)
    if len(found) < len(pairs):
        repeated = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"has the key {repeated!r} more than once")
    return found


def _finite(text: str) -> float:
    """A number, if it is one in 64 bits; pyarrow refuses others without saying where."""
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"has a number that is too large: {text[:60]}")
    return value


def _mistyped(path: Path, kinds: Mapping[str, Holds]) -> DataError | None:
    for line, text in _jsonl_rows(path):
        try:
            row = _object(path, line, text)
        except DataError as error:
            return error
        for name, holds in kinds.items():
            value = row.get(name)
            if value is not None and not _fits(value, holds.types):
                shown = json.dumps(value)
                return DataError(f"{path}:{line}: {name} must hold {holds.words}, but is {shown[:200]}")
            if value is not None and _SURROGATE.search(json.dumps(value, ensure_ascii=False)):
                return DataError(f"{path}:{line}: {name} must be Unicode text, but has half a surrogate pair")
            if isinstance(value, int) and holds.types is int and not -(2**63) <= value < 2**63:
                return DataError(
                    f"{path}:{line}: {name} must fit in 64 bits, but is {value}; try to write it as text"
                )
    return None


def _fits(value: object, types: type | tuple[type, ...]) -> bool:
    """Whether a value is of a type; true, false, NaN and infinity are not numbers, and a list must be one of texts."""
    if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
        return False
    is_text = not isinstance(value, list) or all(isinstance(item, str | None) for item in value)
    return isinstance(value, types) and is_text
