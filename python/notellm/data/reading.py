"""What was changed when a file or frame was read, in words and numbers."""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["ReadingReport"]


@dataclass(frozen=True)
class ReadingReport:
    """What happened when a file or frame was read.

    Attributes:
        source: The file, URL or kind of frame.
        rows: Number of its rows.
        changes: What was changed while reading, in words, and how often.
    """

    source: str
    rows: int
    changes: Mapping[str, int]

    def describe(self) -> str:
        """The report as a few lines of text.

        Example:
            >>> print(ReadingReport("n.csv", 12, {"hashtags left out as repeated": 3}).describe())
            n.csv: 12 rows
              3 hashtags left out as repeated
        """
        lines = [f"  {count:,} {what}" for what, count in self.changes.items()]
        return "\n".join([f"{self.source}: {self.rows:,} rows", *lines])
