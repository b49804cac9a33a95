"""From ranks and generated texts to the tables of an ``evaluation.json``."""

from notellm.evaluation.generation import evaluate_generation
from notellm.evaluation.generation_results import Generation
from notellm.evaluation.intervals import Bootstrap
from notellm.evaluation.lists import evaluate_lists
from notellm.evaluation.moderation import Luck, Trainings
from notellm.evaluation.options import NAMES
from notellm.evaluation.query_values import QueryValues, query_values
from notellm.evaluation.resampling import Resampled, Variance, resample
from notellm.evaluation.results import Evaluation
from notellm.evaluation.retrieval import evaluate_retrieval
from notellm.evaluation.significance import Comparison, Verdict, compare, holm
from notellm.evaluation.splits import RankRow, evaluate_ranks, shares, to_table
from notellm.evaluation.word_values import Generated, WordValues, word_values

__all__ = [
    "NAMES",
    "Bootstrap",
    "Comparison",
    "Evaluation",
    "Generation",
    "Generated",
    "Luck",
    "QueryValues",
    "RankRow",
    "Resampled",
    "Trainings",
    "Variance",
    "Verdict",
    "WordValues",
    "compare",
    "evaluate_lists",
    "evaluate_ranks",
    "evaluate_generation",
    "evaluate_retrieval",
    "holm",
    "query_values",
    "resample",
    "shares",
    "to_table",
    "word_values",
]
