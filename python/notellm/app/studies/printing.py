"""Tables of text, for the terminal, Markdown and LaTeX."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from notellm.app.studies.escaping import for_latex, for_markdown

Escape = Callable[[str], str]
"""Makes a name from a configuration or a folder one that is shown as it is."""

ANY_WIDTH = 10_000
"""Columns where the output is no terminal: tables take what they need."""


def show(table: RichTable) -> None:
    """Prints a table: folded to the width of a terminal; elsewhere, such as in a file, as wide as it is."""
    console = Console(markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(markup=False, emoji=False, width=ANY_WIDTH)
    console.print(table)


@dataclass(frozen=True)
class Grid:
    """Cells as text.

    Attributes:
        title: Above them. header: The first cell is that of the names. lines: Each as long as the header.
        note: Below them.
        is_dim: Which lines are less important.
    """

    title: str
    header: Sequence[str]
    lines: Sequence[Sequence[str]]
    note: str
    is_dim: Callable[[str], bool] = lambda name: False


class Printable(ABC):
    """What can be printed as a table."""

    @abstractmethod
    def grid(self, escape: Escape) -> Grid:
        """The table, with names from configurations and folders escaped; numbers and fixed texts are not."""

    def terminal(self) -> RichTable:
        """For `show`, or `rich.print`: a narrow terminal folds cells, and none loses a digit."""
        shown = self.grid(str)
        title, note = Text(shown.title, "table.title"), Text(shown.note, "table.caption")
        table = RichTable(title=title, title_justify="left", box=box.SIMPLE_HEAD, caption=note)
        for place, name in enumerate(shown.header):
            table.add_column(Text(name), justify="right" if place else "left", overflow="fold")
        for line in shown.lines:
            table.add_row(*map(Text, line), style="dim" if shown.is_dim(line[0]) else "")
        return table

    def markdown(self) -> str:
        """As a table of GitHub's Markdown."""
        shown = self.grid(for_markdown)
        rule = ["---", *["---:"] * (len(shown.header) - 1)]
        lines = [
            "| " + " | ".join(cell.strip() for cell in row) + " |"
            for row in [shown.header, rule, *shown.lines]
        ]
        return "\n".join([f"**{shown.title}**", "", *lines, "", shown.note, ""])

    def latex(self) -> str:
        """As a table for the LaTeX package booktabs."""
        shown = self.grid(str)
        head, *body = ([for_latex(cell) for cell in row] for row in [shown.header, *shown.lines])
        rows = [" & ".join(row) + r" \\" for row in body]
        return "\n".join(
            [
                r"\begin{table}",
                rf"\caption{{{for_latex(shown.title)}. {for_latex(shown.note)}}}",
                rf"\begin{{tabular}}{{l{'r' * (len(shown.header) - 1)}}}",
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
