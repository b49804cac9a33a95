"""Metrics by hand, against the package rouge-score, and against NumPy's own bootstrap."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from notellm._core import metrics as core
from notellm.metrics import (
    TOKENIZERS,
    bootstrap_bleu,
    bootstrap_difference,
    bootstrap_mean,
    category_scores,
    exposure_split,
    hits_at,
    mrr,
    recall_at,
    reciprocal_ranks,
    rouge,
)
from notellm.retrieval import Ranks, target_ranks


def make_ranks(greater, equal):
    return Ranks(torch.tensor(greater, dtype=torch.int64), torch.tensor(equal, dtype=torch.int64))


# Targets at rank 1, rank 2 to 4 (three of the same score), rank 10, and rank 11.
BY_HAND = make_ranks([0, 1, 9, 10], [0, 2, 0, 0])


@pytest.mark.parametrize(
    ("ties", "at_1", "at_2", "at_3", "at_10"),
    [
        ("mean", 1 / 4, (1 + 1 / 3) / 4, (1 + 2 / 3) / 4, 3 / 4),
        ("optimistic", 1 / 4, 2 / 4, 2 / 4, 3 / 4),
        ("pessimistic", 1 / 4, 1 / 4, 1 / 4, 3 / 4),
    ],
)
def test_recall_by_hand(ties, at_1, at_2, at_3, at_10):
    assert recall_at(BY_HAND, [1, 2, 3, 10], ties=ties) == pytest.approx([at_1, at_2, at_3, at_10])


def test_mrr_by_hand():
    tied = (1 / 2 + 1 / 3 + 1 / 4) / 3
    assert mrr(BY_HAND) == pytest.approx((1 + tied + 1 / 10 + 1 / 11) / 4)
    assert mrr(BY_HAND, ties="optimistic") == pytest.approx((1 + 1 / 2 + 1 / 10 + 1 / 11) / 4)
    assert mrr(BY_HAND, ties="pessimistic") == pytest.approx((1 + 1 / 4 + 1 / 10 + 1 / 11) / 4)


def test_mean_ties_are_the_average_over_all_orders():
    greater, equal, ks = 2, 3, [1, 3, 4, 6, 9]
    orders = [[greater + place < k for k in ks] for place in range(equal + 1)]
    got = hits_at(make_ranks([greater], [equal]), ks)
    assert got[0] == pytest.approx(np.mean(orders, axis=0))
    expected = np.mean([1 / (greater + place + 1) for place in range(equal + 1)])
    assert reciprocal_ranks(make_ranks([greater], [equal]))[0] == pytest.approx(expected)


def test_recall_of_a_small_retrieval():
    pool = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.9, 0.1], [0.0, 1.0]])
    ranks = target_ranks(pool[[0, 3]], pool, torch.tensor([2, 0]), exclude=torch.tensor([0, 3]))
    assert hits_at(ranks, [1, 2, 3]).tolist() == [[0.5, 1.0, 1.0], [0.0, 0.0, 1.0]]


def test_metrics_of_ranks_reject_nonsense():
    with pytest.raises(ValueError, match="ks must be at least 1, but one is 0"):
        recall_at(BY_HAND, [0])
    with pytest.raises(ValueError, match="ties must be one of mean, optimistic, pessimistic, but is 'best'"):
        recall_at(BY_HAND, [1], ties="best")
    with pytest.raises(ValueError, match="recall_at: ranks must hold at least one query"):
        recall_at(make_ranks([], []), [1])
    with pytest.raises(ValueError, match="those of query 1 are -2 and 0"):
        mrr(make_ranks([0, -2], [0, 0]))


def test_exposure_split_takes_shares_of_the_pool_not_of_the_targets():
    pool = np.arange(100)
    split = exposure_split([0, 29, 30, 89, 90, 99], pool)
    assert split.low.tolist() == [True, True, False, False, False, False]
    assert split.high.tolist() == [False, False, False, False, True, True]
    assert (split.low_at_most, split.high_at_least) == (29, 90)


def test_exposure_split_with_ties():
    split = exposure_split([1, 2, 9], [1] * 8 + [2, 9])
    assert split.low.tolist() == [True, False, False]
    assert split.high.tolist() == [False, False, True]
    equal = exposure_split([3, 3], [3, 3, 3])
    assert not equal.low.any()
    assert not equal.high.any()


def test_exposure_split_rejects_nonsense():
    with pytest.raises(ValueError, match="shares must be above 0 and at most 1, but are 0.3 and 2"):
        exposure_split([1], [1], high=2)
    with pytest.raises(ValueError, match="pool_exposure must not be empty"):
        exposure_split([], [])


def test_category_scores_by_hand():
    scores = category_scores(["web", "mail", "Web", "w eb"], ["web"] * 4, {"mail", "web"})
    assert scores.correct.tolist() == [1, 0, 0, 0]
    assert scores.illusory.tolist() == [0, 0, 1, 1]
    with pytest.raises(ValueError, match="same length, but have 1 and 0"):
        category_scores(["web"], [], {"web"})


CHINESE = ["轻松学会做红烧肉的方法", "红烧肉的做法,轻松学会", "北京旅游攻略 2024", "旅游, 攻略, 北京"]
SCORER = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)


def assert_equals_rouge_score(prediction, reference, tokenizer):
    expected, got = SCORER.score(reference, prediction), rouge(prediction, reference, tokenizer=tokenizer)
    tokens = len(TOKENIZERS["alphanumeric-lower"](reference))
    for name, least in {"rouge1": 1, "rouge2": 2, "rougeL": 1}.items():
        ours, theirs = getattr(got, name), expected[name]
        theirs = (theirs.precision, theirs.recall, theirs.fmeasure)
        if tokens < least:  # rouge-score's 0 there says nothing of the prediction
            assert (ours, theirs) == (None, (0, 0, 0)), name
        else:
            assert ours == pytest.approx(theirs), name


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(["aa", "bB", "c1", "d-e", "_"]), max_size=20).map(" ".join), st.data())
def test_rouge_equals_rouge_score_on_random_words(prediction, data):
    words = st.lists(st.sampled_from(["aa", "bb", "C1", "d", "e"]), max_size=20)
    assert_equals_rouge_score(prediction, " ".join(data.draw(words)), "auto")


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60), st.text(max_size=60))
def test_rouge_equals_rouge_score_on_any_text(prediction, reference):
    assert_equals_rouge_score(prediction, reference, "alphanumeric-lower")


@settings(max_examples=200, deadline=None)
@given(*[st.text(st.characters(codec="ascii"), max_size=60)] * 2)
def test_rouge_by_script_equals_rouge_score_on_ascii(prediction, reference):
    assert_equals_rouge_score(prediction, reference, "auto")


ENGLISH = [
    "Utility to configure network interfaces, with support for IPv4 & IPv6.",
    "A tool that configures the network interfaces of your system (IPv6-ready).",
    "role::program, implemented-in::c, interface::commandline, network::configuration",
    "implemented-in::python, role::program, use::configuring",
    "The GNU's \"hello\" program produces a familiar, friendly greeting -- it's 100% useful!",
    "",
]


@pytest.mark.parametrize(("prediction", "reference"), list(itertools.product(ENGLISH, ENGLISH)))
def test_rouge_equals_rouge_score_on_english(prediction, reference):
    assert_equals_rouge_score(prediction, reference, "auto")


class Characters:
    """Letters and digits one by one, in the form that rouge-score wants."""

    def tokenize(self, text):
        return [character for character in text if character.isalnum()]


@pytest.mark.parametrize("prediction", CHINESE)
@pytest.mark.parametrize("reference", CHINESE)
def test_rouge_equals_rouge_score_on_chinese(prediction, reference):
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], tokenizer=Characters())
    expected, got = scorer.score(reference, prediction), rouge(prediction, reference, tokenizer="characters")
    for name in ("rouge1", "rouge2", "rougeL"):
        mine, truth = getattr(got, name), expected[name]
        assert mine == pytest.approx((truth.precision, truth.recall, truth.fmeasure), abs=1e-12)
    assert got.rouge1.f1 == 1 or prediction != reference


def test_rouge_names_its_tokenizer():
    assert rouge("a", "a").tokenizer == "words"
    assert rouge("笔记 a", "笔记").tokenizer == "words and characters"
    assert rouge("a", "a", tokenizer="alphanumeric-lower").tokenizer == "alphanumeric-lower"
    assert rouge("a, b", "a b", tokenizer="whitespace-lower").rouge1.f1 == 0.5
    assert rouge("笔记 本", "笔记", tokenizer="characters").rouge1.recall == 1
    assert rouge(["x", "y z"], ["y z"]) == (
        (0.5, 1, pytest.approx(2 / 3)),
        None,
        (0.5, 1, pytest.approx(2 / 3)),
        "given",
    )
    with pytest.raises(ValueError, match="one of alphanumeric-lower, 13a, whitespace"):
        rouge("a", "b", tokenizer="bpe")
    with pytest.raises(ValueError, match="but are mixed"):
        rouge("a", ["b"])


def test_bootstrap_agrees_with_numpys():
    random = np.random.default_rng(0)
    values = random.random(300) < 0.4
    interval = bootstrap_mean(values, samples=4000, seed=3)
    means = values[random.integers(0, 300, (4000, 300))].mean(axis=1)
    assert interval.value == pytest.approx(values.mean())
    assert interval.low == pytest.approx(np.quantile(means, 0.025), abs=0.006)
    assert interval.high == pytest.approx(np.quantile(means, 0.975), abs=0.006)


def test_bootstrap_covers_the_truth_as_often_as_it_says():
    random = np.random.default_rng(1)
    covered = 0
    for trial in range(300):
        interval = bootstrap_mean(random.normal(size=100), samples=400, seed=trial)
        covered += interval.low <= 0 <= interval.high
    assert 0.90 <= covered / 300 <= 0.98


def test_bootstrap_difference_is_paired():
    random = np.random.default_rng(2)
    noise = 100 * random.normal(size=200)
    gain = random.normal(0.5, 1.0, size=200)
    paired = bootstrap_difference(noise + gain, noise)
    assert 0.2 < paired.low < paired.value < paired.high < 0.8


def test_bootstrap_has_the_same_bytes_for_any_number_of_threads():
    values = np.random.default_rng(3).random(100)
    results = {core.bootstrap_mean(values, 1000, 9, 0.9, threads) for threads in (1, 2, 7)}
    assert len(results) == 1
    assert results != {core.bootstrap_mean(values, 1000, 10, 0.9, 1)}


def test_bootstrap_of_one_value_is_that_value():
    assert bootstrap_mean([0.3]) == (0.3, 0.3, 0.3)


def test_bootstrap_rejects_nonsense():
    with pytest.raises(ValueError, match="bootstrap_mean: values must not be empty"):
        bootstrap_mean([])
    with pytest.raises(ValueError, match="values must be finite, but value 1 is"):
        bootstrap_mean([0.0, math.nan])
    with pytest.raises(ValueError, match="samples must be at least 1, but is 0"):
        bootstrap_mean([0.0], samples=0)
    with pytest.raises(ValueError, match="level must be between 0 and 1, but is 95"):
        bootstrap_mean([0.0], level=95)
    with pytest.raises(ValueError, match="same length, but have 1 and 2"):
        bootstrap_difference([0.0], [0.0, 1.0])


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda matrix: bootstrap_mean(matrix), "bootstrap_mean: values"),
        (lambda matrix: bootstrap_mean(3.0), "bootstrap_mean: values"),
        (lambda matrix: bootstrap_difference(matrix, matrix.T), "bootstrap_difference: a"),
        (lambda matrix: bootstrap_difference(matrix[0], matrix[:1]), "bootstrap_difference: b"),
        (lambda matrix: recall_at(Ranks(matrix, matrix), [1]), "hits_at: greater"),
        (lambda matrix: hits_at(BY_HAND, matrix), "hits_at: ks"),
        (lambda matrix: mrr(Ranks(matrix, matrix)), "reciprocal_ranks: greater"),
    ],
)
def test_matrices_are_not_read_as_lists(call, name):
    with pytest.raises(ValueError, match=rf"^{name} must have one dimension, but has [02]$"):
        call(np.ones((3, 2)))


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_are_whole_numbers_of_64_bits(seed):
    counts = np.ones((2, 10), np.int64)
    for name, call in {
        "bootstrap_mean": lambda seed: bootstrap_mean([1.0, 2.0], seed=seed),
        "bootstrap_difference": lambda seed: bootstrap_difference([1.0], [2.0], seed=seed),
        "bootstrap_bleu": lambda seed: bootstrap_bleu(counts, seed=seed),
    }.items():
        with pytest.raises(ValueError, match=rf"^{name}: seed must be in \[0, 2\^64\), but is {seed}$"):
            call(seed)
        call(np.int64(5))
        call(2**64 - 1)
        with pytest.raises(TypeError, match="integer"):
            call(1.5)
