"""The log of a training run in its folder: one JSON object per step."""

import json
from pathlib import Path
from typing import IO, Any

from notellm.io.files import atomic_write
from notellm.io.json_files import read_complete_lines
from notellm.io.write_errors import append_whole
from notellm.loggers.about import About
from notellm.loggers.logger import Logger, Record

FILE = "train.jsonl"


class JsonLines(Logger):
    """Appends one record per step to ``train.jsonl``, flushed at once.

    Records of steps before the first one are kept from the part of the run before; others are dropped, because these
    steps are done again.

    Raises:
        DataError: If the kept part of the log is damaged.
    """

    is_ours = True

    def __init__(self, about: About, first_step: int | None) -> None:
        self._file: IO[bytes] | None = None
        if first_step is None:
            return
        path = about.folder / FILE
        kept = [record for record in read_log(path) if record["step"] < first_step] if path.exists() else []
        with atomic_write(path) as temporary:
            temporary.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
        self._file = path.open("ab", buffering=0)

    def step(self, record: Record) -> None:
        """Appends a step's record.

        Raises:
            OSError: If there is no room for it; the file then ends with the step before.
        """
        assert self._file is not None
        append_whole(self._file.fileno(), (json.dumps(record) + "\n").encode(), self._file.name)

    def close(self, *, failed: bool) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """Reads a ``train.jsonl``; an incomplete last line (after an interruption) is left out.

    Raises:
        DataError: If any other line is not a JSON object with a step.
    """
    records = read_complete_lines(path)
    for record in records:
        record.count("step")
    return [record.value for record in records]
