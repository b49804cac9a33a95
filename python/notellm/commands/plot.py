"""Draws the table of a study: how retrieval and generation move along its rows.

reads:   the ledger that `notellm sweep` left
writes:  --output: .svg, .png or .pdf

for example:
  notellm plot experiment=table6 scale=laptop --output alpha.svg
"""

import argparse
from pathlib import Path

from notellm.commands.sweep import add_study_arguments, read_study

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    add_study_arguments(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="where the picture goes")


def run(arguments: argparse.Namespace) -> None:
    """Draws the picture."""
    from notellm.errors import ConfigError
    from notellm.studies import make_table, plot_table

    table = make_table(read_study(arguments))
    try:
        print(f"the picture is {plot_table(table, arguments.output)}")
    except ValueError as error:
        raise ConfigError(str(error)) from error
