"""Pictures of studies in documents: each says in itself of which records it was drawn, so that an old one is found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from notellm.app.studies import (
    Study,
    make_table,
    plot_differences,
    plot_exposure,
    plot_recall,
    plot_table,
    plot_time,
)
from notellm.app.studies.runs import Run
from notellm.io.fingerprints import Fingerprint

KINDS = {
    "table": lambda study, path: plot_table(make_table(study), path),
    "differences": lambda study, path: plot_differences(make_table(study), path),
    "recall": plot_recall,
    "exposure": plot_exposure,
    "time": lambda study, path: plot_time(study, path, column="macro.recall@10"),
}
"""As `notellm plot --kind` names them, without maps: these need vectors, which are not kept here. Time is shown for the
column that the text tells of."""


@dataclass(frozen=True)
class Picture:
    """A picture of a study, and what it must have been drawn of.

    Attributes:
        study: The study.
        kind: Of `KINDS`.
        records: A name for the records of its finished runs.
    """

    study: Study
    kind: str
    records: str

    @classmethod
    def of(cls, study: Study, kind: str, runs: Mapping[str, Sequence[Run]]) -> Picture:
        """The picture that a study's runs give."""
        if kind not in KINDS:
            raise ValueError(f"findings: pictures are of {', '.join(KINDS)}, but {kind} is wanted")
        drawn = [
            (row.name, run.cell.seed, run.entry["metrics"], run.entry["training_seconds"])
            for row in study.rows
            for run in runs[row.key]
            if run.entry is not None and run.is_done
        ]
        said = [kind, study.title, study.columns, study.against, drawn]
        return cls(study, kind, Fingerprint(8).add_json(said).name())

    @property
    def path(self) -> Path:
        """Beside the ledger."""
        ending = "" if self.kind == "table" else f"_{self.kind}"
        return self.study.ledger.path.with_name(f"{self.study.name}{ending}.svg")

    @property
    def is_current(self) -> bool:
        """Whether the file was drawn of these records."""
        return self.path.exists() and self._mark in self.path.read_text(encoding="utf-8")

    def write(self) -> None:
        """Draws it."""
        KINDS[self.kind](self.study, self.path)
        self.path.write_text(self.path.read_text(encoding="utf-8") + self._mark, encoding="utf-8")

    @property
    def _mark(self) -> str:
        return f"<!-- drawn of records {self.records} -->\n"
