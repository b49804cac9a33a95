"""Says how many seeds and queries a wished effect needs, from the runs that a study has.

For every row and column of the study's table: the smallest difference that could be seen now, and what
would let a difference of --effect points be seen with a chance of 80 %.

reads:   the ledger and the run folders that `notellm sweep` left
writes:  standard output

for example:
  notellm power experiment=table2 --effect 1
  notellm power experiment=table4 scale=laptop --effect 0.5 --against no_csft
"""

import argparse

from notellm.app.commands.sweep import add_study_arguments, read_study

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    add_study_arguments(parser)
    parser.add_argument(
        "--effect", type=float, default=1.0, metavar="POINTS", help="the difference to be seen; default: 1"
    )
    parser.add_argument("--against", metavar="ROW", help="compare with this row instead of the study's own")
    parser.add_argument("--format", choices=("terminal", "markdown", "latex"), default="terminal")


def run(arguments: argparse.Namespace) -> None:
    """Makes the table and prints it."""
    from notellm.app.studies import make_power
    from notellm.app.studies.printing import show
    from notellm.errors import ConfigError

    try:
        table = make_power(read_study(arguments), arguments.effect, against=arguments.against)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if arguments.format == "terminal":
        show(table.terminal())
    else:
        print(table.markdown() if arguments.format == "markdown" else table.latex(), end="")
