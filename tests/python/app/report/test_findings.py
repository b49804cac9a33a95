"""The sentences say what the intervals say, also when that is unwelcome."""

import pytest

from notellm.app.report.findings import tfidf_verdicts, training_verdict
from notellm.evaluation import Evaluation


def with_differences(evaluation, other, *bounds):
    """The evaluation where (trained - other) has these (value, low, high) at the four cut-offs."""
    rows = zip(evaluation["ks"], bounds, strict=True)
    evaluation["differences"] = [
        {"a": "trained", "b": other, "k": k, "value": value, "low": low, "high": high}
        for k, (value, low, high) in rows
    ]
    return Evaluation.from_json(evaluation)


WIN, LOSS, OPEN = (0.2, 0.1, 0.3), (-0.2, -0.3, -0.1), (-0.1, -0.3, 0.1)


def test_tfidf_wins_are_said_first(evaluation):
    (verdict,) = tfidf_verdicts(with_differences(evaluation, "tfidf", LOSS, OPEN, WIN, WIN))
    assert verdict.claims == [
        "TF-IDF still wins at Recall@1 (\u221220.0 points, 95 %: \u221230.0 to \u221210.0)",
        "neither can be called better at Recall@10 (\u221210.0 points, 95 %: \u221230.0 to +10.0): "
        "the interval includes 0",
        "the trained model wins at Recall@100 (+20.0 points, 95 %: +10.0 to +30.0) "
        "and Recall@1000 (+20.0 points, 95 %: +10.0 to +30.0)",
    ]
    assert str(verdict).startswith("Against TF-IDF (same text): TF-IDF still wins at Recall@1")


def test_no_win_is_claimed_for_tfidf_without_a_clear_interval(evaluation):
    (verdict,) = tfidf_verdicts(with_differences(evaluation, "tfidf_full", OPEN, OPEN, OPEN, OPEN))
    assert verdict.claims[0] == "TF-IDF wins at no cut-off beyond doubt"
    assert verdict.claims[1].endswith("and Recall@1000 (\u221210.0 points, 95 %: \u221230.0 to +10.0): "
                                      "the interval includes 0")  # fmt: skip
    assert len(verdict.claims) == 2


def test_an_interval_that_touches_0_is_not_clear(evaluation):
    (verdict,) = tfidf_verdicts(with_differences(evaluation, "tfidf", (0.1, 0.0, 0.2), WIN, WIN, WIN))
    assert "neither can be called better at Recall@1 " in verdict.claims[1]


def test_nothing_is_said_about_systems_that_were_not_compared(evaluation):
    evaluation["differences"] = []
    parsed = Evaluation.from_json(evaluation)
    assert tfidf_verdicts(parsed) == []
    assert training_verdict(parsed) is None


@pytest.mark.parametrize(
    ("bounds", "start", "end"),
    [
        (WIN, "Training raises Recall@100 from 32.0 % to 56.0 %", "not the luck of the queries drawn."),
        (LOSS, "Training lowers Recall@100 from 32.0 % to 56.0 %", "not the luck of the queries drawn."),
        (OPEN, "Training moves Recall@100 from", "do not settle whether training helped."),
    ],
)
def test_the_headline_follows_the_interval(evaluation, bounds, start, end):
    verdict = training_verdict(with_differences(evaluation, "zero_shot_prompt", WIN, WIN, bounds, WIN))
    assert verdict.startswith(start)
    assert verdict.endswith(end)


def test_without_recall_at_100_the_middle_cut_off_is_spoken_of(evaluation):
    evaluation["ks"] = [1, 10, 1000]
    assert "Recall@10 from 14.5 % to 23.0 %" in training_verdict(Evaluation.from_json(evaluation))


def test_tests_decide_where_there_are_some(evaluation):
    """A difference whose interval leaves out 0 may be one chance of many; a tiny one may surely not matter."""
    tested = with_differences(evaluation, "tfidf", LOSS, WIN, OPEN, WIN).to_json()
    for difference, p, verdict in zip(
        tested["differences"],
        (0.001, 0.2, 0.9, 0.001),
        ("lower", "undecided", "undecided", "equivalent"),
        strict=True,
    ):
        difference |= {"p": p, "smallest": 0.1, "verdict": verdict}
    (found,) = tfidf_verdicts(Evaluation.from_json(tested))
    lost, unsettled, equal = found.claims
    assert lost.startswith("TF-IDF still wins at Recall@1 (")
    assert unsettled.startswith("neither can be called better at Recall@10 (")
    assert unsettled.endswith(": not beyond chance, all comparisons considered")
    assert equal.startswith("they differ by less than half a point at Recall@1000 (")
    tested["differences"] = [
        {**one, "b": "zero_shot_prompt", "verdict": "higher"} for one in tested["differences"]
    ]
    assert "p = 0.900, corrected for 4 comparisons" in training_verdict(Evaluation.from_json(tested))
    tested["differences"][2]["verdict"] = "equivalent"
    assert training_verdict(Evaluation.from_json(tested)).endswith(
        "The difference is less than half a point."
    )
