"""From ranks and generated words to the tables of an ``evaluation.json``."""

from notellm.evaluation.document import write_evaluation
from notellm.evaluation.generation import Generated, evaluate_generation
from notellm.evaluation.intervals import Bootstrap
from notellm.evaluation.retrieval import NAMES, evaluate_retrieval

__all__ = [
    "NAMES",
    "Bootstrap",
    "Generated",
    "evaluate_generation",
    "evaluate_retrieval",
    "write_evaluation",
]
