"""The cells of a study with what the ledger says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from notellm.app.studies.cell import Cell
from notellm.app.studies.ledger import Entry
from notellm.app.studies.study import Study

NOT_RUN = "not run"


@dataclass(frozen=True)
class Run:
    """A cell and its entry in the ledger."""

    cell: Cell
    entry: Entry | None
    is_stale: bool = False

    @property
    def is_done(self) -> bool:
        """Whether it has numbers that belong in the table."""
        is_known = self.entry is not None and not self.cell.is_open
        return is_known and self.entry["status"] == "done" and not self.is_stale  # type: ignore[index]

    @property
    def state(self) -> str:
        """Why it has no numbers; empty if it has."""
        if self.is_done:
            return ""
        if self.entry is None or self.cell.is_open:
            return NOT_RUN
        if self.entry["status"] == "begun":
            return "not finished"
        return "on other data" if self.is_stale else "failed"

    def of_data(self, newest: _Newest) -> Run:
        """The same run, marked stale if it was run on other data than the newest from its sources."""
        is_done = self.entry is not None and self.entry["status"] == "done"
        return replace(self, is_stale=is_done and not newest.holds(self))


@dataclass(frozen=True)
class _Newest:
    """The names of the newest data: by the sources of data, and by those of the catalogue that all splits share."""

    data: Mapping[str, str]
    catalogues: Mapping[str, str]

    @classmethod
    def of(cls, runs: Sequence[Run]) -> _Newest:
        done = [(run.cell, run.entry) for run in runs if run.entry and run.entry["status"] == "done"]
        done.sort(key=lambda pair: str(pair[1]["finished"]))  # the last one of equal sources is kept
        return cls(
            {cell.sources: entry["data"] for cell, entry in done},
            {cell.catalogue: entry["catalogue"] for cell, entry in done if entry.get("catalogue")},
        )

    def holds(self, run: Run) -> bool:
        """Whether a finished run is on these data; entries of older versions do not say of which catalogue they are."""
        entry = run.entry or {}
        catalogue = entry.get("catalogue") or self.catalogues.get(run.cell.catalogue, "")
        is_same = catalogue == self.catalogues.get(run.cell.catalogue, "")
        return is_same and bool(entry["data"] == self.data[run.cell.sources])


def runs_of(study: Study, newest: Mapping[str, Entry]) -> dict[str, list[Run]]:
    """By the key of each row: its runs, seed by seed; those on older data are stale."""
    runs = {
        row.key: [Run(cell, newest.get(cell.key)) for cell in study.cells if cell.row.key == row.key]
        for row in study.rows
    }
    data = _Newest.of([run for of in runs.values() for run in of])
    return {key: [run.of_data(data) for run in of] for key, of in runs.items()}
