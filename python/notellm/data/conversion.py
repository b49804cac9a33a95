"""Checks the columns of a file and gives them the types of their kinds; a value that does not fit is a DataError."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from notellm.data import lines
from notellm.data.list_cells import LOOKS_LIKE_A_LIST, TOPIC_SEPARATOR, split_cell
from notellm.data.schema import Column, Kind, Table
from notellm.data.writing import suffix_of
from notellm.errors import DataError

__all__ = ["convert"]


def convert(table: Table, name: str, there: str, wanted: Column) -> pa.ChunkedArray:
    """Checks one column as it was read and gives it the type of its kind."""
    column = table.columns[name]
    if pa.types.is_dictionary(column.type):
        column = _decoded(column)
    converted = {
        Kind.KEY: _codes if wanted.is_coded else _keys,
        Kind.TEXT: _text,
        Kind.TOPICS: _topics,
        Kind.INTEGER: _integers,
        Kind.TIME: _times,
    }[wanted.kind]
    return converted(table, there, column)


def _decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A dictionary column as its values; of views of text, which polars has, pyarrow can take none."""
    kind = column.type.value_type
    kind = pa.large_string() if pa.types.is_string_view(kind) else kind
    return pa.chunked_array(
        [chunk.dictionary.cast(kind).take(chunk.indices) for chunk in column.chunks], kind
    )


def _decoded_lists(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Lists of dictionary items as lists of their values, built anew: pyarrow casts none whose values are views."""
    chunks = []
    for chunk in column.chunks:
        items = _decoded(pa.chunked_array([chunk.flatten()])).combine_chunks()
        ends = np.cumsum(pc.fill_null(pc.list_value_length(chunk), 0).to_numpy(), dtype=np.int32)
        begins = pa.array(np.concatenate([np.zeros(1, np.int32), ends]))
        chunks.append(pa.ListArray.from_arrays(begins, items, mask=chunk.is_null()))
    item = column.type.value_type.value_type
    kind = pa.list_(pa.large_string() if pa.types.is_string_view(item) else item)
    return pa.chunked_array(chunks, kind)


def _wrong_type(table: Table, there: str, kind: Kind, actual: pa.DataType) -> DataError:
    return DataError(f"{table.source}: column {there!r} must hold {kind.value}, but holds {actual}")


def _is_text(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def _is_whole(kind: pa.DataType) -> bool:
    """Whether numbers of this type have no decimals: integers, and what warehouses write long integers as."""
    return bool(pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale == 0))


def _check_utf8(table: Table, there: str, column: pa.ChunkedArray) -> None:
    """Raises if text, or text in lists, is not UTF-8; from some formats pyarrow reads it unchecked."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        if table.path and suffix_of(table.path) != ".parquet":
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
    if _is_whole(column.type):
        return column.cast(pa.large_string())
    if not _is_text(column.type):
        raise _wrong_type(table, there, Kind.KEY, column.type)
    _check_utf8(table, there, column)
    keys = column.cast(pa.large_string())
    table.check(pc.equal(keys, ""), lambda row: f"{there} must be given, but is empty")
    return keys


def _codes(table: Table, there: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Checks and casts each distinct value once; the chunks share one dictionary."""
    table.check(column.is_null(), lambda row: f"{there} must be given, but is null")
    if not _is_whole(column.type) and not _is_text(column.type):
        raise _wrong_type(table, there, Kind.KEY, column.type)
    encoded = column.dictionary_encode().unify_dictionaries()
    codes = pa.chunked_array([chunk.indices for chunk in encoded.chunks], pa.int32())
    values = encoded.chunk(0).dictionary if encoded.num_chunks else pa.array([], pa.large_string())
    if _is_text(column.type):
        try:
            values.validate(full=True)
        except pa.ArrowInvalid:
            _check_utf8(table, there, column)
            raise
    values = values.cast(pa.large_string())
    empty = pc.index(values, "").as_py()
    if empty >= 0:
        table.check(pc.equal(codes, empty), lambda row: f"{there} must be given, but is empty")
    kind = pa.dictionary(pa.int32(), pa.large_string())
    chunks = [pa.DictionaryArray.from_arrays(chunk, values) for chunk in codes.chunks]
    return pa.chunked_array(chunks, kind)


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
    if is_list and pa.types.is_dictionary(kind.value_type):
        column = _decoded_lists(column)
        kind = column.type
    elif is_list:
        kind = pa.list_(kind.value_type)
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
