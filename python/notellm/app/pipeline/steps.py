"""All steps of a run, from its data to its tables."""

from __future__ import annotations

from notellm.app.kept_seconds import TRAINING_TIME
from notellm.app.pipeline.data import Dataset, Queries, prepare, select_queries, training_pairs
from notellm.app.pipeline.encoder import train_encoder
from notellm.app.pipeline.evaluating import evaluate
from notellm.app.pipeline.training import train
from notellm.app.run import RunFolder
from notellm.evaluation import Evaluation

TRAINERS = {"trained": train, "sentence_bert": train_encoder}
"""The training functions of the systems that are trained."""


def run_steps(run: RunFolder, dataset: Dataset) -> tuple[Evaluation, Queries]:
    """Mines, trains the configuration's systems, and evaluates; goes on where it was interrupted.

    Args:
        run: The run folder.
        dataset: The data.

    Returns:
        The evaluation and its queries.

    Raises:
        DataError: If the folder was made with other data, or there are fewer pairs than one step takes.
        FloatingPointError: If a training diverges.
    """
    mined = prepare(run, dataset)
    for system, trainer in TRAINERS.items():
        if system in run.config.evaluation.systems:
            pairs = training_pairs(run.config, dataset, *mined.train)
            with TRAINING_TIME.clocked(run.path):
                trainer(run, dataset, *pairs)
    queries = select_queries(run.config, dataset, *mined.test)
    return evaluate(run, dataset, queries), queries
