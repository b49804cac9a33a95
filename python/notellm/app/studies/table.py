"""A study's table: means over seeds, differences query by query, and the paper's numbers next to them."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from notellm.app.numbers import one_decimal, signed_points
from notellm.app.studies.cell import Row
from notellm.app.studies.columns import Column
from notellm.app.studies.differences import MARGIN, Key, Paired, compared, comparisons, luck_note
from notellm.app.studies.ledger import Entry
from notellm.app.studies.printing import Escape, Grid, Printable
from notellm.app.studies.runs import NOT_RUN, Run, runs_of
from notellm.app.studies.study import Study
from notellm.app.studies.values import measured
from notellm.evaluation import Comparison, Verdict
from notellm.evaluation.metric_names import AT_CUTOFFS, METRICS
from notellm.models.backbone import backbone_name

PAPER = "paper (private data, 7B)"
MISSING = "\u2013"


@dataclass(frozen=True)
class Score:
    """One number of a table, in percent: its mean and, for two or more seeds, the standard deviation."""

    mean: float
    deviation: float | None

    def __str__(self) -> str:
        spread = "" if self.deviation is None else f" \u00b1 {one_decimal(self.deviation)}"
        return f"{one_decimal(self.mean)}{spread}"


@dataclass(frozen=True)
class TableRow:
    """A row with its measured numbers.

    Attributes:
        name: Its name in the table.
        seeds: Number of finished runs.
        status: Empty if all are finished.
        scores: By column; None if nothing has been measured.
        comparisons: By column of ranks or words: this row minus the row compared with, over the same queries or notes
            and the seeds that both have, in percentage points; None if runs are missing, or do not keep it.
        paper: By column.
    """

    name: str
    seeds: int
    status: str
    scores: Mapping[str, Score | None]
    comparisons: Mapping[str, Comparison | None]
    paper: Mapping[str, float]


@dataclass(frozen=True)
class Table(Printable):
    """A table, ready to be printed.

    Attributes:
        title: Its title.
        columns: Metrics, from left to right.
        rows: From top to bottom.
        against: The row that the others are compared with.
        remarks: How far the luck of training is in intervals, the language model, the results of searches, and whether
            code changed between runs, in words.
        scale_of: The option in which alone the rows differ, by numbers; empty if they differ otherwise.
        margin: The largest difference that does not matter, in points.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[TableRow]
    against: str
    remarks: str = ""
    scale_of: str = ""
    margin: float = MARGIN

    def header(self) -> list[str]:
        """Names of the columns."""
        return ["", *map(column_name, self.columns)]

    def lines(self) -> Iterator[list[str]]:
        """The cells as text: our rows, each followed by the paper's if there is one."""
        for row in self.rows:
            name = f"{row.name} ({row.status})" if row.status else row.name
            yield [name, *(self._cell(row, column) for column in self.columns)]
            if row.paper:
                shown = (row.paper.get(column) for column in self.columns)
                yield [f"  {PAPER}", *(MISSING if value is None else f"{value:.2f}" for value in shown)]

    def _cell(self, row: TableRow, column: str) -> str:
        score, found = row.scores.get(column), row.comparisons.get(column)
        if score is None:
            return MISSING
        if found is None:
            return str(score)
        mark = {Verdict.EQUIVALENT: "=", Verdict.UNDECIDED: ""}.get(found.verdict, "*")
        return f"{score} ({signed_points(found.difference.value)}{mark})"

    def note(self) -> str:
        """Explains the numbers in brackets and the star."""
        count = sum(found is not None for row in self.rows for found in row.comparisons.values())
        return (
            "Percent; mean \u00b1 standard deviation over a row's own seeds. In brackets: difference from "
            f"{self.against} over the same queries, or notes, and the seeds that both have, in points; *: higher or "
            f"lower, =: within \u00b1{self.margin:g} points. The chance that any * is wrong is 5 % over all {count} "
            "comparisons together (Holm), and so is that of any =. Whole targets, or notes, and whole seeds "
            f"are drawn (bootstrap). {self.remarks}".rstrip()
        )

    def grid(self, escape: Escape) -> Grid:
        """The table as text."""
        rows = [replace(row, name=escape(row.name)) for row in self.rows]
        title, against, remarks = (escape(text) for text in (self.title, self.against, self.remarks))
        shown = replace(self, title=title, rows=rows, against=against, remarks=remarks)
        return Grid(title, shown.header(), list(shown.lines()), shown.note(), lambda name: PAPER in name)

    def verdicts(self) -> Verdicts:
        """Each comparison of the table in a line."""
        return Verdicts(self)

    def csv(self) -> str:
        """As CSV: one line per number, not rounded."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        names = [
            "mean",
            "std",
            "seeds",
            "difference",
            "low",
            "high",
            "p",
            "verdict",
            "smallest_seen",
            "paper",
        ]
        writer.writerow(["row", "column", *names])
        for row in self.rows:
            for column in self.columns:
                score, found = row.scores.get(column), row.comparisons.get(column)
                values: list[object] = [score and score.mean, score and score.deviation, row.seeds]
                values += (
                    [*found.difference, found.p, found.verdict.value, found.smallest] if found else [None] * 6
                )
                writer.writerow([row.name, column, *values, row.paper.get(column)])
        return out.getvalue()


@dataclass(frozen=True)
class Verdicts(Printable):
    """The comparisons of a table: what each comes to, and how sure that is.

    Attributes:
        table: The table.
    """

    table: Table

    def grid(self, escape: Escape) -> Grid:
        """The table as text."""
        header = ["", "", "Difference", "95 %", "p", "Verdict", "Could be seen"]
        margin = f"\u00b1{self.table.margin:g} points"
        lines = list(self._lines(escape))
        note = (
            f"Points; row minus {escape(self.table.against)}. Intervals are for each comparison alone; p and verdicts "
            f"hold for all {len(lines)} together (Holm). Equivalent: surely within {margin}. Could be seen: the "
            "smallest true difference that had a chance of 80 % to be called higher or lower. "
            f"{escape(self.table.remarks)}".rstrip()
        )
        return Grid(escape(self.table.title), header, lines, note)

    def _lines(self, escape: Escape) -> Iterator[list[str]]:
        for row in self.table.rows:
            for column, found in row.comparisons.items():
                if found is not None:
                    value, low, high = (signed_points(bound) for bound in found.difference)
                    about = [
                        f"{low} to {high}",
                        f"{found.p:.3f}",
                        found.verdict.value,
                        smallest_text(found.smallest),
                    ]
                    yield [escape(row.name), column_name(column), value, *about]


def smallest_text(points: float) -> str:
    """The smallest difference that could be seen; a dash where nothing is known of it.

    Example:
        >>> smallest_text(1.25), smallest_text(math.inf)
        ('1.2', '–')
    """
    return f"{points:.1f}" if math.isfinite(points) else MISSING


def make_table(study: Study, *, against: str | None = None, margin: float = MARGIN) -> Table:
    """Makes the table of a study from its ledger; rows that have not been run are shown, too.

    Args:
        study: The study.
        against: Key of the row that the others are compared with; by default the study's.
        margin: The largest difference that does not matter, in percentage points.

    Raises:
        ValueError: If there is no such row, or the margin is not above 0.
    """
    keys = {row.key: row for row in study.rows}
    base = study.against if against is None else against
    if base not in keys:
        raise ValueError(f"make_table: against must be one of {', '.join(keys)}, but is {base!r}")
    newest = study.ledger.newest()
    runs = runs_of(study, newest)
    paired, luck = compared(runs, base, study.against, study.columns)
    tested = comparisons(paired, margin, luck)
    rows = []
    for row in study.rows:
        found = {column: one for (key, column), one in tested.items() if key == row.key}
        rows.append(_table_row(study, runs[row.key], found, row.key == base))
    title = f"{study.title} (scale: {study.scale})"
    known = [luck_note(paired, luck), _unknown_targets(paired)]
    remarks = " ".join(filter(None, [*known, _model(runs), _searched(study, newest), _commits(runs)]))
    return Table(title, study.columns, rows, keys[base].name, remarks, _scale_of(study.rows), margin)


def _unknown_targets(paired: Mapping[Key, Paired]) -> str:
    """A sentence, if files of ranks are too old to say which queries share targets."""
    if all(of.knows_targets for of in paired.values()):
        return ""
    return (
        "Runs of older versions do not say which queries share targets: their queries count as independent."
    )


def _model(runs: Mapping[str, Sequence[Run]]) -> str:
    """A sentence on the language model, if a row has used one: its name and dtype."""
    used = [run.cell for of in runs.values() for run in of if run.is_done and run.cell.uses_model]
    names = dict.fromkeys(backbone_name(cell.config.model.path, cell.config.model.layers) for cell in used)
    dtypes = sorted({cell.config.dtype for cell in used})
    return f"Language model: {' / '.join(names)}; products in {' and '.join(dtypes)}." if used else ""


def _commits(runs: Mapping[str, Sequence[Run]]) -> str:
    """A sentence, if the code changed between the runs."""
    done = [run.entry for of in runs.values() for run in of if run.is_done and run.entry]
    commits = {str(entry["commit"]) for entry in done}
    return f"The runs are of {len(commits)} commits; the ledger names them." if len(commits) > 1 else ""


def _scale_of(rows: Sequence[Row]) -> str:
    if len({row.system for row in rows}) > 1:
        return ""
    changes = [text.partition("=") for row in rows for text in row.overrides]
    options = {option for option, _, _ in changes}
    return options.pop() if len(options) == 1 and all(_is_number(value) for _, _, value in changes) else ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _searched(study: Study, newest: Mapping[str, Entry]) -> str:
    """The results of the searches: a sentence for each list of values."""
    names = {row.key: row.name for row in study.rows}
    found: dict[tuple[str, str], list[str]] = {}
    for row, value in study.choices(newest).items():
        search = study.searches[row]
        if search.row == row:
            tried = ", ".join(map(_shown, search.options.values))
            found.setdefault((search.options.key, tried), []).append(f"{names[row]} {_shown(value)}")
    return " ".join(
        f"{key} was chosen among {tried} on validation notes: {'; '.join(rows)}."
        for (key, tried), rows in found.items()
    )


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _table_row(study: Study, runs: Sequence[Run], found: Mapping[str, Comparison], is_base: bool) -> TableRow:
    columns = [] if is_base else [column for column in study.columns if Column.read(column)]
    return TableRow(
        name=runs[0].cell.row.name,
        seeds=sum(run.is_done for run in runs),
        status=_status(runs),
        scores={column: _score(runs, column) for column in study.columns},
        comparisons={column: found.get(column) for column in columns},
        paper=runs[0].cell.row.paper,
    )


def _status(runs: Sequence[Run]) -> str:
    """How many seeds a row has, if that is not all or none, and why it does not have the others."""
    states = [run.state for run in runs if run.state]
    done = len(runs) - len(states)
    share = [f"{done} of {len(runs)} seeds"] if done and states else []
    others = [state for state in dict.fromkeys(states) if not (share and state == NOT_RUN)]
    return ", ".join([*share, *(f"{states.count(state)} {state}" for state in others)])


def _score(runs: Sequence[Run], column: str) -> Score | None:
    found = [measured(run.cell, run.entry, column) for run in runs if run.is_done and run.entry is not None]
    values = [100 * value for value in found if value is not None]
    if not values:
        return None
    return Score(fmean(values), stdev(values) if len(values) > 1 else None)


def column_name(column: str) -> str:
    """The name of a metric in tables.

    Example:
        >>> column_name("recall@100"), column_name("low.recall@10"), column_name("accuracy")
        ('R@100', 'R@10, low', 'Acc.')
    """
    side, _, metric = column.rpartition(".")
    kind, _, k = metric.partition("@")
    if metric == "recall@avg":
        name = "Avg"
    elif k:
        name = f"{AT_CUTOFFS[kind]}@{k}" if kind in AT_CUTOFFS else metric
    else:
        name = METRICS.get(metric, metric)
    return f"{name}, {'by target' if side == 'macro' else side}" if side else name
