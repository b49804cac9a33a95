"""How many seeds, or queries, the comparisons of a study need for a wished effect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from notellm.app.studies.differences import Paired, compared, variances
from notellm.app.studies.printing import Escape, Grid, Printable
from notellm.app.studies.runs import runs_of
from notellm.app.studies.study import Study
from notellm.app.studies.table import MISSING, column_name, smallest_text
from notellm.evaluation.power import MOST_SEEDS, MOST_TIMES, Needed, needed


@dataclass(frozen=True)
class PowerRow:
    """A comparison: the names of its row and column, how it was measured, and what it needs."""

    row: str
    column: str
    paired: Paired
    needed: Needed


@dataclass(frozen=True)
class PowerTable(Printable):
    """What every comparison of a study needs.

    Attributes:
        title: The study's. against: The row that the others are compared with.
        effect: The wished effect, in percentage points.
        rows: One for each comparison that has been measured.
    """

    title: str
    against: str
    effect: float
    rows: Sequence[PowerRow]

    def grid(self, escape: Escape) -> Grid:
        """The table as text."""
        header = ["", "", "Seeds", "Queries", "Targets", "Seen now", "Seeds", "or queries", "or both"]
        note = (
            f"Seen now: the smallest difference from {escape(self.against)}, in points, that is found with a chance of "
            f"80 %, at 5 % over all {len(self.rows)} comparisons together. Then what {self.effect:g} points need: "
            f"seeds, with the queries there are (at most {MOST_SEEDS}; not known where no row has several); or "
            f"queries, with as many more targets and the seeds there are (at most {MOST_TIMES:g} times as many); or "
            "both, for which runs times queries are fewest."
        )
        return Grid(escape(self.title), header, list(self._lines(escape)), note)

    def _lines(self, escape: Escape) -> Iterator[list[str]]:
        for row in self.rows:
            variance, found = row.paired.resampled.variance, row.needed
            queries = MISSING if found.times is None else f"{round(found.times * row.paired.queries):,}"
            seeds = MISSING if found.seeds is None else str(found.seeds)
            design = [str(variance.seeds), f"{row.paired.queries:,}", f"{variance.targets:,}"]
            both = MISSING
            if found.both is not None:
                both = f"{found.both[0]} x {round(found.both[1] * row.paired.queries):,}"
            yield [
                escape(row.row),
                column_name(row.column),
                *design,
                smallest_text(found.now),
                seeds,
                queries,
                both,
            ]


def make_power(study: Study, effect: float, *, against: str | None = None) -> PowerTable:
    """Plans a study from what its finished runs say of their spread.

    Args:
        study: The study.
        effect: In percentage points, above 0.
        against: Key of the row that the others are compared with; by default the study's.

    Raises:
        ValueError: If there is no such row, the effect is not above 0, or no comparison has been measured.
    """
    names = {row.key: row.name for row in study.rows}
    base = study.against if against is None else against
    if base not in names:
        raise ValueError(f"make_power: against must be one of {', '.join(names)}, but is {base!r}")
    runs = runs_of(study, study.ledger.newest())
    found, luck = compared(runs, base, study.against, study.columns)
    if not found:
        raise ValueError(
            f"make_power: {base} and another row must have been run, on the same queries, but have not; try notellm "
            "sweep, with a few seeds"
        )
    rows = [
        PowerRow(names[row], column, paired, needed(variance, effect=effect, comparisons=len(found)))
        for ((row, column), paired), variance in zip(found.items(), variances(found, luck), strict=True)
    ]
    return PowerTable(f"{study.title} (scale: {study.scale})", names[base], effect, rows)
