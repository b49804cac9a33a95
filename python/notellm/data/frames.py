"""Tables in memory: whatever gives its rows as an Arrow stream (pandas, polars, DuckDB, `datasets`, Arrow itself)."""

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from notellm.data.conversion import convert
from notellm.data.headers import find_columns
from notellm.data.schema import Column, Table
from notellm.data.tables import PART_ROWS
from notellm.data.writing import write_table
from notellm.errors import DataError
from notellm.optional import importing

if TYPE_CHECKING:
    import pandas

__all__ = ["Frame", "GivesRows", "frame_name", "read_frame", "read_frame_parts"]


class Frame(Protocol):
    """What the Arrow C stream protocol asks of a table."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """A capsule with the rows as a stream."""


class GivesRows:
    """What notes and logs have in common: their rows are a table for others, and a file."""

    def to_arrow(self) -> pa.Table:
        """The rows as a table for ``from_frame``."""
        raise NotImplementedError

    def write(self, path: str | Path) -> None:
        """Writes `to_arrow` to a ``.parquet``, ``.csv`` or ``.jsonl`` file, complete or not at all.

        Raises:
            ValueError: If the suffix is not known; see `to_arrow`, too.
        """
        write_table(path, self.to_arrow())

    def to_pandas(self) -> "pandas.DataFrame":
        """`to_arrow` as a frame of pandas.

        Raises:
            NotSupportedError: If pandas is not installed.
            ValueError: See `to_arrow`.
        """
        with importing("to_pandas", "pandas", otherwise="to_arrow()"):
            import pandas  # noqa: F401 - pyarrow imports it, and would not say what to install
        return self.to_arrow().to_pandas()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The rows for whoever reads Arrow streams: ``polars.DataFrame(notes)``, ``pyarrow.table(notes)``."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)


def frame_name(frame: object) -> str:
    """How messages name a frame.

    Example:
        >>> frame_name(pa.table({"id": ["a"]}))
        'pyarrow.Table'
    """
    kind = type(frame)
    return f"{kind.__module__.split('.')[0]}.{kind.__name__}"


def read_frame(frame: Any, schema: Mapping[str, Column], columns: Mapping[str, str]) -> Table:
    """Takes the columns of a schema, checked and converted as those of a file; see `tables.read_table`.

    Raises:
        TypeError: If it is no frame.
        DataError: If it has no row, a column is missing, has another type, or contains a null where none is allowed.
        ValueError: If a key of ``columns`` is not known.
    """
    (table,) = _tables(frame, schema, columns, rows=None)
    return table


def read_frame_parts(frame: Any, schema: Mapping[str, Column], columns: Mapping[str, str]) -> Iterator[Table]:
    """Takes a frame about a million rows at a time; arguments and errors are those of `read_frame`."""
    return _tables(frame, schema, columns, rows=PART_ROWS)


def _tables(
    frame: Any, schema: Mapping[str, Column], columns: Mapping[str, str], rows: int | None
) -> Iterator[Table]:
    source = frame_name(frame)
    try:
        stream = _stream(frame, source)
        there = find_columns(source, stream.schema.names, schema, columns)
        first = 0
        for data in _gathered(stream, rows):
            raw = Table(source, {name: data[own] for name, own in there.items()}, first_row=first)
            converted = {name: convert(raw, name, own, schema[name]) for name, own in there.items()}
            yield Table(source, converted, first_row=first, changes=raw.changes)
            first += data.num_rows
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{source}: must be readable as Arrow, but {' '.join(str(error).split())}") from error
    if first == 0:
        raise DataError(f"{source}: must hold at least one row, but is empty")


def _stream(frame: Any, source: str) -> pa.RecordBatchReader:
    if hasattr(frame, "__arrow_c_stream__"):
        return pa.RecordBatchReader.from_stream(frame)
    if hasattr(frame, "with_format") and hasattr(frame, "iter"):
        # `datasets` has no such protocol; this way the rows chosen by select() or filter() are those that are read
        tables = frame.with_format("arrow").iter(batch_size=10_000)
        first = next(tables, None)
        if first is None:
            raise DataError(f"{source}: must hold at least one row, but is empty")
        batches = (batch for table in chain([first], tables) for batch in table.to_batches())
        return pa.RecordBatchReader.from_batches(first.schema, batches)
    hints = {
        "LazyFrame": "frame.collect()",
        "DatasetDict": "one of its splits",
        "DataFrame": "pandas 2.2 or newer",
    }
    hint = hints.get(type(frame).__name__, "pyarrow.table(...)")
    raise TypeError(
        f"from_frame: the table must have the Arrow stream protocol (pandas, polars, pyarrow), but is a {source}; "
        f"try {hint}"
    )


def _gathered(stream: pa.RecordBatchReader, rows: int | None) -> Iterator[pa.Table]:
    """The rows of a stream in tables of about so many; None: in one."""
    waiting: list[pa.RecordBatch] = []
    for batch in stream:
        if batch.num_rows:
            waiting.append(batch)
        if rows is not None and sum(map(len, waiting)) >= rows:
            yield pa.Table.from_batches(waiting)
            waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting)
