"""Reads tables from Parquet, CSV or JSON lines; anything wrong in a file is a DataError.

Every message names the file and, where it can be known, the row: the line (counted from 1, with the
header) of CSV and JSON lines, the row (counted from 1) of Parquet.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from notellm.data import lines
from notellm.data.conversion import convert
from notellm.data.csv_form import SEPARATORS, CsvForm, check_quotes, find_form
from notellm.data.headers import find_columns
from notellm.data.schema import Column, Kind, Table
from notellm.data.writing import suffix_of
from notellm.errors import DataError
from notellm.io.home import expanded

__all__ = ["PART_ROWS", "Column", "Kind", "Table", "parquet_header", "read_parts", "read_table"]

PART_ROWS = 1 << 20
"""About how many rows of a large table are in memory at a time."""

_BLOCK_BYTES = (16 << 20, lines.LARGEST_LINE)
"""Block sizes to try in turn: pyarrow needs each row to fit in a block, and reads small blocks in parallel."""


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
    path = expanded(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: must be a file, but {'is a folder' if path.is_dir() else 'does not exist'}"
        )
    file = _opened(path, schema, columns or {})
    data = _read(file)
    if data.num_rows == 0:
        raise DataError(f"{path}: must hold at least one row, but is empty")
    return _checked(file, schema, data)


def read_parts(
    path: str | Path, schema: Mapping[str, Column], columns: Mapping[str, str] | None = None
) -> Iterator[Table]:
    """Reads a file, or all files of a folder, part by part, each checked and converted as by `read_table`.

    A Parquet file is read by about a million rows at a time, another file as a whole. The files of a folder are read
    in the order of their names. Those whose names begin with ``.`` or ``_`` are no part of it, and a part may be empty.

    Args:
        path: A file, or a folder of files, of the suffixes of `read_table`.
        schema: The columns wanted, by their names here.
        columns: As in `read_table`.

    Yields:
        Tables of at least one row, with the same columns.

    Raises:
        DataError: As in `read_table`; also if a folder has no files, or has a folder, or its files differ in their
            columns.
        ValueError: As in `read_table`.
        FileNotFoundError: If there is neither such a file nor such a folder.
    """
    path, rows, first = expanded(path), 0, None
    for one in _files_of(path):
        if path.is_dir() and one.stat().st_size == 0:
            continue
        file = _opened(one, schema, columns or {})
        first = first or file
        if file.there.keys() != first.there.keys():
            raise DataError(
                f"{one}: columns must be those of {first.path.name} ({', '.join(first.there)}), but are "
                f"{', '.join(file.there)}"
            )
        row = 0
        for data in _parquet_parts(file) if suffix_of(one) == ".parquet" else [_read(file)]:
            if data.num_rows:
                yield _checked(file, schema, data, row)
            row += data.num_rows
        rows += row
    if rows == 0:
        raise DataError(f"{path}: must hold at least one row, but is empty")


def _files_of(path: Path) -> list[Path]:
    """The file, or the parts in a folder, by name."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: must be a file or a folder of files, but does not exist")
    parts = sorted(one for one in path.iterdir() if not one.name.startswith((".", "_")))
    for one in parts:
        if one.is_dir():
            raise DataError(f"{path}: must hold files alone, but {one.name} is a folder")
    if not parts:
        raise DataError(f"{path}: must hold files, but holds none")
    return parts


class _File(NamedTuple):
    """A file whose first line, or header, has been read."""

    path: Path
    form: CsvForm | None
    """If it is CSV."""
    first: Mapping[str, Any]
    """The first values of JSON lines."""
    there: dict[str, str]
    """By the schema's names: the file's names of the columns that it has."""
    kinds: dict[str, Kind]
    """By the file's names."""


def _opened(path: Path, schema: Mapping[str, Column], columns: Mapping[str, str]) -> _File:
    suffix = suffix_of(path)
    wanted = [there for there in (columns.get(name, name) for name in schema) if there]
    form = find_form(path, wanted) if suffix == ".csv" else None
    first = lines.first_values(path, wanted) if suffix == ".jsonl" else {}
    header = form.header if form else list(first) or parquet_header(path)
    there = find_columns(str(path), header, schema, columns, is_csv=form is not None)
    return _File(path, form, first, there, {own: schema[name].kind for name, own in there.items()})


def _checked(file: _File, schema: Mapping[str, Column], data: pa.Table, first_row: int = 0) -> Table:
    """The columns in the types of their kinds."""
    form, source = file.form, str(file.path)
    columns = {name: data[there] for name, there in file.there.items()}
    raw = Table(source, columns, file.path, form, first_row)
    if form is not None and (form.separator != "," or form.skipped_lines):
        raw.changes[f"rows with {SEPARATORS.get(form.separator, repr(form.separator))} between columns"] = (
            data.num_rows
        )
    converted = {name: convert(raw, name, there, schema[name]) for name, there in file.there.items()}
    return Table(source, converted, file.path, form, first_row, raw.changes)


def parquet_header(path: Path) -> list[str]:
    """The column names of a Parquet file.

    Raises:
        DataError: If it is not a Parquet file.
    """
    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: must be a Parquet file, but {' '.join(str(error).split())}") from error


def _read(file: _File) -> pa.Table:
    """Reads columns by their names in the file, in types that change no value."""
    path, form, wanted = file.path, file.form, file.kinds
    kinds: dict[str, lines.Holds] = {}
    if form is not None:
        check_quotes(path, form)
    elif file.first:
        kinds = _json_kinds(file.first, wanted)
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


def _parquet_parts(file: _File) -> Iterator[pa.Table]:
    try:
        with pq.ParquetFile(file.path) as parquet:
            for batch in parquet.iter_batches(PART_ROWS, columns=list(file.kinds)):
                yield pa.Table.from_batches([batch])
    except (pa.ArrowInvalid, OSError) as error:
        raise lines.diagnose(file.path, None, {}, error) from error


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
