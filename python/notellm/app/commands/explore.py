"""Writes explore.html, one file that needs no network: maps of the notes, search, neighbours before and after training.

Two runs are shown side by side with --other: the notes that both have evaluated, each run with its own vectors.

reads:   config.yaml, embeddings/ and pairs.parquet of a run that has been evaluated, and its data
writes:  explore.html in the run folder, or --output

for example:
  notellm explore --run runs/demo
  notellm explore --run runs/demo --other runs/longer --output both.html
"""

import argparse
from pathlib import Path

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("--run", type=Path, required=True, metavar="DIR", help="the run folder")
    parser.add_argument("--other", type=Path, metavar="DIR", help="a second one, to be seen beside it")
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: explore.html in the run folder")
    parser.add_argument(
        "--notes",
        type=int,
        default=3000,
        metavar="N",
        help="at most so many notes, drawn by --seed (default: 3000)",
    )
    parser.add_argument("-k", type=int, default=10, metavar="K", help="neighbours of each note (default: 10)")
    parser.add_argument(
        "--map",
        default="tsne",
        metavar="tsne|pca",
        help="how notes are placed; tsne needs scikit-learn (default)",
    )
    parser.add_argument("--seed", type=int, default=0, help="decides which notes are drawn (default: 0)")


def run(arguments: argparse.Namespace) -> None:
    """Writes the page and prints its path."""
    from notellm.app.explore import ExploreOptions, write_explorer
    from notellm.io.outputs import check_output

    options = ExploreOptions(arguments.notes, arguments.k, arguments.map, arguments.seed)
    path = arguments.output or arguments.run / "explore.html"
    runs = [run for run in (arguments.run, arguments.other) if run is not None]
    check_output(path, [entry for run in runs for entry in run.glob("*") if entry.suffix != ".html"])
    write_explorer(path, arguments.run, arguments.other, options)
    print(f"the page is {path}")
