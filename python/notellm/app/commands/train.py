"""Trains the model on the related pairs: contrastive (GCL) and generative (CSFT) in one pass.

Goes on from the newest checkpoint where an earlier call was interrupted; a run that is trained is
left as it is. Under torchrun several processes share every step and give the weights of one, but
for rounding; a run may go on with another number of processes. (With --run, write
`torchrun ... -m -- notellm train --run DIR`: torchrun has options that begin like it.)

reads:   the data; pairs.parquet, which it mines if it is not there
writes:  model/, train.jsonl and, until it is done, checkpoints/ in the run folder

for example:
  notellm train run_dir=runs/mine train.max_steps=200 train.lr=5e-5
  notellm train run_dir=runs/gcl loss=gcl_only
  notellm train train.pairs_per_step=512 train.micro_pairs=16
  torchrun --nproc-per-node 2 -m notellm train run_dir=runs/mine
"""

import argparse

from notellm.app.commands.configured import add_run_arguments, open_run

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument(
        "--resume", action="store_true", help="fail if there is no interrupted run to go on with"
    )
    add_run_arguments(parser, "train", "model")


def run(arguments: argparse.Namespace) -> None:
    """Trains and prints where the model is."""
    from notellm.app.pipeline import load_data, prepare, train, training_pairs
    from notellm.app.pipeline.negatives import FIRST_RUN
    from notellm.errors import DataError
    from notellm.training.checkpoint import CHECKPOINTS, latest_checkpoint

    with open_run(arguments) as folder:
        if folder is None:
            return
        begun = (folder.path, folder.file(FIRST_RUN))
        if arguments.resume and not any(latest_checkpoint(path / CHECKPOINTS) for path in begun):
            raise DataError(
                f"{folder.path}: must hold a checkpoint to resume from, but holds none; leave out --resume"
            )
        dataset = load_data(folder.config)
        pairs = training_pairs(folder.config, dataset, *prepare(folder, dataset).train)
        print(f"the model is in {train(folder, dataset, *pairs)}")
