"""One default each: a function that takes an option on its own has the default of the option."""

import inspect

import pytest

from notellm import DecodingOptions
from notellm.evaluation import Bootstrap, evaluate_retrieval
from notellm.evaluation.options import EvaluationOptions
from notellm.generation import score_categories
from notellm.metrics import bootstrap_bleu, bootstrap_difference, bootstrap_mean
from notellm.models.notellm import NoteLLM
from notellm.models.options import ModelOptions

STANDARD = EvaluationOptions()


@pytest.mark.parametrize(
    ("function", "name", "default"),
    [
        (bootstrap_mean, "samples", STANDARD.bootstrap_samples),
        (bootstrap_difference, "samples", STANDARD.bootstrap_samples),
        (bootstrap_bleu, "samples", STANDARD.bootstrap_samples),
        (Bootstrap, "samples", STANDARD.bootstrap_samples),
        (evaluate_retrieval, "ks", STANDARD.ks),
        (evaluate_retrieval, "ties", STANDARD.ties),
        (evaluate_retrieval, "low_fraction", STANDARD.low_fraction),
        (evaluate_retrieval, "high_fraction", STANDARD.high_fraction),
        (score_categories, "batch_tokens", DecodingOptions().batch_tokens),
        (NoteLLM.from_pretrained, "tau", ModelOptions().tau),
    ],
)
def test_a_function_has_the_default_of_the_option(function, name, default):
    assert inspect.signature(function).parameters[name].default == default
