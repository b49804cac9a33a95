"""BLEU against sacreBLEU, hashtags as sets, and what is defined where a text is empty or short."""

import itertools

import numpy as np
import pytest
import sacrebleu
from hypothesis import example, given, settings
from hypothesis import strategies as st

from notellm.metrics import (
    TOKENIZERS,
    bleu,
    bleu_as_released,
    bleu_counts,
    bootstrap_bleu,
    calibration,
    confusion,
    corpus_bleu,
    hashtag_overlap,
    rouge,
)

ENGLISH = [
    "Utility to configure network interfaces, with support for IPv4 & IPv6.",
    "A tool that configures the network interfaces of your system (IPv6-ready), 3.5 times faster.",
    "role::program, implemented-in::c, interface::commandline, network::configuration",
    "role::program, implemented-in::python, interface::commandline",
    "The GNU's \"hello\" program &amp; friends -- it's 100% useful, since 1,000 users say so!",
    "hello",
    "",
]
CHINESE = ["轻松学会做红烧肉的方法", "红烧肉的做法,轻松学会", "北京旅游攻略 2024", "旅游"]
# ours and sacreBLEU's names, with the value that ours stands for
SMOOTHINGS = {"none": ("none", None), "floor": ("floor", 0.1), "add-1": ("add-k", 1), "exp": ("exp", None)}


def sacre(predictions, references, tokenizer, smoothing, order=4):
    method, value = SMOOTHINGS[smoothing]
    metric = sacrebleu.BLEU(
        tokenize=tokenizer,
        smooth_method=method,
        smooth_value=value,
        max_ngram_order=order,
        effective_order=True,
    )
    return metric.corpus_score(predictions, [references]).score / 100


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize(
    ("texts", "ours", "theirs"),
    [(ENGLISH, "13a", "13a"), (CHINESE, "characters", "char")],
)
def test_bleu_equals_sacrebleu(texts, ours, theirs, smoothing):
    pairs = list(itertools.product(texts, texts))
    for prediction, reference in pairs:
        expected = sacre([prediction], [reference], theirs, smoothing)
        actual = bleu(prediction, reference, tokenizer=ours, smoothing=smoothing).score
        if not reference:  # sacreBLEU's 0 there says nothing of the prediction
            assert (actual, expected) == (None, 0)
            continue
        assert actual == pytest.approx(expected, abs=1e-12), (prediction, reference)
    predictions, references = zip(*pairs[1::3], strict=True)
    for order in (1, 2, 3, 4):
        expected = sacre(predictions, references, theirs, smoothing, order)
        result = corpus_bleu(predictions, references, order=order, tokenizer=ours, smoothing=smoothing)
        assert result.score == pytest.approx(expected, abs=1e-12)
        assert result[1:] == (order, ours, smoothing)


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(codec="ascii"), max_size=60))
@example("a-\n")
def test_13a_cuts_as_sacrebleu_does(text):
    cut = sacrebleu.BLEU(tokenize="13a").tokenizer
    assert TOKENIZERS["13a"](text) == cut(text.rstrip()).split()


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_bleu_equals_sacrebleu_on_random_words(data):
    texts = st.lists(st.sampled_from("abcd"), max_size=9).map(" ".join)
    count = data.draw(st.integers(1, 4))
    predictions, references = ([data.draw(texts) for _ in range(count)] for _ in range(2))
    smoothing = data.draw(st.sampled_from(list(SMOOTHINGS)))
    actual = corpus_bleu(predictions, references, tokenizer="whitespace", smoothing=smoothing).score
    expected = sacre(predictions, references, "none", smoothing)
    assert actual == (pytest.approx(expected, abs=1e-12) if any(references) else None)


@pytest.mark.parametrize("text", ["hello", "红烧肉", "a b", *ENGLISH[:4]])
def test_a_perfect_prediction_scores_1(text):
    tokenizer = "characters" if text == "红烧肉" else "13a"
    assert bleu(text, text, tokenizer=tokenizer, smoothing="none").score == pytest.approx(1)
    assert rouge(text, text, tokenizer=tokenizer).rouge1.f1 == 1


def test_an_empty_prediction_scores_0():
    assert bleu("", "a b").score == 0
    found = rouge("", "a b")
    assert found[:3] == ((0, 0, 0),) * 3
    assert hashtag_overlap([], ["a"]) == (0, 0, 0)


@pytest.mark.parametrize("prediction", ["", "a", "a b"])
def test_what_the_reference_leaves_undefined_is_none(prediction):
    for empty in ("", " \t"):
        assert bleu(prediction, empty).score is None
    for without_a_word in ("", "!?", "\U0001f35c"):
        assert rouge(prediction, without_a_word)[:3] == (None, None, None)
    assert rouge(prediction, "a").rouge1 is not None
    assert rouge(prediction, "a").rouge2 is None
    assert hashtag_overlap([prediction], []) is hashtag_overlap([prediction], [" "]) is None
    assert corpus_bleu([], []).score is None


def test_tokens_are_taken_as_they_are():
    assert bleu(["x y", "z"], ["x y", "z"]) == (pytest.approx(1), 4, "given", "exp")
    with pytest.raises(ValueError, match="bleu: prediction and reference must be two texts"):
        bleu(["x"], "x")


def test_refuses():
    with pytest.raises(ValueError, match="equally many, but are 1 and 2"):
        corpus_bleu(["a"], ["a", "b"])
    with pytest.raises(ValueError, match=r"order must be in \[1, 4\], but is 5"):
        bleu("a", "a", order=5)
    with pytest.raises(ValueError, match="smoothing must be one of none, floor, add-1, exp"):
        bleu("a", "a", smoothing="add-k")
    with pytest.raises(ValueError, match="tokenizer must be one of"):
        corpus_bleu([], [], tokenizer="nope")
    with pytest.raises(ValueError, match="all must be texts, or all lists of tokens"):
        corpus_bleu(["a", ["a"]], ["a", ["a"]])
    with pytest.raises(ValueError, match="bleu: must get lists, but got a text"):
        corpus_bleu("the cat", "the dog")
    with pytest.raises(ValueError, match="at must be at least 1, but is 0"):
        hashtag_overlap(["a"], ["a"], at=0)
    with pytest.raises(ValueError, match="values must not be empty"):
        bootstrap_bleu(np.zeros((0, 10), dtype=np.int64))


def test_the_interval_of_a_corpus_is_over_its_texts():
    counts, _ = bleu_counts(ENGLISH[:4] * 20, ENGLISH[1:5] * 20)
    interval = bootstrap_bleu(counts, seed=1)
    assert interval.value == pytest.approx(corpus_bleu(ENGLISH[:4] * 20, ENGLISH[1:5] * 20).score)
    assert interval.low < interval.value < interval.high
    assert interval == bootstrap_bleu(counts, seed=1) != bootstrap_bleu(counts, seed=2)
    same = np.repeat(counts[:1], 5, axis=0)
    assert len({round(x, 12) for x in bootstrap_bleu(same)}) == 1


def test_rouge_2_by_hand():
    assert rouge("a b c a b", "a b x c a").rouge2 == (0.5, 0.5, 0.5)  # "a b" once, and "c a"


def test_hashtags_are_sets():
    assert hashtag_overlap(["b", "a", "b", "z"], ["a", "b", "c", "a"]) == (2 / 3, 2 / 3, 2 / 3)
    assert hashtag_overlap(["b", "b", "a"], ["a"], at=2).recall == 1  # repeats take no place
    assert hashtag_overlap(["mu\u0308ll", " tea "], ["m\u00fcll", "tea"]).f1 == 1  # the same to a reader
    assert hashtag_overlap(["müll"], ["mäll"]).f1 == hashtag_overlap(["Tea"], ["tea"]).f1 == 0


def test_confusion_by_hand():
    truth = ["a", "a", "a", "b", "b", "c"]
    table = confusion(["a", "a", "b", "b", "?", "a"], truth, {"c", "b", "a", "never"})
    assert table.labels == ["a", "b", "c", "never"]
    assert table.counts.tolist() == [[2, 1, 0, 0, 0], [0, 1, 0, 0, 1], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
    assert table.f1[:3] == pytest.approx([4 / 6, 2 / 4, 0])
    assert np.isnan(table.f1[3])
    assert table.macro_f1 == pytest.approx((4 / 6 + 2 / 4 + 0) / 3)
    with pytest.raises(ValueError, match="true categories must be known, but that of note 1 is 'x'"):
        confusion(["a", "a"], ["a", "x"], ["a"])


@pytest.mark.filterwarnings("ignore:\\nThe hypothesis contains 0 counts")
def test_as_released_is_what_a_flat_list_of_words_gives():
    from nltk.translate.bleu_score import sentence_bleu

    texts = [*ENGLISH, *(" ".join(text) for text in CHINESE), "a b c d e f", "a b c e d f g"]
    for mine, truth in itertools.product(texts, texts):
        expected = sentence_bleu(truth.split(), mine.split()) if mine and truth else 0.0
        assert bleu_as_released(mine, truth).score == pytest.approx(expected, abs=1e-6)
    perfect = "role::program, implemented-in::c, interface::commandline, network::configuration"
    assert bleu_as_released(perfect, perfect).score < bleu(perfect, perfect).score == 1
    assert bleu_as_released("aa bb", "xabcdx", tokenizer="characters").smoothing == "none"


def test_calibration_by_hand():
    found = calibration([0.0, 0.1, 0.2, 0.55, 1.0, 1.0], [0, 1, 0, 1, 1, 0], bins=5)
    assert found.counts.tolist() == [3, 0, 1, 0, 2]
    assert found.accuracy[[0, 2, 4]] == pytest.approx([1 / 3, 1, 1 / 2])
    assert found.confidence[[0, 2, 4]] == pytest.approx([0.1, 0.55, 1.0])
    assert np.isnan(found.accuracy[[1, 3]]).all()
    assert found.error == pytest.approx((3 * abs(1 / 3 - 0.1) + 0.45 + 2 * 0.5) / 6)
    assert calibration([0.7] * 10, [1] * 7 + [0] * 3).error == pytest.approx(0)


def test_calibration_refuses():
    with pytest.raises(ValueError, match="a confidence and an outcome for each answer"):
        calibration([0.1], [1, 0])
    with pytest.raises(ValueError, match="a confidence and an outcome for each answer"):
        calibration([], [])
    with pytest.raises(ValueError, match=r"confidences must be in \[0, 1\]"):
        calibration([1.5], [1])
    with pytest.raises(ValueError, match="bins at least 1"):
        calibration([0.5], [1], bins=0)
