"""From ranks and generated texts to the tables of an ``evaluation.json``."""

from notellm.evaluation.generation import Generated, evaluate_generation
from notellm.evaluation.intervals import Bootstrap
from notellm.evaluation.options import NAMES
from notellm.evaluation.results import Evaluation, Generation
from notellm.evaluation.retrieval import evaluate_retrieval
from notellm.evaluation.query_values import QueryValues, query_values
from notellm.evaluation.resampling import Resampled, Variance, resample
from notellm.evaluation.splits import RankRow, evaluate_ranks, shares, to_table

__all__ = [
    "NAMES",
    "Bootstrap",
    "Evaluation",
    "Generation",
    "Generated",
    "RankRow",
    "evaluate_ranks",
    "evaluate_generation",
    "evaluate_retrieval",
    "shares",
    "to_table",
]
