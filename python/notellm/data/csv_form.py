"""The form of a CSV file: what separates its columns, and whether its quotes are closed.

pyarrow silently reads a quote that is never closed as one long field; so quotes are checked before it reads.
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

__all__ = [
    "QUOTE_REMEDY",
    "SEPARATORS",
    "CsvForm",
    "RowError",
    "bad_quote",
    "check_quotes",
    "csv_rows",
    "find_form",
    "not_utf8",
]

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
"""The possible separators of columns, and their names."""

_SAYS_SEPARATOR = re.compile(r'"?sep=([\t !#-~])"?\r?\n?', re.IGNORECASE)
_BAD_QUOTES = {
    "unexpected end": "a quote that begins a field must be closed, but one of this row never is",
    "expected after": "a quote that closes a field must be its end, but text follows one of this row",
}
"""Messages of the csv module, and what is wrong in the file."""

QUOTE_REMEDY = "try to write a quote inside a field twice"
_REMEDY = "try to save it as UTF-8 (Excel: CSV UTF-8)"

_WINDOW = 16 << 20
_QUOTE = ord('"')


@dataclass(frozen=True)
class CsvForm:
    """The form of a CSV file.

    Attributes:
        separator: The character between two columns.
        skipped_lines: 1 if the first line only names the separator (``sep=;``), as Excel writes it.
        header: The names of the columns.
    """

    separator: str = ","
    skipped_lines: int = 0
    header: list[str] = field(default_factory=list)


def find_form(path: Path, wanted: Collection[str]) -> CsvForm:
    """Finds a file's form: from its first line, or otherwise the separator with which most wanted columns are found.

    Raises:
        DataError: If there is no first line, or it is not UTF-8.
    """
    said = _SAYS_SEPARATOR.fullmatch(_first_line(path))
    if said is not None:
        return CsvForm(said[1], 1, _header(path, said[1], 1))
    forms = [CsvForm(separator, 0, _header(path, separator, 0)) for separator in SEPARATORS]
    return max(forms, key=lambda form: len(set(form.header) & set(wanted)))  # the comma if none is better


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
        found = bad_quote(f"{path}:{error.line}", error)
        if found is not None:
            raise found from error
    except UnicodeDecodeError:
        return  # pyarrow reports that, too


def bad_quote(where: str, error: Exception) -> DataError | None:
    """The error that says what is wrong with a quote, if that is what the strict csv module refuses."""
    for said, problem in _BAD_QUOTES.items():
        if said in str(error):
            return DataError(f"{where}: {problem}; {QUOTE_REMEDY}")
    return None


class RowError(Exception):
    """The message of the csv module, with the line on which the row begins."""

    def __init__(self, line: int, problem: csv.Error) -> None:
        super().__init__(str(problem))
        self.line = line


def csv_rows(path: Path, form: CsvForm, *, strict: bool = False) -> Iterator[tuple[int, list[str]]]:
    """All rows, including the header, with the lines they begin on; blank lines are not rows, as in pyarrow.

    Raises:
        RowError: If the csv module cannot read a row.
        UnicodeDecodeError: If the file is not UTF-8.
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
    """The error for the first byte that is not UTF-8, if there is one."""
    with path.open("rb") as file:
        for line, text in enumerate(file, 1):
            if line == 1 and text[:2] in (b"\xff\xfe", b"\xfe\xff"):
                return DataError(f"{path}:1: must be UTF-8, but begins like UTF-16; {_REMEDY}")
            try:
                text.decode()
            except UnicodeDecodeError as error:
                byte = text[error.start]
                where = f"byte {error.start + 1} is 0x{byte:02x}"
                return DataError(f"{path}:{line}: must be UTF-8, but {where}; {_REMEDY}")
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
            if any("\0" in name for name in row):
                raise DataError(
                    f"{path}:1: must be UTF-8, but its column names hold NUL bytes, as in UTF-16; {_REMEDY}"
                )
            return row
    except (RowError, UnicodeDecodeError) as error:
        raise not_utf8(path) or DataError(f"{path}:1: must be a header, but {error}") from error
    raise DataError(f"{path}: must begin with a line of column names, but is empty")


@contextmanager
def _fields_of_any_size() -> Iterator[None]:
    """Lifts the csv module's limit on fields, which a long text or an unclosed quote exceeds."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _is_quoted_by_the_book(content: npt.NDArray[np.uint8], separator: str) -> bool:
    """Whether quotes alternately open and close a field, apart from pairs inside a field.

    Then no quote is open at the end. A valid file need not be like this: a quote may also occur inside a field that is
    not quoted. But the test is cheap, and nearly all files pass it.
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
