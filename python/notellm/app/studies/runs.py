"""The cells of a study with what the ledger says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from notellm.app.studies.cell import Cell
from notellm.app.studies.ledger import Entry
from notellm.app.studies.study import Study


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
            return "not run"
        if self.entry["status"] == "begun":
            return "not finished"
        return "on other data" if self.is_stale else "failed"

    def of_data(self, newest: Mapping[str, str]) -> Run:
        """The same run, marked stale if it was run on other data than the newest from its sources."""
        is_done = self.entry is not None and self.entry["status"] == "done"
        return replace(self, is_stale=is_done and self.entry["data"] != newest[self.cell.sources])  # type: ignore[index]


def runs_of(study: Study, newest: Mapping[str, Entry]) -> dict[str, list[Run]]:
    """By the key of each row: its runs, seed by seed; those on older data are stale."""
    runs = {
        row.key: [Run(cell, newest.get(cell.key)) for cell in study.cells if cell.row.key == row.key]
        for row in study.rows
    }
    data = _newest_data([run for of in runs.values() for run in of])
    return {key: [run.of_data(data) for run in of] for key, of in runs.items()}


def _newest_data(runs: Sequence[Run]) -> dict[str, str]:
    """By sources: the name of their newest data. If data have changed, a table shows only runs on the newest."""
    done = [(run.cell.sources, run.entry) for run in runs if run.entry and run.entry["status"] == "done"]
    done.sort(key=lambda pair: str(pair[1]["finished"]))
    return {sources: str(entry["data"]) for sources, entry in done}  # the last one of equal sources is kept
