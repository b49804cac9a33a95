"""A study: rows, each a change of one configuration, and seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from notellm.app.config import replace
from notellm.app.studies.cell import Cell, Row, in_dtype, placed
from notellm.app.studies.ledger import Entry, Ledger
from notellm.app.studies.search import Search
from notellm.precision import AUTO, resolve_dtype


@dataclass(frozen=True)
class Study:
    """A table to be made.

    Attributes:
        name: As in ``experiment=NAME``.
        scale: The sizes: they change cost and certainty, never the method.
        title: Title of the table.
        columns: Metrics of the table, in order; see `notellm.evaluation.metric_names`.
        rows: From top to bottom.
        seeds: Each row is run with each of them that changes its numbers: a row that is not trained only with the
            first, unless the split varies with the seed.
        against: The row that the others are compared with, query by query.
        cells: All rows with the first seed, then with the next: an interrupted study has complete tables of fewer
            seeds.
        searches: By row: the search for its option.
        ledger: The ledger of its folder.
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
        """The dtypes of its cells."""
        return sorted({cell.config.dtype for cell in self.cells})

    @property
    def search_cells(self) -> list[Cell]:
        """The runs of all searches, each once."""
        cells = [cell for search in self.searches.values() for cell in search.cells]
        return list({cell.key: cell for cell in cells}.values())

    def rows_of(self, cell: Cell) -> set[str]:
        """Keys of the rows that a run is for: that of a search may be for several rows."""
        if not cell.searched:
            return {cell.row.key}
        return {
            row for row, search in self.searches.items() if any(of.key == cell.key for of in search.cells)
        }

    def choices(self, newest: Mapping[str, Entry] | None = None) -> dict[str, Any]:
        """The value that each row's search has found; rows whose search is not finished are left out."""
        newest = self.ledger.newest() if newest is None else newest
        found = {row: search.choice(newest) for row, search in self.searches.items()}
        return {row: value for row, value in found.items() if value is not None}

    def settled(self) -> Study:
        """The study with the values that its searches have found so far."""
        found = self.choices()
        return dataclasses.replace(self, cells=tuple(self._settle(cell, found) for cell in self.cells))

    def in_one_dtype(self) -> Study:
        """The study with ``dtype=auto`` resolved, the same for all its cells: a table does not mix dtypes.

        A study that has begun in its folder keeps the dtype of most of its cells; otherwise `resolve_dtype` decides. So
        a table from another machine is shown completely.
        """
        undecided = [cell for cell in (*self.cells, *self.search_cells) if cell.config.dtype == AUTO]
        if not undecided:
            return self
        here = resolve_dtype(AUTO, undecided[0].config.device)
        dtypes = [here, *({"bf16", "fp32"} - {here})]
        return max((self._in_dtype(dtype) for dtype in dtypes), key=Study._begun)

    def _in_dtype(self, dtype: str) -> Study:
        searches = {
            row: dataclasses.replace(search, cells=[in_dtype(cell, dtype) for cell in search.cells])
            for row, search in self.searches.items()
        }
        cells = tuple(in_dtype(cell, dtype) for cell in self.cells)
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
