"""A run of a study: a row with a seed, and a name for everything that decides its numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from notellm.app.config import Config, replace
from notellm.app.kept import DECIDED_BY, deciding
from notellm.app.pipeline import TRAINERS
from notellm.io.fingerprints import json_fingerprint
from notellm.precision import AUTO

TRAINED = tuple(TRAINERS)
"""The systems that are trained; all others depend on no option of training, and on a seed only where the split does."""

BY_BACKBONE = ("trained", "zero_shot_mean", "zero_shot_last", "zero_shot_prompt")
"""The systems that use the configured backbone; all others do not depend on it."""


@dataclass(frozen=True)
class Row:
    """A row of a study's table.

    Attributes:
        key: Its name in folders and in the ledger.
        name: Its name in the table.
        overrides: What it changes, in Hydra's grammar.
        system: The system whose numbers it shows: ``"trained"``, or a baseline.
        variant: Which of the system's vectors, such as ``"d16.int8"`` (see ``evaluation.dims``); empty: as they are.
        paper: The paper's numbers, by column, in percent; on private data, with a 7B model.
        tune: Changes of its search from the study's.
    """

    key: str
    name: str
    overrides: tuple[str, ...] = ()
    system: str = "trained"
    variant: str = ""
    paper: Mapping[str, float] = field(default_factory=dict)
    tune: Mapping[str, Any] = field(default_factory=dict)

    @property
    def measured(self) -> str:
        """The key in a run's results of what it shows."""
        return ".".join(filter(None, [self.system, self.variant]))

    def metric(self, column: str) -> str:
        """The key in the ledger of what it shows in a column."""
        return ".".join(filter(None, [self.variant, column]))


@dataclass(frozen=True)
class Cell:
    """One run of a study: a row with a seed.

    Attributes:
        row: The row.
        seed: Seed of the training; the split of the data has its own, which a scale may let follow this one.
        config: The complete configuration.
        searched: The override that a run of a search tries; empty for a cell of the table.
        is_open: Whether the row's search has not found a value yet; then the cell must not be run.
    """

    row: Row
    seed: int
    config: Config
    searched: str = ""
    is_open: bool = False

    @cached_property
    def key(self) -> str:
        """A name for everything that decides the numbers: a finished run with this name need not be run again.

        The dtype chosen for ``dtype=auto`` is a part of it, see `Study.in_one_dtype`.
        """
        left_out = ["name", "run_dir"]
        if self.row.system not in TRAINED:
            draws = self.config.generation.temperature > 0
            left_out += ["train.", "loss.", "lora.", *([] if draws else ["seed"])]
        return json_fingerprint([self.row.system, deciding(self.config, without=left_out)])

    def without(self, option: str) -> str:
        """A name for what decides the numbers but for one option: equal for cells that differ in nothing else.

        Args:
            option: Such as ``"train.max_steps"``.
        """
        return json_fingerprint(
            [self.row.measured, deciding(self.config, without=["name", "run_dir", option])]
        )

    @property
    def uses_model(self) -> bool:
        """Whether its row shows the configured backbone, trained or not."""
        return self.row.system in BY_BACKBONE

    @property
    def sources(self) -> str:
        """A name for the sources of its data and backbone; cells with equal sources have equal data, if run today."""
        drawn_later = [f"data.{name}" for name in ("queries", "pairs", "train_pairs", "pool_notes", "pool")]
        return json_fingerprint(deciding(self.config, DECIDED_BY["dataset"], without=drawn_later))

    @property
    def catalogue(self) -> str:
        """A name for the sources of its notes and log, whatever is held out."""
        return json_fingerprint(deciding(self.config, DECIDED_BY["catalogue"]))

    @property
    def folder(self) -> Path:
        """Its run folder."""
        return Path(self.config.run_dir)

    @property
    def error_file(self) -> Path:
        """The file with the traceback of a failed run."""
        return self.folder.with_name(f"{self.folder.name}.error.txt")


def in_dtype(cell: Cell, dtype: str) -> Cell:
    """The cell with this dtype, if it has ``dtype=auto``."""
    if cell.config.dtype != AUTO:
        return cell
    config = replace(cell.config, {"dtype": dtype})
    return placed(dataclasses.replace(cell, config=config), cell.folder.parent)


def placed(cell: Cell, root: Path) -> Cell:
    """The cell with the run folder named by its key."""
    key = cell.key
    return dataclasses.replace(cell, config=replace(cell.config, {"name": key, "run_dir": str(root / key)}))
