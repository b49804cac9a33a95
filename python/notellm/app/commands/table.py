"""Prints the table of a study from its ledger: means over seeds, differences, the paper's numbers.

What has not been run, or failed, stays visible.

reads:   the ledger and the run folders that `notellm sweep` left
writes:  standard output, or --output

for example:
  notellm table experiment=table6 scale=smoke
  notellm table experiment=table4 --format latex --output table4.tex --against no_csft
  notellm table experiment=table2 --verdicts --margin 1
"""

import argparse
from pathlib import Path

from notellm.app.commands.sweep import add_study_arguments, read_study

__all__ = ["add_arguments", "run"]

FORMATS = ("terminal", "markdown", "latex", "csv")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    add_study_arguments(parser)
    parser.add_argument("--format", choices=FORMATS, default="terminal")
    parser.add_argument("--against", metavar="ROW", help="compare with this row instead of the study's own")
    parser.add_argument(
        "--verdicts",
        action="store_true",
        help="each comparison instead: its interval, p, whether it is higher, lower, equivalent or undecided, and the "
        "smallest difference that could have been seen with a chance of 80 %%",
    )
    parser.add_argument(
        "--margin",
        type=float,
        default=0.5,
        metavar="POINTS",
        help="the largest difference that does not matter; default: 0.5",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="where it goes")


def run(arguments: argparse.Namespace) -> None:
    """Makes the table and prints or writes it."""
    from notellm.app.studies import make_table
    from notellm.app.studies.printing import show
    from notellm.errors import ConfigError
    from notellm.io.files import atomic_write

    study = read_study(arguments)
    try:
        table = make_table(study, against=arguments.against, margin=arguments.margin)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    shown = table.verdicts() if arguments.verdicts else table
    if arguments.format == "terminal" and arguments.output is None:
        show(shown.terminal())
        return
    render = {"terminal": shown.markdown, "markdown": shown.markdown, "latex": shown.latex, "csv": table.csv}
    text = render[arguments.format]()
    if arguments.output is None:
        print(text, end="")
        return
    with atomic_write(arguments.output) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"the table is {arguments.output}")
