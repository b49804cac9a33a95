"""Finds related pairs of notes: equation 1 of the paper over the log.

Pairs within a group, and pairs across the split, are kept in the file but are neither trained on
nor evaluated.

reads:   the data, see `notellm data --help`
writes:  pairs.parquet (source, target, score, users) and data.json in the run folder; a run folder
         that has them is left as it is

for example:
  notellm mine
  notellm mine run_dir=runs/strict mining.min_users=2
"""

import argparse

from notellm.app.commands.configured import add_run_arguments, open_run

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    add_run_arguments(parser, "mining", "data")


def run(arguments: argparse.Namespace) -> None:
    """Mines and prints what was found."""
    from notellm.app.pipeline import load_data, prepare
    from notellm.io.json_files import read_json
    from notellm.mining import MiningReport

    with open_run(arguments) as folder:
        if folder is None:
            return
        prepare(folder, load_data(folder.config))
        found = read_json(folder.file("data.json"))
        print(MiningReport(**found["mining"]).describe())
        print(
            f"{found['pairs_train']:,} pairs to train on, {found['pairs_test']:,} to evaluate; left out: "
            f"{found['pairs_within_groups_left_out']:,} within a group, "
            f"{found['pairs_across_the_split_left_out']:,} across the split"
        )
        print(f"in {folder.file('pairs.parquet')}")
