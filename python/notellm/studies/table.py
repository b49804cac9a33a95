"""A study's table: means over seeds, differences query by query, and the paper's numbers beside."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np
from rich import box
from rich.table import Table as RichTable

from notellm.metrics import Interval, bootstrap_difference
from notellm.studies.ledger import Entry
from notellm.studies.study import Row, Study
from notellm.studies.sweep import hits_of, ledger_of

COLUMNS = {
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
"""What tables call a metric; ``recall@K``, and with ``low.`` or ``high.`` before it by exposure, need no entry."""

PAPER = "paper (private data, 7B)"
MISSING = "\u2013"


@dataclass(frozen=True)
class Score:
    """One number of a table, in percent: its mean and, of two or more seeds, the standard deviation."""

    mean: float
    deviation: float | None

    def __str__(self) -> str:
        spread = "" if self.deviation is None else f" \u00b1 {self.deviation:.1f}"
        return f"{self.mean:.1f}{spread}"


@dataclass(frozen=True)
class TableRow:
    """A row with what has been measured of it.

    Attributes:
        name: What the table calls it.
        seeds: Finished runs, of so many.
        status: Empty if all are finished.
        scores: By column; None where nothing has been measured.
        difference: By recall column: mean of this row minus that of the row compared with, over the same queries, in
            percentage points, with its 95 % interval; None for that row itself and where runs are missing.
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
    """A table, ready to be printed."""

    title: str
    columns: Sequence[str]
    rows: Sequence[TableRow]
    against: str

    def header(self) -> list[str]:
        """Names of the columns."""
        return ["", *map(column_name, self.columns)]

    def lines(self) -> Iterator[list[str]]:
        """The cells as text: our rows, each followed by the paper's where there is one."""
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
        return f"{score} ({difference.value:+.1f}{star})"

    def note(self) -> str:
        """What the numbers in brackets and the star are."""
        return (
            f"Percent; mean \u00b1 standard deviation over seeds. In brackets: difference from {self.against} over the "
            "same queries, in points; *: its paired 95 % bootstrap interval leaves out 0."
        )

    def terminal(self) -> RichTable:
        """For `rich.print`."""
        table = RichTable(title=self.title, title_justify="left", box=box.SIMPLE_HEAD, caption=self.note())
        for place, name in enumerate(self.header()):
            table.add_column(name, justify="right" if place else "left", no_wrap=True)
        for line in self.lines():
            table.add_row(*line, style="dim" if PAPER in line[0] else "")
        return table

    def markdown(self) -> str:
        """As a table of GitHub's Markdown."""
        rule = ["---", *["---:"] * len(self.columns)]
        rows = [self.header(), rule, *self.lines()]
        lines = ["| " + " | ".join(cell.strip() for cell in row) + " |" for row in rows]
        return "\n".join([f"**{self.title}**", "", *lines, "", self.note(), ""])

    def latex(self) -> str:
        """As a table for the LaTeX package booktabs."""
        head, *body = ([_latex(cell.strip()) for cell in row] for row in [self.header(), *self.lines()])
        rows = [" & ".join(row) + r" \\" for row in body]
        return "\n".join(
            [
                r"\begin{table}",
                rf"\caption{{{_latex(self.title)}. {_latex(self.note())}}}",
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
        """As CSV: a line for each number, nothing rounded."""
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
    """Makes the table of a study from its ledger; what has not been run stays visible.

    Args:
        study: The study.
        against: Key of the row that the others are compared with; by default the study's.

    Raises:
        ValueError: If there is no such row.
    """
    finished, keys = ledger_of(study).entries(), {row.key: row for row in study.rows}
    base = study.against if against is None else against
    if base not in keys:
        raise ValueError(f"make_table: against must be one of {', '.join(keys)}, but is {base!r}")
    newest = {entry["key"]: entry for entry in finished}
    by_row: dict[str, list[Entry]] = {
        row.key: [newest[c.key] for c in study.cells if c.row == row and c.key in newest]
        for row in study.rows
    }
    rows = [_table_row(study, row, by_row[row.key], keys[base], by_row[base]) for row in study.rows]
    scale = f"{study.title} (scale: {study.scale})"
    return Table(scale, study.columns, rows, keys[base].name)


def _table_row(
    study: Study, row: Row, entries: Sequence[Entry], base: Row, base_entries: Sequence[Entry]
) -> TableRow:
    done = [entry for entry in entries if entry["status"] == "done"]
    failed, missing = len(entries) - len(done), len(study.seeds) - len(entries)
    status = ", ".join(
        text for text, count in ((f"{failed} failed", failed), (f"{missing} not run", missing)) if count
    )
    base_done = [entry for entry in base_entries if entry["status"] == "done"]
    return TableRow(
        name=row.name,
        seeds=len(done),
        status=status,
        scores={column: _score(done, column) for column in study.columns},
        difference={
            column: _difference(row, done, base, base_done, column)
            for column in study.columns
            if column.startswith("recall@") and row.key != base.key
        },
        paper=row.paper,
    )


def _score(entries: Sequence[Entry], column: str) -> Score | None:
    values = [100 * entry["metrics"][column] for entry in entries if column in entry["metrics"]]
    if not values:
        return None
    return Score(fmean(values), stdev(values) if len(values) > 1 else None)


def _difference(
    row: Row, entries: Sequence[Entry], base: Row, base_entries: Sequence[Entry], column: str
) -> Interval | None:
    """Each query's hits are means over the seeds: the interval is that of the queries' luck."""
    if not entries or not base_entries or len({entry["data"] for entry in [*entries, *base_entries]}) > 1:
        return None
    k = int(column.removeprefix("recall@"))
    mine, theirs = (
        np.mean([hits_of(entry["folder"], of.system, k) for entry in some], axis=0)
        for of, some in ((row, entries), (base, base_entries))
    )
    if mine.shape != theirs.shape:  # other queries
        return None
    found = bootstrap_difference(mine, theirs)
    return Interval(*(100 * value for value in found))


def column_name(column: str) -> str:
    """What a table calls a metric.

    Example:
        >>> column_name("recall@100"), column_name("low.recall@10"), column_name("accuracy")
        ('R@100', 'R@10, low', 'Acc.')
    """
    side, _, metric = column.rpartition(".")
    name = metric.replace("recall@", "R@") if metric.startswith("recall@") else COLUMNS.get(metric, metric)
    return f"{name}, {side}" if side else name


def _latex(text: str) -> str:
    for plain, escaped in (("%", r"\%"), ("&", r"\&"), ("_", r"\_"), ("\u00b1", r"$\pm$"), ("\u2013", "--")):
        text = text.replace(plain, escaped)
    return text
