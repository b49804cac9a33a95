"""Writes report.html, one file that needs no network: tables, curves, examples, how it was made.

reads:   what the other verbs left in the run folder; parts that are missing are left out
writes:  report.html in the run folder

for example:
  notellm report --run runs/demo
"""

import argparse
from pathlib import Path

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("--run", type=Path, required=True, metavar="DIR", help="the run folder")


def run(arguments: argparse.Namespace) -> None:
    """Writes the report and prints its path."""
    from notellm.app.report import write_report

    print(f"the report is {write_report(arguments.run)}")
