"""Reads and writes tables as Parquet, CSV or JSON lines; whatever is wrong is one DataError.

Every message names the file and, where it can be known, the row: the line (counted from 1, with the
header) of CSV and JSON lines, the row (counted from 1) of Parquet.
"""

import difflib
import enum
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from notellm.data import lines
from notellm.errors import DataError
from notellm.files import atomic_write

__all__ = ["Column", "Kind", "Table", "TOPIC_SEPARATOR", "parquet_header", "read_table", "write_table"]

TOPIC_SEPARATOR = "|"
"""Joins the topics of a note in CSV, which has no lists."""

_BLOCK_BYTES = 16 << 20
"""Read size; pyarrow needs each row to fit in one."""


class Kind(enum.Enum):
    """What a column holds, and what it becomes in memory."""

    KEY = "text or integers"  # large_string, no nulls, not empty
    TEXT = "text"  # large_string, null becomes ""
    TOPICS = "lists of text"  # list of large_string, null becomes []
    INTEGER = "integers"  # int64, no nulls


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

    def fail(self, row: int, problem: str) -> DataError:
        """The error for a row (from 0), naming the file and the line or row."""
        return DataError(f"{lines.place(self.path, row)}: {problem}")

    def check(self, is_bad: pa.ChunkedArray, problem: Callable[[int], str]) -> None:
        """Raises for the first row where ``is_bad``; ``problem`` words it from the row number."""
        row = pc.index(is_bad, True).as_py()
        if row >= 0:
            raise self.fail(row, problem(row))


def read_table(
    path: str | Path, schema: Mapping[str, Column], columns: Mapping[str, str] | None = None
) -> Table:
    """Reads the columns of a schema, checked and converted.

    Args:
        path: A file ending in ``.parquet``, ``.csv`` or ``.jsonl``.
        schema: The columns wanted, by their names here.
        columns: The file's name of a column where it differs from the schema's; ``""`` says that
            the file has no such column.

    Returns:
        The columns that are there, in the types of their kinds.

    Raises:
        DataError: If the file is malformed, empty or no UTF-8, or a column is missing, has another
            type, or holds a null where none may be.
        ValueError: If the file's suffix or a name in ``columns`` is not known.
        FileNotFoundError: If there is no such file.
    """
    path = Path(path)
    names = _names(schema, columns or {})
    if not path.is_file():
        raise FileNotFoundError(f"{path}: must be a file, but does not exist")
    present = {name: schema[name].kind for name in _present(path, schema, names, columns or {})}
    wanted = {names[name]: kind for name, kind in present.items()}
    try:
        data = _READERS[_suffix(path)](path, wanted)
    except (pa.ArrowInvalid, OSError) as error:
        raise lines.diagnose(path, {name: kind.value for name, kind in wanted.items()}, error) from error
    if data.num_rows == 0:
        raise DataError(f"{path}: must hold at least one row, but is empty")
    raw = Table(path, {name: data[names[name]] for name in present})
    return Table(path, {name: _convert(raw, name, names[name], kind) for name, kind in present.items()})


def write_table(path: str | Path, table: pa.Table) -> None:
    """Writes a table in the format of the file's suffix, atomically.

    Args:
        path: A file ending in ``.parquet``, ``.csv`` or ``.jsonl``.
        table: Columns of text, integers, or lists of text.

    Raises:
        ValueError: If the suffix is not known, or a topic holds the separator that CSV needs.
    """
    path = Path(path)
    write = _WRITERS[_suffix(path)]
    with atomic_write(path) as temporary:
        write(temporary, table)


def _suffix(path: Path) -> str:
    if path.suffix not in _READERS:
        raise ValueError(f"{path}: must end in .parquet, .csv or .jsonl, but ends in {path.suffix!r}")
    return path.suffix


def _names(schema: Mapping[str, Column], columns: Mapping[str, str]) -> dict[str, str]:
    """The file's name of every column of the schema, without those said to be absent."""
    for name in columns:
        if name not in schema:
            raise ValueError(f"columns: keys must be among {', '.join(schema)}, but one is {name!r}")
    names = {name: columns.get(name, name) for name in schema}
    return {name: there for name, there in names.items() if there}


def _present(
    path: Path, schema: Mapping[str, Column], names: Mapping[str, str], columns: Mapping[str, str]
) -> list[str]:
    """The schema's names whose columns the file has; a missing one is an error, a misspelt one too."""
    header = _HEADERS[_suffix(path)](path)
    present = []
    for name, there in names.items():
        if header.count(there) > 1:
            raise DataError(
                f"{path}: column names must differ, but {there!r} comes {header.count(there)} times"
            )
        if there in header:
            present.append(name)
            continue
        spare = [other for other in header if other not in names.values()]
        near = difflib.get_close_matches(there.lower(), spare, n=1, cutoff=0.6)
        if schema[name].is_required or name in columns or near:
            hint = f"columns={{{name!r}: {near[0]!r}}}" if near else f"columns={{{name!r}: <its name there>}}"
            absent = f", or {name!r}: '' if there is none" if schema[name].kind is not Kind.KEY else ""
            raise DataError(
                f"{path}: column {there!r} must be there, but the columns are {', '.join(header) or 'none'}; "
                f"try {hint}{absent}"
            )
    return present


def parquet_header(path: Path) -> list[str]:
    """The column names of a Parquet file.

    Raises:
        DataError: If it is none.
    """
    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: must be a Parquet file, but {' '.join(str(error).split())}") from error


_HEADERS: dict[str, Callable[[Path], list[str]]] = {
    ".parquet": parquet_header,
    ".csv": lines.csv_header,
    ".jsonl": lines.jsonl_header,
}


def _read_parquet(path: Path, wanted: Mapping[str, Kind]) -> pa.Table:
    # Without partitioning=None a folder called "time=1" would add a column.
    return pq.read_table(path, columns=list(wanted), partitioning=None)


def _read_csv(path: Path, wanted: Mapping[str, Kind]) -> pa.Table:
    return pyarrow.csv.read_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(block_size=_BLOCK_BYTES),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        # Everything comes as text: a guessed type would turn the id 007 into 7 and "NA" into a null.
        convert_options=pyarrow.csv.ConvertOptions(
            include_columns=list(wanted), column_types=dict.fromkeys(wanted, pa.large_string())
        ),
    )


def _read_jsonl(path: Path, wanted: Mapping[str, Kind]) -> pa.Table:
    types = {Kind.TEXT: pa.large_string(), Kind.TOPICS: pa.list_(pa.large_string()), Kind.INTEGER: pa.int64()}
    first = lines.first_object(path)
    for_keys = {
        name: pa.int64() if lines.is_integer(first.get(name)) else pa.large_string() for name in wanted
    }
    # The types are said, not guessed: pyarrow would make timestamps of titles that look like dates.
    schema = pa.schema([(name, types.get(kind, for_keys[name])) for name, kind in wanted.items()])
    return pyarrow.json.read_json(
        path,
        read_options=pyarrow.json.ReadOptions(block_size=_BLOCK_BYTES),
        parse_options=pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
    )


_READERS: dict[str, Callable[[Path, Mapping[str, Kind]], pa.Table]] = {
    ".parquet": _read_parquet,
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
}


def _convert(table: Table, name: str, there: str, kind: Kind) -> pa.ChunkedArray:
    """Checks one column as it was read and gives it the type of its kind."""
    column = table.columns[name]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    convert = {Kind.KEY: _keys, Kind.TEXT: _text, Kind.TOPICS: _topics, Kind.INTEGER: _integers}[kind]
    return convert(table, there, column)


def _wrong_type(table: Table, there: str, kind: Kind, actual: pa.DataType) -> DataError:
    return DataError(f"{table.path}: column {there!r} must hold {kind.value}, but holds {actual}")


def _is_text(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def _check_utf8(table: Table, there: str, column: pa.ChunkedArray) -> None:
    """Raises where text, or text in lists, is no UTF-8; pyarrow reads it unseen from some formats."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        if table.path.suffix != ".parquet":
            raise lines.diagnose(table.path, {}, error) from error
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
    if pa.types.is_integer(column.type):
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
    if _is_text(kind) and table.path.suffix == ".csv":
        return pc.split_pattern(column, TOPIC_SEPARATOR)
    if pa.types.is_null(kind):
        return column.cast(pa.list_(pa.large_string()))
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if not is_list or not (_is_text(kind.value_type) or pa.types.is_null(kind.value_type)):
        raise _wrong_type(table, there, Kind.TOPICS, kind)
    _check_utf8(table, there, column)
    return column.cast(pa.list_(pa.large_string()))


def _integers(table: Table, there: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    table.check(column.is_null(), lambda row: f"{there} must be given, but is null")
    kind, is_csv = column.type, table.path.suffix == ".csv"
    if pa.types.is_timestamp(kind):
        column = _converted(table, there, column, pa.timestamp("s", kind.tz))
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or (is_csv and _is_text(kind))):
        raise _wrong_type(table, there, Kind.INTEGER, kind)
    return _converted(table, there, column, pa.int64())


def _converted(table: Table, there: str, column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """A cast that loses nothing; the first value that cannot be cast so is the error."""
    try:
        return column.cast(kind)
    except pa.ArrowInvalid:
        for row, value in enumerate(column):
            try:
                value.cast(kind)
            except pa.ArrowInvalid as error:
                raise table.fail(row, f"{there} must be a whole number, but is {value.as_py()!r}") from error
        raise


def _plain(table: pa.Table) -> pa.Table:
    """The table with its dictionary columns written out, for formats that have none."""
    for index, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(index, field.name, table[field.name].cast(field.type.value_type))
    return table


def _write_csv(path: Path, table: pa.Table) -> None:
    for index, field in enumerate(table.schema):
        if not pa.types.is_list(field.type):
            continue
        for topic in pc.list_flatten(table[field.name]).to_pylist():
            if TOPIC_SEPARATOR in topic:
                raise ValueError(
                    f"{field.name}: topics in CSV must not contain {TOPIC_SEPARATOR!r}, but one is "
                    f"{topic!r}; try .parquet or .jsonl"
                )
        joined = pc.binary_join(table[field.name].cast(pa.list_(pa.string())), TOPIC_SEPARATOR)
        table = table.set_column(index, field.name, joined)
    pyarrow.csv.write_csv(_plain(table), path)


def _write_jsonl(path: Path, table: pa.Table) -> None:
    with path.open("w", encoding="utf-8") as file:
        for batch in _plain(table).to_batches(max_chunksize=10_000):
            rows: list[dict[str, Any]] = batch.to_pylist()
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _write_parquet(path: Path, table: pa.Table) -> None:
    pq.write_table(table, path, compression="zstd")


_WRITERS: dict[str, Callable[[Path, pa.Table], None]] = {
    ".parquet": _write_parquet,
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
}
