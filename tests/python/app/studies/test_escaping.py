"""Names of studies and rows come from configurations: in every kind of table they are shown as they are."""

import io

import pytest
from rich.console import Console

from notellm.app.studies import Table
from notellm.app.studies.table import TableRow

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
