"""What a study is: rows, each a change of one configuration, and seeds."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from notellm.config import Config, replace
from notellm.fingerprints import json_fingerprint
from notellm.pipeline import TRAINERS
from notellm.precision import AUTO, resolve_dtype
from notellm.run import COST_KEYS
from notellm.studies.ledger import Entry, Ledger
from notellm.studies.search import Search

TRAINED = tuple(TRAINERS)
"""The systems that are trained; all others know neither a seed nor options of training."""

BY_BACKBONE = ("trained", "zero_shot_mean", "zero_shot_last", "zero_shot_prompt")
"""The systems that are the configured backbone; all others know nothing of it."""

METRICS = {
    "mrr": "MRR",
    "accuracy": "Acc.",
    "illusory": "Ill.",
    "closed_set": "Closed-set Acc.",
    "bleu4": "BLEU-4",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "hashtag_f1": "Hashtag F1",
}
"""Columns besides ``recall@K``, and what tables call them."""


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
        tree = self.config.to_dict()
        for key in ("name", "run_dir", *COST_KEYS):
            group, _, name = key.rpartition(".")
            del (tree[group] if group else tree)[name]
        if self.row.system not in TRAINED:
            draws = tree["generation"]["temperature"] > 0
            for group in ("train", "loss", "lora", *([] if draws else ["seed"])):
                del tree[group]
        return json_fingerprint([self.row.system, tree])

    @property
    def uses_model(self) -> bool:
        """Whether its row shows what the configured backbone does, trained or not."""
        return self.row.system in BY_BACKBONE

    @property
    def sources(self) -> str:
        """A name for where its data and backbone come from; cells of equal sources have equal data, if run today."""
        options = self.config.data.to_dict()
        for drawn_later in ("queries", "pairs", "train_pairs", "pool_notes", "pool"):
            del options[drawn_later]
        return json.dumps([options, self.config.model.path])

    @property
    def folder(self) -> Path:
        """Where it runs."""
        return Path(self.config.run_dir)

    @property
    def error_file(self) -> Path:
        """Where the traceback of a failed run is."""
        return self.folder.with_name(f"{self.folder.name}.error.txt")


@dataclass(frozen=True)
class Study:
    """A table to be made.

    Attributes:
        name: As in ``experiment=NAME``.
        scale: The sizes: they change what it costs and how sure it is, never the method.
        title: Over the table.
        columns: Metrics of the table, in order; see `notellm.studies.METRICS`.
        rows: From top to bottom.
        seeds: Each row that is trained is run with each of them, others with the first.
        against: The row that the others are compared with, query by query.
        cells: Seed by seed, all rows with each: an interrupted study has whole tables of fewer seeds.
        searches: By row: the search that its option comes from.
        ledger: What has been run in its folder.
    """

    name: str
    scale: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    against: str
    cells: tuple[Cell, ...]
    searches: Mapping[str, Search]
    ledger: Ledger

    @property
    def dtypes(self) -> list[str]:
        """What its cells compute in."""
        return sorted({cell.config.dtype for cell in self.cells})

    @property
    def search_cells(self) -> list[Cell]:
        """The runs of all searches, each once."""
        cells = [cell for search in self.searches.values() for cell in search.cells]
        return list({cell.key: cell for cell in cells}.values())

    def choices(self, newest: Mapping[str, Entry] | None = None) -> dict[str, Any]:
        """The value that each row's search has found; rows whose search is not finished are left out."""
        newest = self.ledger.newest() if newest is None else newest
        found = {row: search.choice(newest) for row, search in self.searches.items()}
        return {row: value for row, value in found.items() if value is not None}

    def settled(self) -> Study:
        """The study with what its searches have found by now."""
        found = self.choices()
        return dataclasses.replace(self, cells=tuple(self._settle(cell, found) for cell in self.cells))

    def in_one_dtype(self) -> Study:
        """The study with what ``dtype=auto`` becomes, the same for all its cells: a table mixes no dtypes.

        A study that has begun in its folder goes on in the dtype in which it has more cells; otherwise `resolve_dtype`
        says. So whoever looks at another machine's table sees it whole.
        """
        undecided = [cell for cell in (*self.cells, *self.search_cells) if cell.config.dtype == AUTO]
        if not undecided:
            return self
        here = resolve_dtype(AUTO, undecided[0].config.device)
        dtypes = [here, *({"bf16", "fp32"} - {here})]
        return max((self._in_dtype(dtype) for dtype in dtypes), key=Study._begun)

    def _in_dtype(self, dtype: str) -> Study:
        searches = {
            row: dataclasses.replace(search, cells=[_in_dtype(cell, dtype) for cell in search.cells])
            for row, search in self.searches.items()
        }
        cells = tuple(_in_dtype(cell, dtype) for cell in self.cells)
        return dataclasses.replace(self, cells=cells, searches=searches)

    def _begun(self) -> int:
        """How many cells have a line in the ledger or a run folder."""
        newest, cells = self.ledger.newest(), {cell.key: cell for cell in self.settled().cells}
        cells |= {cell.key: cell for cell in self.search_cells}
        return sum(key in newest or cell.folder.exists() for key, cell in cells.items())

    def _settle(self, cell: Cell, found: Mapping[str, Any]) -> Cell:
        search = self.searches.get(cell.row.key)
        if search is None:
            return cell
        if cell.row.key not in found:
            return dataclasses.replace(cell, is_open=True)
        config = replace(cell.config, {search.options.key: found[cell.row.key]})
        return placed(Cell(cell.row, cell.seed, config), cell.folder.parent)


def _in_dtype(cell: Cell, dtype: str) -> Cell:
    """The cell with a dtype where it leaves that to the machine."""
    if cell.config.dtype != AUTO:
        return cell
    config = replace(cell.config, {"dtype": dtype})
    return placed(dataclasses.replace(cell, config=config), cell.folder.parent)


def placed(cell: Cell, root: Path) -> Cell:
    """The cell with the folder that its key names."""
    key = cell.key
    return dataclasses.replace(cell, config=replace(cell.config, {"name": key, "run_dir": str(root / key)}))
