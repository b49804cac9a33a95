"""Writes tables as Parquet, CSV or JSON lines, complete or not at all."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from notellm.data.list_cells import list_cell
from notellm.io.files import atomic_write

__all__ = ["suffix_of", "write_table"]


def write_table(path: str | Path, table: pa.Table) -> None:
    """Writes a table in the format of the file's suffix, atomically.

    Args:
        path: A file ending in ``.parquet``, ``.csv`` or ``.jsonl``.
        table: Columns of text, numbers, or lists of text; in CSV the items of a list are joined by ``|``, or
            written as JSON if one of them contains that.

    Raises:
        ValueError: If the suffix is not known.
    """
    path = Path(path)
    write = _WRITERS[suffix_of(path)]
    with atomic_write(path) as temporary:
        write(temporary, table)


def suffix_of(path: Path) -> str:
    """The format of a table's file: its suffix in lower case.

    Raises:
        ValueError: If it is not one of the three.
    """
    suffix = path.suffix.lower()
    if suffix not in _WRITERS:
        raise ValueError(f"{path}: must end in .parquet, .csv or .jsonl, but ends in {path.suffix!r}")
    return suffix


def _plain(table: pa.Table) -> pa.Table:
    """The table with dictionary columns converted to plain ones, for formats that do not have them."""
    for index, column in enumerate(table.schema):
        if pa.types.is_dictionary(column.type):
            table = table.set_column(index, column.name, table[column.name].cast(column.type.value_type))
    return table


def _write_csv(path: Path, table: pa.Table) -> None:
    for index, column in enumerate(table.schema):
        if pa.types.is_list(column.type):
            cells = pa.array(map(list_cell, table[column.name].to_pylist()), pa.large_string())
            table = table.set_column(index, column.name, cells)
    pyarrow.csv.write_csv(_plain(table), path)


def _write_jsonl(path: Path, table: pa.Table) -> None:
    with path.open("w", encoding="utf-8") as file:
        for batch in _plain(table).to_batches(max_chunksize=10_000):
            rows: list[dict[str, Any]] = batch.to_pylist()
            file.writelines(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)


def _write_parquet(path: Path, table: pa.Table) -> None:
    pq.write_table(table, path, compression="zstd")


_WRITERS: dict[str, Callable[[Path, pa.Table], None]] = {
    ".parquet": _write_parquet,
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
}
