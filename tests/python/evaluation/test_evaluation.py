"""The tables: recalls by hand, exposure by the pool's quantiles, paired differences, generated words."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from notellm.evaluation import (
    Bootstrap,
    Evaluation,
    Generated,
    evaluate_generation,
    evaluate_retrieval,
)
from notellm.retrieval import Ranks

POOL = 20
TARGETS = [0, 5, 10, 19]
EXPOSURE = np.arange(POOL)  # the least exposed 30 %: 0..5; the most exposed 10 %: 18, 19
FEW = Bootstrap(samples=200)


def ranks(greater, equal=None):
    return Ranks(torch.tensor(greater), torch.tensor(equal or [0] * len(greater)))


def evaluate(systems, **options):
    return evaluate_retrieval(systems, TARGETS, EXPOSURE, **{"ks": [1, 10], "bootstrap": FEW, **options})


def test_recall_and_mrr_by_hand():
    tree = evaluate({"trained": ranks([0, 3, 9, 10])})
    (system,) = tree.systems
    assert system.name == "NoteLLM trained"
    assert system.recall[1].value == 0.25
    assert system.recall[10].value == 0.75
    assert system.mrr.value == pytest.approx((1 + 1 / 4 + 1 / 10 + 1 / 11) / 4)
    assert (tree.pool, tree.queries, tree.ks, tree.ties) == (20, 4, [1, 10], "mean")


@pytest.mark.parametrize(("ties", "recall"), [("mean", 0.125), ("optimistic", 0.25), ("pessimistic", 0.0)])
def test_the_tie_rule_is_used_and_named(ties, recall):
    tree = evaluate({"tfidf": ranks([0, 3, 9, 10], [1, 0, 0, 0])}, ties=ties)
    assert tree.ties == ties
    assert tree.systems[0].recall[1].value == recall


def test_exposure_is_that_of_the_target_at_quantiles_of_the_pool():
    sides = evaluate({"trained": ranks([0, 3, 9, 10])}).systems[0].exposure
    assert {side: part.queries for side, part in sides.items()} == {"low": 2, "high": 1}
    assert sides["low"].recall[1].value == 0.5
    assert sides["high"].recall[10].value == 0


def test_intervals_of_few_shared_targets_stay_where_rates_can_be():
    """Nine queries, one of which misses; two share a target, so that whole targets are drawn."""
    targets = [0, 0, *range(1, 8)]
    for hits in ([0] * 8 + [15], [15] * 8 + [0]):
        found = evaluate_retrieval({"trained": ranks(hits)}, targets, EXPOSURE, ks=[10], bootstrap=FEW)
        (own,) = found.systems
        macro = own.by_target
        intervals = [own.recall[10], own.ndcg[10], own.map[10], own.mrr, own.log_score]
        intervals += [macro.recall[10], macro.ndcg[10], macro.mrr, macro.log_score]
        assert all(0 <= one.low < one.value < one.high <= 1 for one in intervals)
        assert {own.recall[10].low, own.recall[10].high} & {0, 1}


def test_a_side_without_queries_is_left_out():
    tree = evaluate_retrieval({"trained": ranks([0])}, [10], EXPOSURE, ks=[1], bootstrap=FEW)
    assert tree.systems[0].exposure == {}


def test_differences_are_trained_minus_the_others_at_every_cut_off():
    systems = {
        "tfidf": ranks([9, 9, 9, 9]),
        "zero_shot_mean": ranks([0, 0, 0, 0]),
        "zero_shot_prompt": ranks([10, 10, 0, 10]),
        "trained": ranks([0, 0, 0, 10]),
    }
    values = {(d.a, d.b, d.k): d.value for d in evaluate(systems).differences}
    assert values == {
        ("trained", "zero_shot_prompt", 1): 0.5,
        ("trained", "zero_shot_prompt", 10): 0.5,
        ("trained", "tfidf", 1): 0.75,
        ("trained", "tfidf", 10): -0.25,
    }


def test_differences_are_paired():
    """Two systems that hit the same half of the queries differ by exactly 0 in every draw."""
    half = np.arange(100) % 2 * 50
    systems = {"trained": ranks(half.tolist()), "tfidf": ranks((half + 1).tolist())}
    tree = evaluate_retrieval(systems, np.arange(100) % POOL, EXPOSURE, ks=[10], bootstrap=FEW)
    (difference,) = tree.differences
    assert (difference.value, difference.low, difference.high) == (0, 0, 0)
    assert tree.systems[0].recall[10].low < 0.5 < tree.systems[0].recall[10].high


def test_a_cut_off_that_every_target_reaches_is_left_out_and_named():
    """Of a pool of 20 notes a query finds 19, all of them by any order."""
    systems = {"trained": ranks([0, 3, 9, 18]), "tfidf": ranks([1, 1, 1, 1])}
    tree = evaluate(systems, ks=[1, 18, 19, 20, 1000])
    assert (tree.ks, tree.ks_left_out) == ([1, 18], [19, 20, 1000])
    assert all(list(system.recall) == [1, 18] for system in tree.systems)
    assert {difference.k for difference in tree.differences} == {1, 18}
    assert Evaluation.from_json(tree.to_json()) == tree
    few = evaluate_retrieval({"trained": ranks([0])}, [1], [1, 1, 1], ks=[10, 100], bootstrap=FEW)
    assert (few.ks, few.ks_left_out) == ([10], [100])  # one is kept, for there must be one


def test_without_a_trained_system_there_is_no_difference():
    assert evaluate({"tfidf": ranks([0, 0, 0, 0])}).differences == []


def test_intervals_depend_on_the_seed_and_on_nothing_else():
    system = {"trained": ranks([0, 3, 9, 10])}
    assert evaluate(system) == evaluate(system)
    other = evaluate(system, bootstrap=Bootstrap(samples=200, seed=1))
    assert other.systems[0].mrr.low != evaluate(system).systems[0].mrr.low


def test_unknown_systems_keep_their_key_or_the_name_given():
    systems = {"mine": ranks([0, 0, 0, 0]), "e5": ranks([0, 0, 0, 0])}
    names = [system.name for system in evaluate(systems, names={"e5": "E5 small"}).systems]
    assert names == ["mine", "E5 small"]


def test_systems_must_answer_the_same_queries():
    with pytest.raises(ValueError, match="tfidf must have ranks for all 4 queries, but has 3"):
        evaluate({"trained": ranks([0, 0, 0, 0]), "tfidf": ranks([0, 0, 0])})
    with pytest.raises(ValueError, match="must have a system and a query, but has 0 and 4"):
        evaluate({})


@pytest.mark.parametrize("ks", [[], [1, 10, 1]])
def test_cut_offs_are_given_once_each(ks):
    with pytest.raises(
        ValueError, match=r"evaluate_retrieval: ks must be one or more, each once, but are \["
    ):
        evaluate({"trained": ranks([0, 0, 0, 0])}, ks=ks)


CATEGORIES = ["games", "net", "", "web"]
HASHTAGS = [["playing", "x11"], [], ["console", "client", "network"], ["web"]]


def generation(categories, hashtags, **options):
    systems = {"trained": Generated(categories, hashtags)}
    known = {"games", "net", "web"}
    return evaluate_generation(
        systems, CATEGORIES, HASHTAGS, known_categories=known, **{"bootstrap": FEW, **options}
    )


def test_categories_are_scored_where_there_is_a_truth():
    tree = generation(["games", "web", "nothing", "Web"], [[], [], [], []])
    (system,) = tree.systems
    assert system.category_accuracy.value == pytest.approx(1 / 3)
    assert system.illusory.value == pytest.approx(1 / 3)  # "Web" is not "web"; the third has no truth
    assert tree.notes == 4
    assert tree.known_categories == {"games", "net", "web"}


def test_hashtags_are_scored_where_there_is_a_truth():
    written = [["x11", "playing"], ["anything"], ["console", "network"], []]
    (system,) = generation(["", "", "", ""], written).systems
    assert system.hashtag_notes == 3
    assert system.rouge1.value == pytest.approx((1 + 0.8 + 0) / 3)
    assert system.rouge_l.value == pytest.approx((0.5 + 0.8 + 0) / 3)


def test_confusions_and_f1_are_over_notes_with_a_category():
    (system,) = generation(["net", "net", "nothing", "Web"], [[], [], [], []]).systems
    pairs = {(pair.true, pair.written): pair.notes for pair in system.confusions}
    assert pairs == {("games", "net"): 1, ("web", "Web"): 1}
    assert system.macro_f1 == pytest.approx((0 + 2 / 3 + 0) / 3)
    assert system.closed_set is None


def test_the_best_of_the_known_categories_is_scored_with_its_confidence():
    written = Generated(["", "", "", ""], [[]] * 4, ["games", "web", "games", "web"], [0.9, 0.4, 0.1, 0.6])
    tree = evaluate_generation(
        {"trained": written}, CATEGORIES, HASHTAGS, known_categories={"games", "net", "web"}, bootstrap=FEW
    )
    closed = tree.systems[0].closed_set
    assert closed.accuracy.value == pytest.approx(2 / 3)  # the third note has no category
    assert closed.calibration_error == pytest.approx((0.1 + 0.4 + 0.4) / 3)
    assert [(b.notes, b.accuracy) for b in closed.calibration] == [(1, 0), (1, 1), (1, 1)]
    with pytest.raises(ValueError, match="trained must have a best category and a confidence for all 4"):
        evaluate_generation(
            {"trained": Generated([""] * 4, [[]] * 4, ["web"], [0.5])},
            CATEGORIES,
            HASHTAGS,
            known_categories={"web"},
        )
    with pytest.raises(ValueError, match="trained must have a best category and a confidence for all 4"):
        evaluate_generation(
            {"trained": Generated([""] * 4, [[]] * 4, ["web"] * 4)},
            CATEGORIES,
            HASHTAGS,
            known_categories={"web"},
        )


def test_hashtags_are_scored_as_sets_and_as_texts():
    written = [["x11", "games", "playing"], [], ["console"], []]
    (system,) = generation([""] * 4, written).systems
    assert system.hashtags.recall.value == pytest.approx((1 + 1 / 3 + 0) / 3)
    (at_two,) = generation([""] * 4, written, hashtag_count=2).systems
    assert at_two.hashtags.precision.value == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert system.rouge2.value == 0
    perfect = generation([""] * 4, HASHTAGS).systems[0]
    assert {score.value for score in (perfect.bleu4, perfect.rouge1, perfect.rouge_l)} == {1.0}


def of_hashtags(written, truth, **options):
    options = {"known_categories": [], "bootstrap": FEW, **options}
    systems = {"trained": Generated([""] * len(truth), written)}
    return evaluate_generation(systems, [""] * len(truth), truth, **options)


@pytest.mark.parametrize(
    ("tags", "cut_by", "bleu_cut_by"),
    [
        (["美食", "旅行"], "characters", "13a and characters"),
        (["чай", "здоровье"], "words", "13a"),
        (["สวัสดี", "อาหาร"], "characters", "13a and characters"),
        (["müll", "straße"], "words", "13a"),
        (["κόσμος", "ΟΔΟΣ"], "words", "13a"),
        (["हिन्दी", "चाय"], "words", "13a"),
        (["한국", "여행"], "words", "13a"),
        (["旅行", "travel"], "words and characters", "13a and characters"),
    ],
)
def test_perfect_hashtags_score_1_in_every_script(tags, cut_by, bleu_cut_by):
    found = of_hashtags([tags], [tags])
    (system,) = found.systems
    scores = (system.bleu4, system.rouge1, system.rouge2, system.rouge_l, system.hashtags.f1)
    assert [score.value for score in scores] == [pytest.approx(1)] * 5
    assert system.undefined == {}
    assert (found.tokenizer, found.bleu_tokenizer) == (cut_by, bleu_cut_by)


def test_the_analyzer_is_an_argument():
    truth, written = [["上海美食"]], [["上海"]]
    scores = {name: of_hashtags(written, truth, analyzer=name) for name in ("auto", "words", "characters")}
    rouge1 = {name: score.systems[0].rouge1.value for name, score in scores.items()}
    assert rouge1 == {"auto": pytest.approx(2 / 3), "words": 0, "characters": pytest.approx(2 / 3)}
    assert {name: score.tokenizer for name, score in scores.items()} == {
        "auto": "characters",
        "words": "words",
        "characters": "characters",
    }
    other = of_hashtags(written, truth, tokenizer="whitespace", bleu_tokenizer="characters")
    assert (other.tokenizer, other.bleu_tokenizer) == ("whitespace", "characters")
    with pytest.raises(ValueError, match="analyzer must be one of auto, words, characters, jieba, but is"):
        of_hashtags(written, truth, analyzer="letters")


def test_accents_make_other_words_and_normal_forms_do_not():
    (system,) = of_hashtags([["mäll"]], [["müll"]]).systems
    assert system.rouge1.value == system.rouge_l.value == system.hashtags.f1.value == 0
    (system,) = of_hashtags([["mu\u0308ll"]], [["m\u00fcll"]]).systems
    assert system.rouge1.value == system.bleu4.value == system.hashtags.f1.value == 1


def test_a_note_counts_only_where_its_hashtags_define_the_number():
    """One word has no pair of words, a symbol is no word: neither may pull a mean down."""
    (system,) = of_hashtags(
        [["a", "b"], ["tea"], ["\U0001f35c"]], [["a", "b"], ["tea"], ["\U0001f35c"]]
    ).systems
    assert system.rouge1.value == system.rouge2.value == system.rouge_l.value == system.hashtags.f1.value == 1
    assert system.hashtag_notes == 3
    assert system.undefined == {"rouge1": 1, "rouge2": 2, "rougeL": 1}
    (system,) = of_hashtags([["tea"], ["x"]], [["tea"], [" "]]).systems
    assert (system.rouge2, system.hashtag_notes, system.rouge1.value) == (None, 1, 1)


def test_categories_are_compared_in_one_normal_form():
    written = Generated(["cafe\u0301"], [[]], ["cafe\u0301"], [0.5])
    found = evaluate_generation(
        {"trained": written}, ["caf\u00e9"], [[]], known_categories=["caf\u00e9"], bootstrap=FEW
    )
    (system,) = found.systems
    assert (system.category_accuracy.value, system.illusory.value, system.macro_f1) == (1, 0, 1)
    assert system.closed_set.accuracy.value == 1


def test_what_has_no_truth_is_none():
    systems = {"trained": Generated(["web"], [["web"]])}
    tree = evaluate_generation(systems, [""], [[]], known_categories={"web"}, bootstrap=FEW)
    (system,) = tree.systems
    of_categories = (system.category_accuracy, system.illusory, system.macro_f1, system.closed_set)
    of_hashtags = (system.bleu4, system.rouge1, system.rouge2, system.rouge_l, system.hashtags)
    assert {*of_categories, *of_hashtags} == {None}
    assert system.hashtag_notes == 0


def test_every_note_must_have_been_written_for():
    with pytest.raises(ValueError, match="trained must have written for all 4 notes, but wrote 1 cat"):
        generation(["games"], [[]])


def test_what_is_written_is_read_back(tmp_path):
    best = Generated(["games", "web", "", "Web"], [["x11"], [], [], []], ["web"] * 4, [0.9, 0.4, 0.1, 0.6])
    part = evaluate_generation(
        {"trained": best}, CATEGORIES, HASHTAGS, known_categories={"games", "web"}, bootstrap=FEW
    )
    systems = {"tfidf": ranks([1, 2, 3, 40]), "trained": ranks([0, 3, 9, 10])}
    found = evaluate(systems, analyzers={"tfidf": "words"})
    assert [system.analyzer for system in found.systems] == ["words", ""]
    assert part.systems[0].undefined == {"rouge2": 1}
    assert (part.tokenizer, part.bleu_tokenizer) == ("words", "13a")
    whole = replace(found, generation=part, prompt="paper", truncation={"title": 20, "content": 32})
    path = tmp_path / "evaluation.json"
    whole.write(path)
    assert Evaluation.from_json(json.loads(path.read_text())) == whole
    assert whole.difference("trained", "tfidf", 1).value == 0.25
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_has_the_keys_that_others_read():
    part = evaluate_generation(
        {"trained": Generated(["web"], [["web"]], ["web"], [0.5])},
        ["web"],
        [["web"]],
        known_categories={"web"},
        bootstrap=FEW,
    )
    tree = replace(evaluate({"trained": ranks([0, 3, 9, 10])}), generation=part).to_json()
    assert tree["systems"][0]["recall"]["10"].keys() == {"value", "low", "high"}
    (system,) = tree["generation"]["systems"]
    assert system["rougeL"]["value"] == system["hashtags"]["f1"]["value"] == 1
    assert {"from", "to", "notes", "confidence", "accuracy"} == system["closed_set"]["calibration"][0].keys()
    assert "generation" not in evaluate({"trained": ranks([0, 3, 9, 10])}).to_json()
