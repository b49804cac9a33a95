"""Shows what the model sees of one related pair: text, tokens, compressed position, losses.

For both notes of a training pair, in the tasks and with the hashtags that training would draw for
it, prints the prompt, a row for each token (marked where the state is the embedding and where it
must predict a label) and the losses of this batch of one pair.

reads:   the data, pairs.parquet, and the run's trained model, or the untrained one
writes:  nothing but standard output

for example:
  notellm show-prompt experiment=demo
  notellm show-prompt --run runs/demo --pair 7
"""

import argparse

from notellm.commands.configured import add_run_arguments, open_run

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("--pair", type=int, default=0, metavar="N", help="which training pair (default: 0)")
    add_run_arguments(parser, "model")


def run(arguments: argparse.Namespace) -> None:
    """Prints the prompts, tokens and losses."""
    from notellm.errors import DataError
    from notellm.pipeline import load_backbone, load_data, load_trained, prepare, training_pairs
    from notellm.pipeline.showing import show_pair

    folder = open_run(arguments)
    if folder is None:
        return
    dataset = load_data(folder.config)
    source, target = training_pairs(dataset, *prepare(folder, dataset))
    if not 0 <= arguments.pair < len(source):
        raise DataError(f"--pair must be in [0, {len(source)}), but is {arguments.pair}")
    is_trained = folder.file("model").exists()
    model = load_trained(folder) if is_trained else load_backbone(folder.config)
    pair = dataset.notes.take([source[arguments.pair], target[arguments.pair]])
    show_pair(folder.config, model, pair)
