"""How a CSV file is written: what separates its columns, and whether its quotes are closed.

pyarrow takes a quote that is never closed as one long field, without a word; so quotes are checked before it reads.
"""

import csv
import re
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from notellm.errors import DataError

__all__ = ["SEPARATORS", "CsvForm", "RowError", "check_quotes", "csv_rows", "find_form", "not_utf8"]

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
"""What may stand between columns, and its name."""

_SAYS_SEPARATOR = re.compile(r"sep=([\t !#-~])\r?\n?")
_BAD_QUOTES = {
    "unexpected end": "a quote that begins a field must be closed, but one of this row never is",
    "expected after": "a quote that closes a field must be its end, but text follows one of this row",
}
"""What the csv module says, and what is the matter."""

_WINDOW = 16 << 20
_QUOTE = ord('"')


@dataclass(frozen=True)
class CsvForm:
    """How a file is written.

    Attributes:
        separator: Between two columns.
        skipped_lines: 1 where the first line says only what the separator is (``sep=;``), as Excel writes it.
        header: The names of the columns.
    """

    separator: str = ","
    skipped_lines: int = 0
    header: list[str] = field(default_factory=list)


def find_form(path: Path, wanted: Collection[str]) -> CsvForm:
    """Finds how a file is written: by its first line, or else as most of the wanted columns are found.

    Raises:
        DataError: If there is no first line, or it is no UTF-8.
    """
    said = _SAYS_SEPARATOR.fullmatch(_first_line(path))
    if said is not None:
        return CsvForm(said[1], 1, _header(path, said[1], 1))
    forms = [CsvForm(separator, 0, _header(path, separator, 0)) for separator in SEPARATORS]
    return max(forms, key=lambda form: len(set(form.header) & set(wanted)))  # the comma where none is better


def check_quotes(path: Path, form: CsvForm) -> None:
    """Checks that every quote that begins a field is closed, and that its field ends there.

    Raises:
        DataError: With the line on which the row begins.
    """
    if path.stat().st_size == 0 or _is_quoted_by_the_book(np.memmap(path, np.uint8, "r"), form.separator):
        return
    try:
        for _ in csv_rows(path, form, strict=True):
            pass
    except RowError as error:
        for said, problem in _BAD_QUOTES.items():
            if said in str(error):
                where = f"{path}:{error.line}"
                raise DataError(f"{where}: {problem}; try to write a quote inside a field twice") from error
    except UnicodeDecodeError:
        return  # pyarrow finds that, too


class RowError(Exception):
    """What the csv module said, with the line on which the row begins."""

    def __init__(self, line: int, problem: csv.Error) -> None:
        super().__init__(str(problem))
        self.line = line


def csv_rows(path: Path, form: CsvForm, *, strict: bool = False) -> Iterator[tuple[int, list[str]]]:
    """All rows with the lines they begin on, the header among them; blank lines are no rows, as in pyarrow.

    Raises:
        RowError: If the csv module cannot read a row.
        UnicodeDecodeError: If the file is no UTF-8.
    """
    with path.open(encoding="utf-8-sig", newline="") as file, _fields_of_any_size():
        begin = 1
        for _ in range(form.skipped_lines):
            file.readline()
            begin += 1
        skipped = begin - 1
        reader = csv.reader(file, delimiter=form.separator, strict=strict)
        while True:
            try:
                row = next(reader, None)
            except csv.Error as error:
                raise RowError(begin, error) from error
            if row is None:
                return
            if row:
                yield begin, row
            begin = reader.line_num + skipped + 1


def not_utf8(path: Path) -> DataError | None:
    """The error for the first byte that is no UTF-8, if there is one."""
    remedy = "try to save it as UTF-8 (Excel: CSV UTF-8)"
    with path.open("rb") as file:
        for line, text in enumerate(file, 1):
            if line == 1 and text[:2] in (b"\xff\xfe", b"\xfe\xff"):
                return DataError(f"{path}:1: must be UTF-8, but begins like UTF-16; {remedy}")
            try:
                text.decode()
            except UnicodeDecodeError as error:
                byte = text[error.start]
                where = f"byte {error.start + 1} is 0x{byte:02x}"
                return DataError(f"{path}:{line}: must be UTF-8, but {where}; {remedy}")
    return None


def _first_line(path: Path) -> str:
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            return file.readline(1 << 20)
        except UnicodeDecodeError as error:
            raise not_utf8(path) or DataError(f"{path}:1: must be UTF-8") from error


def _header(path: Path, separator: str, skipped_lines: int) -> list[str]:
    try:
        for _, row in csv_rows(path, CsvForm(separator, skipped_lines)):
            return row
    except (RowError, UnicodeDecodeError) as error:
        raise not_utf8(path) or DataError(f"{path}:1: must be a header, but {error}") from error
    raise DataError(f"{path}: must begin with a line of column names, but is empty")


@contextmanager
def _fields_of_any_size() -> Iterator[None]:
    """Lifts the csv module's limit, which a long text, or a quote never closed, goes beyond."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _is_quoted_by_the_book(content: npt.NDArray[np.uint8], separator: str) -> bool:
    """Whether every other quote opens a field and the next one closes it, pairs inside a field apart.

    Then nothing is open at the end. It need not hold of a sound file: a quote may also stand inside a field that is
    not quoted. But it is cheap to see, and holds of nearly all.
    """
    before = np.isin(np.arange(256), [*separator.encode()[-1:], *b'\r\n"'])
    after = np.isin(np.arange(256), [*separator.encode()[:1], *b'\r\n"'])
    begin = 3 if bytes(content[:3]) == b"\xef\xbb\xbf" else 0
    count = 0
    for first in range(begin, len(content), _WINDOW):
        quotes = np.flatnonzero(content[first : first + _WINDOW] == _QUOTE) + first
        opening = quotes[count % 2 :: 2]
        closing = quotes[1 - count % 2 :: 2]
        opening, closing = opening[opening > begin], closing[closing < len(content) - 1]
        if not (before[content[opening - 1]].all() and after[content[closing + 1]].all()):
            return False
        count += len(quotes)
    return count % 2 == 0
