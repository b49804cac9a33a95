"""Shows what the model sees of one related pair: text, tokens, compressed position, losses.

Takes a pair of the first training step as the run draws it, with the tasks and hashtags drawn for
its two notes, and prints the prompts, a row for each token (marked where the state is the embedding
and where it must predict a label) and the losses of the pair as a batch of its own.

reads:   the data; pairs.parquet, which it mines if it is not there; the run's trained model, or the
         untrained one
writes:  nothing; with --run or run_dir, config.yaml, run.json, pairs.parquet and data.json where that
         folder lacks them

for example:
  notellm show-prompt experiment=demo
  notellm show-prompt --run runs/demo --pair 7
"""

import argparse

from notellm.app.commands.configured import add_run_arguments, open_run

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument(
        "--pair", type=int, default=0, metavar="N", help="which pair of the first step (default: 0)"
    )
    add_run_arguments(parser, "model")


def run(arguments: argparse.Namespace) -> None:
    """Prints the prompts, tokens and losses."""
    from notellm.app.pipeline import load_backbone, load_data, load_trained, prepare, training_pairs
    from notellm.app.pipeline.first_step import show_pair
    from notellm.app.pipeline.training import trained_part

    with open_run(arguments, looks=True) as folder:
        if folder is None:
            return
        dataset = load_data(folder.config)
        pairs = training_pairs(folder.config, dataset, *prepare(folder, dataset).train)
        dataset, source, target, _ = trained_part(folder.config, dataset, *pairs)
        trained = folder.file("model")
        model = load_trained(folder.config, trained) if trained.exists() else load_backbone(folder.config)
        show_pair(folder.config, model, dataset.notes, source, target, arguments.pair)
