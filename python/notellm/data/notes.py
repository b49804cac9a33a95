"""Notes: what the model reads, embeds and describes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from notellm.data.frames import Frame, GivesRows, frame_name, read_frame
from notellm.data.reading import ReadingReport
from notellm.data.remote import local_copy
from notellm.data.tables import Column, Kind, Table, read_table
from notellm.errors import DataError
from notellm.hashtags import HashtagRule, clean_hashtags
from notellm.text.normal import all_normalized

__all__ = ["Notes"]

_SCHEMA = {
    "id": Column(Kind.KEY),
    "title": Column(Kind.TEXT),
    "content": Column(Kind.TEXT),
    "topics": Column(Kind.TOPICS),
    "category": Column(Kind.TEXT),
}


@dataclass(frozen=True)
class Notes(GivesRows):
    """N notes, column by column.

    Attributes:
        ids: N names, given by the data's owner.
        titles: N texts.
        contents: N texts.
        topics: N lists of hashtags, without the ``#``; an empty list if a note has none.
        categories: N names; ``""`` if a note has none.
        report: What was changed when they were read; None if they were not read.

    Raises:
        ValueError: If the columns differ in length.

    Example:
        >>> notes = Notes(["a", "b"], ["Tea", "Mud"], ["Green.", ""], [["drink"], []], ["food", ""])
        >>> len(notes), notes.take([1]).titles, notes.index(["b", "a"])
        (2, ['Mud'], array([1, 0]))
    """

    ids: list[str]
    titles: list[str]
    contents: list[str]
    topics: list[list[str]]
    categories: list[str]
    report: ReadingReport | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        lengths = [len(column) for column in self._columns().values()]
        if len(set(lengths)) > 1:
            raise ValueError(f"Notes: columns must be equally long, but have {lengths} rows")

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, indices: Sequence[int] | npt.NDArray[np.integer]) -> "Notes":
        """The notes at the given positions, in that order; negative ones count from the end.

        Raises:
            IndexError: If a position is out of range.
        """
        rows = [int(index) for index in indices]
        return Notes(
            [self.ids[row] for row in rows],
            [self.titles[row] for row in rows],
            [self.contents[row] for row in rows],
            [self.topics[row] for row in rows],
            [self.categories[row] for row in rows],
        )

    def index(self, ids: Iterable[str]) -> npt.NDArray[np.int64]:
        """The position of each id, shape ``(len(ids),)``.

        Raises:
            DataError: If an id is unknown, or the notes' own ids repeat.
        """
        positions = self._positions
        try:
            return np.array([positions[name] for name in ids], np.int64)
        except KeyError as error:
            raise DataError(f"Notes.index: ids must be those of notes, but one is {error}") from None

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        columns: Mapping[str, str] | None = None,
        hashtags: HashtagRule = HashtagRule(),  # noqa: B008 - it is frozen
    ) -> "Notes":
        """Reads notes from a Parquet, CSV or JSON lines file; `from_frame` takes a table in memory.

        The columns are ``id`` (text or integers, of any length and with any character), ``title``, ``content``,
        ``topics`` and ``category``. A missing value is an empty one, except for the id; further columns are ignored.
        Texts are converted to Unicode's normal form C, so that texts that look the same are the same; ids, which also
        occur in the log, stay as they are.

        Topics are a list, or text: joined by ``|``, or a list as JSON or Python writes it (``["tea", "hot drink"]``).
        They are cleaned here, once: extra white space is removed, topics with a comma are split, empty and repeated
        ones are dropped; ``report`` says how often.

        In CSV, columns are separated by commas, semicolons or tabs, or by the separator named in a first line ``sep=``;
        a quote inside a quoted field is written twice. Text is UTF-8, with or without a byte order mark.

        Args:
            path: A file ending in ``.parquet``, ``.csv`` or ``.jsonl``; or the URL of one (``hf://``, ``s3://``), if
                fsspec and its package for such URLs are installed.
            columns: The file's names of columns that have another name there, as in ``{"id": "sku"}``;
                ``{"topics": ""}`` means that the file has no topics.
            hashtags: How topics are cleaned; with ``HashtagRule(separators=())`` none is split.

        Raises:
            DataError: If the file is malformed, empty or not UTF-8, has a row of more than 256 MiB (CSV, JSON
                lines), a column is missing or has another type, or an id is missing or repeated. It
                names the file and the row.
            ValueError: If the suffix or a key of ``columns`` is not known.
            FileNotFoundError: If there is no such file.
        """
        with local_copy(path) as file:
            return cls._of_table(read_table(file, _SCHEMA, columns), str(path), hashtags)

    @classmethod
    def from_frame(
        cls,
        frame: Frame,
        *,
        columns: Mapping[str, str] | None = None,
        hashtags: HashtagRule = HashtagRule(),  # noqa: B008 - it is frozen
    ) -> "Notes":
        """Takes notes from a table in memory, as `read` takes them from a file with the same content.

        Args:
            frame: A table with the Arrow stream protocol: of pandas (2.2 or newer), polars, DuckDB or pyarrow, or a
                `pyarrow.RecordBatchReader`; or a `datasets.Dataset` or `datasets.IterableDataset`.
            columns: As in `read`.
            hashtags: As in `read`.

        Raises:
            TypeError: If it is no such table.
            DataError: As in `read`; it names the kind of table and the row.
            ValueError: If a key of ``columns`` is not known.

        Example:
            >>> table = Notes(["7"], ["Tea"], ["Green."], [["drink"]], [""]).to_arrow()
            >>> Notes.from_frame(table).topics
            [['drink']]
        """
        return cls._of_table(read_frame(frame, _SCHEMA, columns or {}), frame_name(frame), hashtags)

    @classmethod
    def _of_table(cls, table: Table, source: str, hashtags: HashtagRule) -> "Notes":
        ids = table.columns["id"]
        # Codes count ids by first appearance: as long as no id repeats, the code of a row is its number.
        codes = ids.combine_chunks().dictionary_encode().indices.to_numpy()
        repeats = np.flatnonzero(codes != np.arange(len(codes)))
        if len(repeats):
            row, first = int(repeats[0]), int(codes[repeats[0]])
            raise table.fail(
                row, f"id must be unique, but {ids[row].as_py()!r} is that of note {first + 1} too"
            )
        empty = [""] * len(ids)
        texts = {
            name: all_normalized(table.columns[name].to_pylist()) if name in table.columns else empty
            for name in ("title", "content", "category")
        }
        topics: list[list[str]] = [[] for _ in empty]
        if "topics" in table.columns:
            topics = [
                clean_hashtags(row or (), hashtags, table.changes)
                for row in table.columns["topics"].to_pylist()
            ]
        return cls(
            ids.to_pylist(), texts["title"], texts["content"], topics, texts["category"], table.report(source)
        )

    def to_arrow(self) -> pa.Table:
        """The notes as a table for `from_frame`.

        Its columns are ``id``, ``title``, ``content``, ``topics`` (lists of text) and ``category``.
        """
        types = {"topics": pa.list_(pa.large_string())}
        columns = {
            name: pa.array(values, types.get(name, pa.large_string()))
            for name, values in self._columns().items()
        }
        return pa.table(columns)

    def _columns(self) -> dict[str, list[str] | list[list[str]]]:
        return {
            "id": self.ids,
            "title": self.titles,
            "content": self.contents,
            "topics": self.topics,
            "category": self.categories,
        }

    @cached_property
    def _positions(self) -> dict[str, int]:
        positions = {name: row for row, name in enumerate(self.ids)}
        if len(positions) < len(self.ids):
            raise DataError("Notes.index: the notes' ids must be unique, but some repeat")
        return positions
