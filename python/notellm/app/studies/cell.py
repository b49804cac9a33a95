"""A run of a study: a row with a seed, and the name of all that decides its numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from notellm.app.config import Config, replace
from notellm.app.kept import DECIDED_BY, deciding
from notellm.app.pipeline import TRAINERS
from notellm.io.fingerprints import json_fingerprint
from notellm.precision import AUTO

TRAINED = tuple(TRAINERS)
"""The systems that are trained; all others know neither a seed nor options of training."""

BY_BACKBONE = ("trained", "zero_shot_mean", "zero_shot_last", "zero_shot_prompt")
"""The systems that are the configured backbone; all others know nothing of it."""


@dataclass(frozen=True)
class Row:
    """A row of a study's table.

    Attributes:
        key: Its name in folders and in the ledger.
        name: What the table calls it.
        overrides: What it changes, in Hydra's grammar.
        system: Whose numbers it shows: ``"trained"``, or a baseline that needs no training.
        paper: The paper's numbers, by column, in percent; on private data, with a 7B model.
        tune: What its search has otherwise than the study's.
    """

    key: str
    name: str
    overrides: tuple[str, ...] = ()
    system: str = "trained"
    paper: Mapping[str, float] = field(default_factory=dict)
    tune: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """One run of a study: a row with a seed.

    Attributes:
        row: The row.
        seed: Of the training; the split of the data has its own.
        config: The complete configuration.
        searched: The override that a run of a search tries; empty for a cell of the table.
        is_open: Whether the row's search has not found a value yet: then it is not to be run.
    """

    row: Row
    seed: int
    config: Config
    searched: str = ""
    is_open: bool = False

    @property
    def key(self) -> str:
        """A name for all that decides the numbers: a finished run of this name need not be run again.

        What ``dtype=auto`` became is a part of it, see `Study.in_one_dtype`.
        """
        left_out = ["name", "run_dir"]
        if self.row.system not in TRAINED:
            draws = self.config.generation.temperature > 0
            left_out += ["train.", "loss.", "lora.", *([] if draws else ["seed"])]
        return json_fingerprint([self.row.system, deciding(self.config, without=left_out)])

    @property
    def uses_model(self) -> bool:
        """Whether its row shows what the configured backbone does, trained or not."""
        return self.row.system in BY_BACKBONE

    @property
    def sources(self) -> str:
        """A name for where its data and backbone come from; cells of equal sources have equal data, if run today."""
        drawn_later = [f"data.{name}" for name in ("queries", "pairs", "train_pairs", "pool_notes", "pool")]
        return json_fingerprint(deciding(self.config, DECIDED_BY["dataset"], without=drawn_later))

    @property
    def folder(self) -> Path:
        """Where it runs."""
        return Path(self.config.run_dir)

    @property
    def error_file(self) -> Path:
        """Where the traceback of a failed run is."""
        return self.folder.with_name(f"{self.folder.name}.error.txt")


def in_dtype(cell: Cell, dtype: str) -> Cell:
    """The cell with a dtype where it leaves that to the machine."""
    if cell.config.dtype != AUTO:
        return cell
    config = replace(cell.config, {"dtype": dtype})
    return placed(dataclasses.replace(cell, config=config), cell.folder.parent)


def placed(cell: Cell, root: Path) -> Cell:
    """The cell with the folder that its key names."""
    key = cell.key
    return dataclasses.replace(cell, config=replace(cell.config, {"name": key, "run_dir": str(root / key)}))
