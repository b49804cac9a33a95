"""Names of studies and rows come from configurations: in every kind of table they are shown as they are."""

import io

import pytest
from rich.console import Console

from notellm.app.studies import Table
from notellm.app.studies.printing import show
from notellm.app.studies.table import Score, TableRow
from notellm.evaluation import Comparison, Verdict
from notellm.metrics import Interval

NAME = r"[a|b](c) \ *d* _e_ ~f~ `g` <h> $x^2$ {i} #1 50 % & j_k"


@pytest.fixture
def table():
    """Names that mean much to Markdown, LaTeX and rich; the last is of two lines."""
    names = (NAME, f"[red]{NAME}", "two\n  lines")
    rows = [TableRow(name, 0, "1 not run", {}, {}, {"mrr": 1.0}) for name in names]
    return Table(NAME, ["mrr"], rows, NAME, remarks=f"Language model: {NAME}.")


def test_in_markdown(table):
    escaped = r"\[a\|b](c) \\ \*d\* \_e\_ \~f\~ \`g\` \<h> \$x^2\$ {i} #1 50 % \& j_k"
    title, _, _, _, first, paper, second, _, third, _, _, note, _ = table.markdown().split("\n")
    assert title == f"**{escaped}**"
    assert first == f"| {escaped} (1 not run) | \u2013 |"
    assert paper == "| paper (private data, 7B) | 1.00 |"
    assert second == f"| \\[red]{escaped} (1 not run) | \u2013 |"
    assert third == "| two lines (1 not run) | \u2013 |"
    assert f"difference from {escaped} over" in note
    assert note.endswith(f" Language model: {escaped}.")


def test_in_latex(table):
    escaped = (
        r"{[}a\textbar{}b](c) \textbackslash{} {*}d{*} \_e\_ \textasciitilde{}f\textasciitilde{} "
        r"`g` \textless{}h\textgreater{} \$x\textasciicircum{}2\$ \{i\} \#1 50 \% \& j\_k"
    )
    lines = table.latex().split("\n")
    assert lines[1].startswith(rf"\caption{{{escaped}. Percent; mean $\pm$ standard deviation")
    assert f"difference from {escaped} over" in lines[1]
    assert lines[1].endswith(f" Language model: {escaped}.}}")
    first, _, second, _, third, _ = lines[6:12]
    assert first == rf"{escaped} (1 not run) & -- \\"
    assert second == rf"{{[}}red]{escaped} (1 not run) & -- \\"
    assert third == r"two lines (1 not run) & -- \\"


def test_on_a_terminal(table):
    out = io.StringIO()
    Console(file=out, width=400).print(table.terminal())
    shown = " ".join(out.getvalue().split())
    assert f" [red]{NAME} (1 not run)" in shown
    assert shown.count(NAME) == 5  # title, two rows, twice in the note


@pytest.fixture
def wide():
    """Twelve columns of long cells, and a name that rich would read as a picture."""
    columns = [f"recall@{k}" for k in range(1, 13)]
    scores = {column: Score(12.5, 0.8) for column in columns}
    found = Comparison(Interval(1.2, 1.0, 1.5), 0.001, 0.9, 0.5, Verdict.HIGHER)
    return Table("T", columns, [TableRow("a:b:c", 3, "", scores, dict.fromkeys(columns, found), {})], "base")


CELL = "12.5 \u00b1 0.8 (+1.2*)"


def test_where_there_is_no_terminal_nothing_is_cut(wide, capsys):
    show(wide.terminal())
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "a:b:c" in line]
    assert row.count(CELL) == 12


def test_on_a_narrow_terminal_cells_are_folded(wide):
    out = io.StringIO()
    Console(file=out, width=80).print(wide.terminal())
    shown = out.getvalue()
    assert "\u2026" not in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert shown.count("*") > 12  # one in the note
