"""JSON in files: written completely or not at all, and read with the line of every fault."""

import json
from pathlib import Path
from typing import Any

from notellm.errors import DataError
from notellm.files import atomic_write

__all__ = ["read_json", "read_json_lines", "read_json_object", "read_text", "write_json", "write_text"]


def write_json(path: str | Path, value: Any) -> None:
    """Writes plain data, atomically.

    Raises:
        ValueError: If a number is not finite.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


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


def read_json_object(path: str | Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        DataError: If the file is missing, damaged, or holds something else.
    """
    try:
        value = read_json(path)
    except FileNotFoundError:
        raise DataError(f"{path}: must be a file of a model or run folder, but is not there") from None
    if not isinstance(value, dict):
        raise DataError(f"{path}:1: must be an object, but is a {type(value).__name__}")
    return value


def read_json_lines(path: str | Path) -> list[tuple[int, Any]]:
    """Reads one JSON value a line, empty lines aside.

    Returns:
        Each value with its line's number, from 1.

    Raises:
        FileNotFoundError: If there is no such file.
        DataError: If it is damaged; names file and line.
    """
    lines = enumerate(read_text(path).split("\n"), start=1)
    return [(number, _parsed(line, path, number)) for number, line in lines if line.strip()]


def read_text(path: str | Path) -> str:
    """Reads UTF-8.

    Raises:
        FileNotFoundError: If there is no such file.
        DataError: If it is not UTF-8; names file and line.
    """
    data = Path(path).read_bytes()
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: must be UTF-8, but byte {error.start} is not") from error


def _parsed(text: str, path: str | Path, first_line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise DataError(f"{path}:{line}: must be JSON, but is damaged: {error.msg}") from error
