"""Escapes names for tables, so that nothing in them is markup for Markdown or LaTeX."""

import re

LATEX = str.maketrans(
    {character: f"\\{character}" for character in "#${}_&%"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
    | {"[": "{[}", "*": "{*}"}  # at the beginning of a row they would be arguments of the \\ before it
    | {"\u00b1": r"$\pm$", "\u2013": "--"}
)


def for_markdown(text: str) -> str:
    r"""On one line, every character as itself; in a table's cell, too.

    Example:
        >>> print(for_markdown("a|b *c* d_e _f_"))
        a\|b \*c\* d_e \_f\_
    """
    special = r"[\\`*~<&$|[]|\b_|_\b"  # inside a word, an underscore is one
    return re.sub(special, r"\\\g<0>", " ".join(text.split()))


def for_latex(text: str) -> str:
    r"""On one line, every character as itself.

    Example:
        >>> print(for_latex("50 % of a_b"))
        50 \% of a\_b
    """
    return " ".join(text.split()).translate(LATEX)
