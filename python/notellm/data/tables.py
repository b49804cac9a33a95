"""Reads tables from Parquet, CSV or JSON lines; anything wrong in a file is a DataError.

Every message names the file and, where it can be known, the row: the line (counted from 1, with the
header) of CSV and JSON lines, the row (counted from 1) of Parquet.
"""

import difflib
import enum
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from notellm.data import lines
from notellm.data.csv_form import SEPARATORS, CsvForm, check_quotes, find_form
from notellm.data.list_cells import LOOKS_LIKE_A_LIST, TOPIC_SEPARATOR, split_cell
from notellm.data.reading import ReadingReport
from notellm.data.writing import suffix_of
from notellm.errors import DataError

__all__ = ["Column", "Kind", "Table", "parquet_header", "read_table"]

_BLOCK_BYTES = (16 << 20, lines.LARGEST_LINE)
"""Block sizes to try in turn: pyarrow needs each row to fit in a block, and reads small blocks in parallel."""


class Kind(enum.Enum):
    """What a column contains, and its type in memory."""

    KEY = "text or integers"  # large_string, no nulls, not empty
    TEXT = "text"  # large_string, null becomes ""
    TOPICS = "lists of text"  # list of large_string, null becomes []
    INTEGER = "integers"  # int64, no nulls
    TIME = "times"  # as it is read; `exact_times` converts it to whole numbers


@dataclass(frozen=True)
class Column:
    """One column of a schema; one that is not required may be absent from the file."""

    kind: Kind
    is_required: bool = True


@dataclass(frozen=True)
class Table:
    """The columns of one file that a schema asked for, by the schema's names."""

    path: Path
    columns: dict[str, pa.ChunkedArray]
    form: CsvForm | None = None
    """The form of the file, if it is CSV."""
    changes: Counter[str] = field(default_factory=Counter)
    """What was changed while reading, in words, and how often."""

    def fail(self, row: int, problem: str) -> DataError:
        """The error for a row (from 0), naming the file and the line or row."""
        return DataError(f"{lines.place(self.path, self.form, row)}: {problem}")

    def report(self) -> ReadingReport:
        """What happened when the file was read."""
        rows = len(next(iter(self.columns.values())))
        changes = {what: count for what, count in self.changes.items() if count}
        return ReadingReport(self.path, rows, changes)

    def check(self, is_bad: pa.ChunkedArray, problem: Callable[[int], str]) -> None:
        """Raises for the first row where ``is_bad``; ``problem`` makes the message from the row number."""
        row = pc.index(is_bad, True).as_py()
        if row >= 0:
            raise self.fail(row, problem(row))


def read_table(
    path: str | Path, schema: Mapping[str, Column], columns: Mapping[str, str] | None = None
) -> Table:
    """Reads the columns of a schema, checked and converted.

    Args:
        path: A file ending in ``.parquet``, ``.csv`` (columns separated by commas, semicolons or tabs, or by the
            separator named in a first line ``sep=``) or ``.jsonl``.
        schema: The columns wanted, by their names here.
        columns: The file's names of columns that differ from the schema's; ``""`` means that the
            file has no such column.

    Returns:
        The columns that exist, in the types of their kinds.

    Raises:
        DataError: If the file is malformed, empty or not UTF-8, has a row of more than
            `json_files.LARGEST_LINE` bytes (CSV, JSON lines), or a column is missing, has another type,
            or contains a null where none is allowed.
        ValueError: If the file's suffix or a name in ``columns`` is not known.
        FileNotFoundError: If there is no such file.
    """
    path = Path(path).expanduser()
    names = _names(schema, columns or {})
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: must be a file, but {'is a folder' if path.is_dir() else 'does not exist'}"
        )
    suffix = suffix_of(path)
    form = find_form(path, names.values()) if suffix == ".csv" else None
    first = lines.first_values(path) if suffix == ".jsonl" else {}
    header = form.header if form else list(first) or parquet_header(path)
    present = {name: schema[name].kind for name in _present(path, header, schema, names, columns or {})}
    data = _read(path, form, first, {names[name]: kind for name, kind in present.items()})
    if data.num_rows == 0:
        raise DataError(f"{path}: must hold at least one row, but is empty")
    raw = Table(path, {name: data[names[name]] for name in present}, form)
    if form is not None and (form.separator != "," or form.skipped_lines):
        raw.changes[f"rows with {SEPARATORS.get(form.separator, repr(form.separator))} between columns"] = (
            data.num_rows
        )
    converted = {name: _convert(raw, name, names[name], kind) for name, kind in present.items()}
    return Table(path, converted, form, raw.changes)


def _names(schema: Mapping[str, Column], columns: Mapping[str, str]) -> dict[str, str]:
    """The file's name of every column of the schema, without those said to be absent."""
    for name in columns:
        if name not in schema:
            raise ValueError(f"columns: keys must be among {', '.join(schema)}, but one is {name!r}")
    names = {name: columns.get(name, name) for name in schema}
    return {name: there for name, there in names.items() if there}


def _present(
    path: Path,
    header: Collection[str],
    schema: Mapping[str, Column],
    names: Mapping[str, str],
    columns: Mapping[str, str],
) -> list[str]:
    """The schema's names whose columns the file has; a missing or misspelt one is an error."""
    header = list(header)
    present = []
    for name, there in names.items():
        if header.count(there) > 1:
            raise DataError(
                f"{path}: column names must differ, but {there!r} comes {header.count(there)} times"
            )
        if there in header:
            present.append(name)
            continue
        near = _nearest(there, [other for other in header if other not in names.values()])
        if schema[name].is_required or name in columns or near:
            hint = f"columns={{{name!r}: {near!r}}}" if near else f"columns={{{name!r}: <its name there>}}"
            absent = f", or {name!r}: '' if there is none" if schema[name].kind is not Kind.KEY else ""
            if suffix_of(path) == ".csv" and len(header) == 1 and len(names) > 1:
                hint, absent = "commas, semicolons or tabs between the columns", ""
            raise DataError(
                f"{path}: column {there!r} must be there, but the columns are {', '.join(header) or 'none'}; "
                f"try {hint}{absent}"
            )
    return present


def _nearest(name: str, others: list[str]) -> str:
    """The name that was probably meant, ignoring case; or none."""
    by_form = {other.strip().casefold(): other for other in reversed(others)}
    near = difflib.get_close_matches(name.casefold(), by_form, n=1, cutoff=0.6)
    return by_form[near[0]] if near else ""


def parquet_header(path: Path) -> list[str]:
    """The column names of a Parquet file.

    Raises:
        DataError: If it is not a Parquet file.
    """
    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: must be a Parquet file, but {' '.join(str(error).split())}") from error


def _read(path: Path, form: CsvForm | None, first: Mapping[str, Any], wanted: Mapping[str, Kind]) -> pa.Table:
    """Reads columns by their names in the file, in types that change no value."""
    kinds: dict[str, lines.Holds] = {}
    if form is not None:
        check_quotes(path, form)
    elif first:
        kinds = _json_kinds(first, wanted)
    try:
        if suffix_of(path) == ".parquet":
            # Without partitioning=None a folder called "time=1" would add a column.
            return pq.read_table(path, columns=list(wanted), partitioning=None)
        for block in _BLOCK_BYTES:
            try:
                return _read_csv(path, form, wanted, block) if form else _read_jsonl(path, kinds, block)
            except pa.ArrowInvalid as error:
                if "straddling" not in str(error) or block == _BLOCK_BYTES[-1]:
                    raise
    except (pa.ArrowInvalid, OSError) as error:
        raise lines.diagnose(path, form, kinds, error) from error
    raise AssertionError


def _read_csv(path: Path, form: CsvForm, wanted: Mapping[str, Kind], block: int) -> pa.Table:
    return pyarrow.csv.read_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(block_size=block, skip_rows=form.skipped_lines),
        parse_options=pyarrow.csv.ParseOptions(delimiter=form.separator, newlines_in_values=True),
        # Everything is read as text: with a guessed type the id 007 would become 7 and "NA" a null.
        convert_options=pyarrow.csv.ConvertOptions(
            include_columns=list(wanted), column_types=dict.fromkeys(wanted, pa.large_string())
        ),
    )


def _json_kinds(first: Mapping[str, Any], wanted: Mapping[str, Kind]) -> dict[str, lines.Holds]:
    """What each column of JSON lines contains: one type in the whole file, that of its first value."""

    def holds(name: str, kind: Kind) -> lines.Holds:
        value, as_first = first.get(name), f"{kind.value}, as in the first row"
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if kind is Kind.INTEGER or (kind is Kind.KEY and is_number):
            return lines.Holds(as_first if kind is Kind.KEY else kind.value, int, pa.int64())
        if kind is Kind.TIME and is_number:
            return lines.Holds(as_first, (int, float), pa.decimal256(76, 38))  # a float would round integers
        if kind is Kind.TOPICS and not isinstance(value, str):
            return lines.Holds(kind.value, list, pa.list_(pa.large_string()))
        return lines.Holds(kind.value if kind is Kind.TEXT else as_first, str, pa.large_string())

    return {name: holds(name, kind) for name, kind in wanted.items()}


def _read_jsonl(path: Path, kinds: Mapping[str, lines.Holds], block: int) -> pa.Table:
    # Types are given, not guessed: pyarrow would turn titles that look like dates into timestamps.
    schema = pa.schema([(name, holds.read_as) for name, holds in kinds.items()])
    return pyarrow.json.read_json(
        path,
        read_options=pyarrow.json.ReadOptions(block_size=block),
        parse_options=pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
    )


def _convert(table: Table, name: str, there: str, kind: Kind) -> pa.ChunkedArray:
    """Checks one column as it was read and gives it the type of its kind."""
    column = table.columns[name]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    convert = {
        Kind.KEY: _keys,
        Kind.TEXT: _text,
        Kind.TOPICS: _topics,
        Kind.INTEGER: _integers,
        Kind.TIME: _times,
    }[kind]
    return convert(table, there, column)


def _wrong_type(table: Table, there: str, kind: Kind, actual: pa.DataType) -> DataError:
    return DataError(f"{table.path}: column {there!r} must hold {kind.value}, but holds {actual}")


def _is_text(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def _check_utf8(table: Table, there: str, column: pa.ChunkedArray) -> None:
    """Raises if text, or text in lists, is not UTF-8; from some formats pyarrow reads it unchecked."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        if suffix_of(table.path) != ".parquet":
            raise lines.diagnose(table.path, table.form, {}, error) from error
        is_list = not _is_text(column.type)
        raw = column.cast(pa.list_(pa.large_binary()) if is_list else pa.large_binary())
        for row, value in enumerate(raw.to_pylist()):
            for text in (value or []) if is_list else [value]:
                try:
                    (text or b"").decode()
                except UnicodeDecodeError as bad:
                    raise table.fail(row, f"column {there!r} must be UTF-8, but holds {text!r}") from bad
        raise


def _keys(table: Table, there: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    table.check(column.is_null(), lambda row: f"{there} must be given, but is null")
    is_whole = (
        pa.types.is_decimal(column.type) and column.type.scale == 0
    )  # as warehouses write long integers
    if pa.types.is_integer(column.type) or is_whole:
        return column.cast(pa.large_string())
    if not _is_text(column.type):
        raise _wrong_type(table, there, Kind.KEY, column.type)
    _check_utf8(table, there, column)
    keys = column.cast(pa.large_string())
    table.check(pc.equal(keys, ""), lambda row: f"{there} must be given, but is empty")
    return keys


def _text(table: Table, there: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_null(column.type):
        return column.cast(pa.large_string()).fill_null("")
    if not _is_text(column.type):
        raise _wrong_type(table, there, Kind.TEXT, column.type)
    _check_utf8(table, there, column)
    return column.cast(pa.large_string()).fill_null("")


def _topics(table: Table, there: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if _is_text(kind):
        return _topics_of_text(table, there, column)
    if pa.types.is_null(kind):
        return column.cast(pa.list_(pa.large_string()))
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if is_list:
        item = kind.value_type
        kind = pa.list_(item.value_type if pa.types.is_dictionary(item) else item)
        column = column.cast(kind)
    if not is_list or not (_is_text(kind.value_type) or pa.types.is_null(kind.value_type)):
        raise _wrong_type(table, there, Kind.TOPICS, kind)
    _check_utf8(table, there, column)
    return column.cast(pa.list_(pa.large_string()))


def _topics_of_text(table: Table, there: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Converts cells to lists; only cells that look like lists are read one by one."""
    _check_utf8(table, there, column)
    column = column.cast(pa.large_string()).fill_null("")
    is_list = pc.match_substring_regex(column, LOOKS_LIKE_A_LIST)
    split = pc.split_pattern(column, TOPIC_SEPARATOR)
    if not pc.any(is_list).as_py():
        return split
    rows = split.to_pylist()
    for row in np.flatnonzero(is_list.to_numpy()).tolist():
        cell = column[row].as_py()
        items = split_cell(cell)
        if items is None:
            form = f'be joined by {TOPIC_SEPARATOR!r} or a list like ["tea", "hot drink"]'
            raise table.fail(row, f"{there} must {form}, but is {cell[:200]!r}")
        rows[row] = items
        table.changes["cells read as lists"] += items != cell.split(TOPIC_SEPARATOR)
    return pa.chunked_array([pa.array(rows, pa.list_(pa.large_string()))])


def _times(table: Table, there: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    if _is_text(column.type):
        _check_utf8(table, there, column)
    return column


def _integers(table: Table, there: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    table.check(column.is_null(), lambda row: f"{there} must be given, but is null")
    kind, is_csv = column.type, table.form is not None
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or (is_csv and _is_text(kind))):
        raise _wrong_type(table, there, Kind.INTEGER, kind)
    return _converted(table, there, column, pa.int64())


def _converted(table: Table, there: str, column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """A cast that loses nothing; the first value for which this is impossible is an error."""
    try:
        return column.cast(kind)
    except pa.ArrowInvalid:
        for row, value in enumerate(column):
            try:
                value.cast(kind)
            except pa.ArrowInvalid as error:
                raise table.fail(row, f"{there} must be a whole number, but is {value.as_py()!r}") from error
        raise
