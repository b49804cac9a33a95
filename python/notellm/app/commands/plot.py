"""Draws a study: how retrieval and generation move along its rows, or what its runs say of single queries.

--kind table      the table's columns: curves over alpha or r, otherwise dots, a line for each row
--kind differences
                  how far each row is from the one it is compared with (--against), with intervals and verdicts
--kind recall     Recall@K over K, by query and by target
--kind exposure   Recall@K (--k) by tenths of the queries, by their target's exposure
--kind time       a column of the table (--column) over the minutes that a row's training took
--kind map        embeddings of one row (--row) on a plane, coloured by category

reads:   the ledger that `notellm sweep` left, and its run folders
writes:  --output: .svg, .png or .pdf

for example:
  notellm plot experiment=table6 scale=laptop --output alpha.svg
  notellm plot experiment=table2 scale=laptop --kind exposure --k 10 --output exposure.svg
  notellm plot experiment=levers scale=powered --kind time --column macro.recall@10 --output time.svg
  notellm plot experiment=table2 scale=laptop --kind map --row notellm --output map.png
"""

import argparse
from pathlib import Path

from notellm.app.commands.sweep import add_study_arguments, read_study

__all__ = ["add_arguments", "run"]

KINDS = ("table", "differences", "recall", "exposure", "time", "map")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    add_study_arguments(parser)
    parser.add_argument("--kind", choices=KINDS, default="table")
    parser.add_argument("--k", type=int, help="exposure: the cut-off; default: 10")
    parser.add_argument(
        "--column", metavar="NAME", help="time: such as macro.recall@10; default: the study's first"
    )
    parser.add_argument("--row", metavar="ROW", help="map: whose embeddings; default: the last row's")
    parser.add_argument(
        "--against", metavar="ROW", help="differences: compare with this row instead of the study's own"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="where the picture goes")


def run(arguments: argparse.Namespace) -> None:
    """Draws the picture."""
    from notellm.app.studies import (
        make_table,
        plot_differences,
        plot_exposure,
        plot_map,
        plot_recall,
        plot_table,
        plot_time,
    )
    from notellm.errors import ConfigError
    from notellm.io.outputs import check_output

    for name, kind in (
        ("k", "exposure"),
        ("column", "time"),
        ("row", "map"),
        ("against", "differences"),
    ):
        if getattr(arguments, name) is not None and arguments.kind != kind:
            raise ConfigError(f"--{name}: must come with --kind {kind}, but the kind is {arguments.kind}")
    study, path = read_study(arguments), arguments.output
    check_output(path)  # before a map is computed
    try:
        match arguments.kind:
            case "table":
                plot_table(make_table(study), path)
            case "differences":
                plot_differences(make_table(study, against=arguments.against), path)
            case "recall":
                plot_recall(study, path)
            case "exposure":
                plot_exposure(study, path, k=10 if arguments.k is None else arguments.k)
            case "time":
                plot_time(study, path, column=arguments.column)
            case "map":
                plot_map(study, arguments.row or study.rows[-1].key, path)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    print(f"the picture is {path}")
