"""The log of a training run: one JSON object per step, and TensorBoard scalars on demand."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from notellm.io.files import append_whole, atomic_write
from notellm.io.json_files import read_complete_lines

FILE = "train.jsonl"
SCALARS = ("loss", "contrastive", "generative", "tau", "scale", "lr", "grad_norm")
"""Fields of a record that TensorBoard shows."""


class TrainLog:
    """Appends one record per step to ``train.jsonl`` in a folder, flushed at once.

    Args:
        folder: The run folder.
        first_step: Records of earlier steps are kept from the part of the run before; records from this step on are
            dropped, because these steps are done again.
        tensorboard: Whether to write TensorBoard events below ``folder/tensorboard`` too.

    Raises:
        DataError: If the kept part of the log is damaged.
    """

    def __init__(self, folder: Path, *, first_step: int = 0, tensorboard: bool = False) -> None:
        path = folder / FILE
        kept = [record for record in read_log(path) if record["step"] < first_step] if path.exists() else []
        with atomic_write(path) as temporary:
            temporary.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
        self._file = path.open("ab", buffering=0)
        self._writer = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step)

    def write(self, record: Mapping[str, Any]) -> None:
        """Appends one step's record.

        Raises:
            OSError: If there is no room for it; the file then ends with the step before.
        """
        append_whole(self._file.fileno(), (json.dumps(record) + "\n").encode(), self._file.name)
        if self._writer is not None:
            for name in SCALARS:
                if record[name] is not None:
                    self._writer.add_scalar(name, record[name], record["step"])

    def close(self) -> None:
        """Closes the files."""
        self._file.close()
        if self._writer is not None:
            self._writer.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """Reads a ``train.jsonl``; an incomplete last line (after an interruption) is left out.

    Raises:
        DataError: If any other line is not a JSON object with a step.
    """
    records = read_complete_lines(path)
    for record in records:
        record.count("step")
    return [record.value for record in records]
