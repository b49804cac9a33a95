"""JSON in files: written completely or not at all; errors in reading name the line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from notellm.errors import DataError
from notellm.io.files import atomic_write
from notellm.io.json_tree import Node, shortened

__all__ = [
    "LARGEST_LINE",
    "bounded_lines",
    "json_text",
    "maybe_json_object",
    "read_complete_lines",
    "read_json",
    "read_json_lines",
    "read_json_object",
    "read_text",
    "write_json",
    "write_text",
]

LARGEST_LINE = 256 << 20
"""The most bytes of one line of JSON lines, and of one row of CSV; a longer one is refused."""


def write_json(path: str | Path, value: Any) -> None:
    """Writes plain data, atomically.

    Raises:
        ValueError: If a number is not finite.
    """
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """Plain data as `write_json` writes it.

    Raises:
        ValueError: If a number is not finite.
    """
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_text(path: str | Path, text: str) -> None:
    """Writes UTF-8, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Reads one JSON value.

    Raises:
        FileNotFoundError: If there is no such file.
        DataError: If it is damaged; names file and line.
    """
    return _parsed(read_text(path), path, 1)


def read_json_object(path: str | Path, *, finite: bool = False) -> dict[str, Any]:
    """Reads a JSON object.

    Args:
        path: The file.
        finite: Whether to refuse NaN and infinity, which Python reads although JSON has none: what is to be written
            again must be without them.

    Raises:
        DataError: If the file is missing, damaged, or holds something else.
    """
    value = maybe_json_object(path, finite=finite)
    if value is None:
        raise DataError(f"{path}: must be a JSON file, but is not there")
    return value


def maybe_json_object(path: str | Path, *, finite: bool = False) -> dict[str, Any] | None:
    """As `read_json_object`; None if there is no such file, though another process may write it right then."""
    try:
        value = _parsed(read_text(path), path, 1, finite=finite)
    except FileNotFoundError:
        return None
    if not isinstance(value, dict):
        raise DataError(f"{path}:1: must be an object, but is a {type(value).__name__}")
    return value


def read_json_lines(path: str | Path) -> list[tuple[int, Any]]:
    """Reads one JSON value per line of at most `LARGEST_LINE` bytes; empty lines are skipped.

    Returns:
        Each value with its line's number, from 1.

    Raises:
        FileNotFoundError: If there is no such file.
        DataError: If it is damaged; names file and line.
    """
    found = []
    with Path(path).open("rb") as file:
        for number, line in bounded_lines(file, path):
            if line.strip():
                found.append((number, _parsed(_text(line, path, number), path, number)))
    return found


def read_complete_lines(path: str | Path) -> list[Node]:
    """Reads one JSON object per line; a last line without an end (after a crash) is left out.

    Returns:
        The objects, which know their file and line.

    Raises:
        FileNotFoundError: If there is no such file.
        DataError: If another line is damaged or not an object; names file and line.
    """
    complete = Path(path).read_bytes().rpartition(b"\n")[0]
    found = []
    for number, line in enumerate(complete.split(b"\n"), 1):
        if not line.strip():
            continue
        value = _parsed(_text(line, path, number), path, number)
        if not isinstance(value, dict):
            raise DataError(f"{path}:{number}: must be a JSON object, but is {shortened(value)}")
        found.append(Node(value, f"{path}:{number}"))
    return found


def bounded_lines(file: IO[bytes], path: str | Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file with their numbers, from 1, and their ends.

    Raises:
        DataError: If a line has more than `LARGEST_LINE` bytes; names file and line.
    """
    number = 0
    while line := file.readline(LARGEST_LINE + 1):
        number += 1
        if len(line) > LARGEST_LINE:
            raise DataError(f"{path}:{number}: a line must have at most {LARGEST_LINE:,} bytes, but has more")
        yield number, line


def read_text(path: str | Path) -> str:
    """Reads UTF-8; a byte order mark is not part of the text.

    Raises:
        FileNotFoundError: If there is no such file.
        DataError: If it is not UTF-8; names file and line.
    """
    return _text(Path(path).read_bytes(), path, 1)


def _text(data: bytes, path: str | Path, first_line: int) -> str:
    try:
        return data.decode("utf-8-sig" if first_line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        line = first_line + data.count(b"\n", 0, error.start)
        remedy = "; try to save it as UTF-8"
        raise DataError(f"{path}:{line}: must be UTF-8, but byte {error.start} is not{remedy}") from error


def _parsed(text: str, path: str | Path, first_line: int, *, finite: bool = False) -> Any:
    def refuse(name: str) -> None:
        raise ValueError(f"holds {name}")

    try:
        return json.loads(text, parse_constant=refuse if finite else None)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise DataError(f"{path}:{line}: must be JSON, but is damaged: {error.msg}") from error
    except RecursionError as error:
        raise DataError(f"{path}:{first_line}: must be JSON, but is nested too deeply") from error
    except ValueError as error:  # a number of thousands of digits
        raise DataError(f"{path}:{first_line}: must be JSON, but {error}") from error
