"""A study's table: means over seeds, differences query by query, and the paper's numbers next to them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

import numpy as np
from rich import box
from rich.markup import escape as for_rich
from rich.table import Table as RichTable

from notellm.app.studies.cell import Cell, Row
from notellm.app.studies.escaping import for_latex, for_markdown
from notellm.app.studies.ledger import Entry
from notellm.app.studies.ranks import hits_of
from notellm.app.studies.study import METRICS, Study
from notellm.metrics import Interval, bootstrap_difference
from notellm.models.backbone import backbone_name

PAPER = "paper (private data, 7B)"
MISSING = "\u2013"


@dataclass(frozen=True)
class Score:
    """One number of a table, in percent: its mean and, for two or more seeds, the standard deviation."""

    mean: float
    deviation: float | None

    def __str__(self) -> str:
        spread = "" if self.deviation is None else f" \u00b1 {self.deviation:.1f}"
        return f"{self.mean:.1f}{spread}"


@dataclass(frozen=True)
class TableRow:
    """A row with its measured numbers.

    Attributes:
        name: Its name in the table.
        seeds: Number of finished runs.
        status: Empty if all are finished.
        scores: By column; None if nothing has been measured.
        difference: By recall column: mean of this row minus that of the row compared with, over the same queries and
            the seeds that both have, in percentage points, with its 95 % interval; None if runs are missing.
        paper: By column.
    """

    name: str
    seeds: int
    status: str
    scores: Mapping[str, Score | None]
    difference: Mapping[str, Interval | None]
    paper: Mapping[str, float]


@dataclass(frozen=True)
class Table:
    """A table, ready to be printed.

    Attributes:
        title: Its title.
        columns: Metrics, from left to right.
        rows: From top to bottom.
        against: The row that the others are compared with.
        remarks: The language model, the results of searches, and whether code changed between runs, in words.
        scale_of: The option in which alone the rows differ, by numbers; empty if they differ otherwise.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[TableRow]
    against: str
    remarks: str = ""
    scale_of: str = ""

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
        score, difference = row.scores.get(column), row.difference.get(column)
        if score is None:
            return MISSING
        if difference is None:
            return str(score)
        star = "*" if difference.low > 0 or difference.high < 0 else ""
        return f"{score} ({round(difference.value, 1) + 0.0:+.1f}{star})"  # no -0.0

    def note(self) -> str:
        """Explains the numbers in brackets and the star."""
        return (
            f"Percent; mean \u00b1 standard deviation over seeds. In brackets: difference from {self.against} over the "
            "same queries and seeds, in points; *: its paired 95 % bootstrap interval over queries leaves out 0. "
            f"The luck of training is in the deviation only. {self.remarks}".rstrip()
        )

    def _with_texts(self, escape: Callable[[str], str]) -> Table:
        """The same table, with names from configurations and folders escaped; cells and fixed texts are not."""
        rows = [replace(row, name=escape(row.name)) for row in self.rows]
        title, against, remarks = (escape(text) for text in (self.title, self.against, self.remarks))
        return replace(self, title=title, rows=rows, against=against, remarks=remarks)

    def terminal(self) -> RichTable:
        """For `rich.print`."""
        shown = self._with_texts(for_rich)
        table = RichTable(title=shown.title, title_justify="left", box=box.SIMPLE_HEAD, caption=shown.note())
        for place, name in enumerate(shown.header()):
            table.add_column(name, justify="right" if place else "left", no_wrap=True)
        for line in shown.lines():
            table.add_row(*line, style="dim" if PAPER in line[0] else "")
        return table

    def markdown(self) -> str:
        """As a table of GitHub's Markdown."""
        shown = self._with_texts(for_markdown)
        rule = ["---", *["---:"] * len(shown.columns)]
        rows = [shown.header(), rule, *shown.lines()]
        lines = ["| " + " | ".join(cell.strip() for cell in row) + " |" for row in rows]
        return "\n".join([f"**{shown.title}**", "", *lines, "", shown.note(), ""])

    def latex(self) -> str:
        """As a table for the LaTeX package booktabs."""
        head, *body = ([for_latex(cell) for cell in row] for row in [self.header(), *self.lines()])
        rows = [" & ".join(row) + r" \\" for row in body]
        return "\n".join(
            [
                r"\begin{table}",
                rf"\caption{{{for_latex(self.title)}. {for_latex(self.note())}}}",
                rf"\begin{{tabular}}{{l{'r' * len(self.columns)}}}",
                r"\toprule",
                " & ".join(head) + r" \\",
                r"\midrule",
                *rows,
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
                "",
            ]
        )

    def csv(self) -> str:
        """As CSV: one line per number, not rounded."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        names = ["mean", "std", "seeds", "difference", "low", "high", "paper"]
        writer.writerow(["row", "column", *names])
        for row in self.rows:
            for column in self.columns:
                score, change = row.scores.get(column), row.difference.get(column)
                values = [score and score.mean, score and score.deviation, row.seeds]
                values += list(change) if change else [None] * 3
                writer.writerow([row.name, column, *values, row.paper.get(column)])
        return out.getvalue()


def make_table(study: Study, *, against: str | None = None) -> Table:
    """Makes the table of a study from its ledger; rows that have not been run are shown, too.

    Args:
        study: The study.
        against: Key of the row that the others are compared with; by default the study's.

    Raises:
        ValueError: If there is no such row.
    """
    keys = {row.key: row for row in study.rows}
    base = study.against if against is None else against
    if base not in keys:
        raise ValueError(f"make_table: against must be one of {', '.join(keys)}, but is {base!r}")
    newest = study.ledger.newest()
    runs = runs_of(study, newest)
    rows = [_table_row(study, runs[row.key], runs[base]) for row in study.rows]
    title = f"{study.title} (scale: {study.scale})"
    remarks = " ".join(filter(None, [_model(runs), _searched(study, newest), _commits(runs)]))
    return Table(title, study.columns, rows, keys[base].name, remarks, _scale_of(study.rows))


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


def _table_row(study: Study, runs: Sequence[Run], base: Sequence[Run]) -> TableRow:
    states = [run.state for run in runs if run.state]
    status = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    is_base = runs[0].cell.row.key == base[0].cell.row.key
    recalls = [] if is_base else [column for column in study.columns if "recall@" in column]
    return TableRow(
        name=runs[0].cell.row.name,
        seeds=sum(run.is_done for run in runs),
        status=status,
        scores={column: _score(runs, column) for column in study.columns},
        difference={column: _difference(runs, base, column) for column in recalls},
        paper=runs[0].cell.row.paper,
    )


def _score(runs: Sequence[Run], column: str) -> Score | None:
    found = [
        run.entry["metrics"].get(run.cell.row.metric(column)) for run in runs if run.is_done and run.entry
    ]
    values = [100 * value for value in found if value is not None]
    if not values:
        return None
    return Score(fmean(values), stdev(values) if len(values) > 1 else None)


def _difference(runs: Sequence[Run], base: Sequence[Run], column: str) -> Interval | None:
    """The paired difference. Each query's hits are means over the seeds of both rows; a row without seeds fits any."""
    mine, theirs = ({run.cell.seed: run for run in of if run.is_done} for of in (runs, base))
    if len(runs) > 1 and len(base) > 1:
        both = mine.keys() & theirs.keys()
        mine, theirs = ({seed: of[seed] for seed in sorted(both)} for of in (mine, theirs))
    used = [*mine.values(), *theirs.values()]
    if not mine or not theirs or len({run.entry["queries"] for run in used if run.entry}) > 1:
        return None
    hits = [[hits_of(run.cell, column) for run in of.values()] for of in (mine, theirs)]
    there = [[own for own in of if own is not None] for of in hits]
    if len(there[0]) < len(mine) or len(there[1]) < len(theirs) or not len(there[0][0]):
        return None
    found = bootstrap_difference(*(np.mean(of, axis=0) for of in there))
    return Interval(*(100 * value for value in found))


def column_name(column: str) -> str:
    """The name of a metric in tables.

    Example:
        >>> column_name("recall@100"), column_name("low.recall@10"), column_name("accuracy")
        ('R@100', 'R@10, low', 'Acc.')
    """
    side, _, metric = column.rpartition(".")
    if metric == "recall@avg":
        name = "Avg"
    elif metric.startswith("recall@"):
        name = metric.replace("recall@", "R@")
    else:
        name = METRICS.get(metric, metric)
    return f"{name}, {side}" if side else name
