"""Compares the trained model with what it began as and with TF-IDF, on the held-out pool.

Recall@K with 95 % bootstrap intervals, by exposure too; accuracy of generated categories, share of
invented ones, ROUGE of generated hashtags; paired differences.

reads:   the data and the trained model
writes:  evaluation.json, neighbours.json, generation.jsonl, ranks.safetensors (by query),
         words.safetensors (by note that words were written for) and embeddings/ in the run folder

for example:
  notellm evaluate --run runs/demo
  notellm evaluate --run runs/demo evaluation.ks=[10,100] evaluation.generation_notes=0
"""

import argparse

from notellm.app.commands.configured import add_run_arguments, open_run

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    add_run_arguments(parser, "evaluation", "generation", "embed")


def run(arguments: argparse.Namespace) -> None:
    """Evaluates and prints the tables."""
    from notellm.app.pipeline import evaluate, load_data, prepare, select_queries
    from notellm.app.report import print_evaluation

    with open_run(arguments) as folder:
        if folder is None:
            return
        dataset = load_data(folder.config)
        queries = select_queries(folder.config, dataset, *prepare(folder, dataset).test)
        print_evaluation(evaluate(folder, dataset, queries))
