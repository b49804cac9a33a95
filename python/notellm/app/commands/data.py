"""Gets notes and behaviour ready and says what they are.

With data=debian (the default) it fetches the Debian package catalogue from this machine's own
package mirror, once, into the cache; with data=files it reads your tables and checks them. The
notes are split into training and test by group.

reads:   the cache, or data.notes and data.interactions
writes:  nothing; with --run or run_dir, config.yaml and run.json there

for example:
  notellm data
  notellm data data=files data.notes=notes.parquet data.interactions=log.parquet
"""

import argparse

from notellm.app.commands.configured import add_run_arguments, open_run

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    add_run_arguments(parser, "data")


def run(arguments: argparse.Namespace) -> None:
    """Loads the data and prints its sizes."""
    from notellm.app.pipeline import load_data

    with open_run(arguments, looks=True) as folder:
        if folder is None:
            return
        dataset = load_data(folder.config)
        notes, train, test = dataset.notes, int(dataset.is_train.sum()), int(dataset.is_test.sum())
        tagged = sum(map(bool, notes.topics))
        categories = len({name for name in notes.categories if name})
        print(f"{len(notes):,} notes: {train:,} for training, {test:,} for {folder.config.data.held_out}")
        print(f"  {tagged:,} have hashtags; {categories:,} categories")
        kind = "users" if dataset.interactions.ordered else "baskets"
        print(f"{len(dataset.interactions):,} events of {len(dataset.interactions.user_ids):,} {kind}")
        for report in (notes.report, dataset.interactions.report):
            if report is not None and report.changes:
                print(report.describe())
        first = notes.take([0])
        print(
            f"the first note: {first.titles[0]!r}, category {first.categories[0]!r}, hashtags {first.topics[0]}"
        )
