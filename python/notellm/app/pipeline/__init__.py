"""The steps of a run, which the verbs of the command line call; every step keeps its result in the run folder.

In the order of the work: `catalogue` (notes and the log), `data` (split, pairs, queries), `on_spark` (the pairs, by a
Spark job), `models`, `negatives` (hard negatives of the pairs, by an earlier model), `training` (a model), `generating`
(categories and hashtags), `pools` (vectors or generations of millions of notes, in shards), `systems` (vectors and
texts of each system for the held-out notes), `evaluating` (the tables), `one_by_one` (what each query and note adds to
them), `first_step` (one pair in detail). `steps` runs them all.
"""

from notellm.app.pipeline.data import (
    Dataset,
    MinedPairs,
    Miner,
    Queries,
    load_data,
    mine,
    prepare,
    read_pairs,
    select_queries,
    training_pairs,
    write_pairs,
)
from notellm.app.pipeline.encoder import train_encoder
from notellm.app.pipeline.evaluating import evaluate
from notellm.app.pipeline.generating import Describer
from notellm.app.pipeline.models import check_trained, is_projected, load_backbone, load_trained
from notellm.app.pipeline.pools import EmbedWorkshop, LabelWorkshop, fill, label
from notellm.app.pipeline.steps import TRAINERS, run_steps
from notellm.app.pipeline.training import train

__all__ = [
    "TRAINERS",
    "Dataset",
    "Describer",
    "EmbedWorkshop",
    "LabelWorkshop",
    "MinedPairs",
    "Miner",
    "Queries",
    "check_trained",
    "evaluate",
    "fill",
    "is_projected",
    "label",
    "load_backbone",
    "load_data",
    "load_trained",
    "mine",
    "prepare",
    "read_pairs",
    "run_steps",
    "select_queries",
    "train",
    "train_encoder",
    "training_pairs",
    "write_pairs",
]
