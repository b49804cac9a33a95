"""TF-IDF: ranks against a plain sort of cosine similarities, ties, exclusion, errors."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.feature_extraction import text as sklearn_text

from notellm.baselines import Bm25Index, CooccurrenceIndex, PopularityIndex, RandomIndex, TfidfIndex, sparse
from notellm.data import Interactions
from notellm.text import TERMS

WORDS = ["chess", "mail", "server", "engine", "library", "game", "python", "tool", "web", "sound"]


@pytest.fixture(scope="module")
def texts():
    """120 texts of 1..6 words out of ten: many duplicates, many pairs without a common word."""
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, rng.integers(1, 7))) for _ in range(120)]


def reference_vectors(texts):
    """(N, V) TF-IDF by the definition: (1 + ln tf) (1 + ln((1 + N) / (1 + df))), rows of length 1."""
    counts = np.array([[text.split().count(word) for word in WORDS] for text in texts], dtype=float)
    tf = np.where(counts > 0, 1 + np.log(np.maximum(counts, 1)), 0)
    vectors = tf * (1 + np.log((1 + len(texts)) / (1 + (counts > 0).sum(axis=0))))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_scores_follow_the_definition(texts):
    vectors = reference_vectors(texts)
    np.testing.assert_allclose(TfidfIndex(texts).scores(np.arange(120)), vectors @ vectors.T, atol=1e-12)


@pytest.mark.parametrize("block_entries", [1, 120 * 7, 1 << 20])
def test_ranks_equal_counting_over_python_lists(texts, block_entries, monkeypatch):
    monkeypatch.setattr(sparse, "BLOCK_ENTRIES", block_entries)
    index = TfidfIndex(texts)
    rng = np.random.default_rng(1)
    queries = rng.integers(0, 120, 50)
    targets = (queries + rng.integers(1, 120, 50)) % 120
    ranks = index.ranks(queries, targets)
    for query, target, greater, equal in zip(queries, targets, *map(np.asarray, ranks), strict=True):
        row = index.scores([query])[0].tolist()
        others = [score for note, score in enumerate(row) if note not in (query, target)]
        assert greater == sum(score > row[target] for score in others)
        assert equal == sum(score == row[target] for score in others)
    assert ranks.greater.dtype == ranks.equal.dtype == torch.int64


def test_equal_texts_tie_exactly():
    index = TfidfIndex(["mail server tool", "web game", "mail server sound web", "mail server sound web"])
    assert index.ranks([0, 0], [2, 3]).greater.tolist() == [0, 0]
    assert index.ranks([0, 0], [2, 3]).equal.tolist() == [1, 1]


def test_a_target_without_a_common_word_ties_with_all_such_texts():
    index = TfidfIndex(["mail", "mail server", "chess", "game", "sound"])
    ranks = index.ranks([0], [2])
    assert (ranks.greater.item(), ranks.equal.item()) == (1, 2)


def test_excluded_texts_are_not_counted():
    index = TfidfIndex(["mail", "mail server", "mail server web", "mail web", "mail"])
    assert index.ranks([0], [2]).greater.tolist() == [3]
    assert index.ranks([0], [2], exclude=[[0, 4, -1]]).greater.tolist() == [2]
    assert index.ranks([0], [2], exclude=[-1]).greater.tolist() == [4]


def test_nearest_is_best_first_without_itself_and_ties_by_position(texts):
    index = TfidfIndex(texts)
    notes, scores = index.nearest(5, 119)
    assert sorted(notes.tolist() + [5]) == list(range(120))
    expected = sorted(set(range(120)) - {5}, key=lambda note: (-index.scores([5])[0, note], note))
    assert notes.tolist() == expected
    assert (np.diff(scores) <= 0).all()
    assert len(index.nearest(5, 3)[0]) == 3


@pytest.mark.parametrize("index", [TfidfIndex, Bm25Index])
@pytest.mark.parametrize(
    "texts",
    [
        ["上海美食推荐", "上海美食地图", "学习编程语言"],
        ["ชอบอาหารไทย", "ร้านอาหารไทย", "เรียนเปียโน"],
        ["おいしい緑茶です", "緑茶の入れ方", "ギターをひく"],
    ],
)
def test_words_written_without_spaces_are_found(index, texts):
    assert index(texts, analyzer="words").scores([0])[0, 1] == 0
    for analyzer, name in (("auto", "characters"), ("characters", "characters")):
        made = index(texts, analyzer=analyzer)
        assert made.nearest(0, 1)[0].tolist() == [1]
        assert made.scores([0])[0, 1] > 2 * made.scores([0])[0, 2]
        assert made.analyzer == name


def test_an_index_says_what_its_texts_were_cut_into():
    assert TfidfIndex(["mail server"]).analyzer == Bm25Index(["müll"], analyzer="words").analyzer == "words"
    assert TfidfIndex(["mail 笔记"]).analyzer == "words and characters"
    with pytest.raises(ValueError, match="TfidfIndex: analyzer must be one of auto, words, .* but is 'sql'"):
        TfidfIndex(["a b"], analyzer="sql")
    with pytest.raises(ValueError, match="TfidfIndex: stop_words must be 'english' or None, but is 'de'"):
        TfidfIndex(["a b"], stop_words="de")


def test_stop_words_are_left_out():
    index = TfidfIndex(["the mail", "the web", "mail"], stop_words="english")
    assert index.scores([0])[0].tolist() == [1, 0, 1]


@pytest.mark.parametrize("vectorizer", ["TfidfVectorizer", "CountVectorizer"])
def test_english_terms_are_those_of_scikit_learn_to_the_bit(vectorizer):
    rng = np.random.default_rng(5)
    alphabet = list("abcXYZ019_-.,'\u2019\u201c\u00e9 \n    ")
    texts = ["".join(rng.choice(alphabet, 60)) for _ in range(200)]
    options = {"sublinear_tf": True} if vectorizer == "TfidfVectorizer" else {}
    plain = getattr(sklearn_text, vectorizer)(**options)
    own = getattr(sklearn_text, vectorizer)(analyzer=TERMS["auto"], **options)
    assert (plain.fit_transform(texts) != own.fit_transform(texts)).nnz == 0
    assert plain.vocabulary_ == own.vocabulary_


def test_progress_counts_queries(texts, monkeypatch):
    monkeypatch.setattr(sparse, "BLOCK_ENTRIES", 120 * 4)
    seen = []
    TfidfIndex(texts).ranks(np.arange(10), np.arange(10, 20), progress=lambda *at: seen.append(at))
    assert seen == [(4, 10), (8, 10), (10, 10)]


def test_errors_name_the_value(texts):
    index = TfidfIndex(texts)
    with pytest.raises(IndexError, match=r"queries must be in \[0, 120\), but hold 120"):
        index.ranks([120], [0])
    with pytest.raises(ValueError, match="must be of one length, but are 2, 1 and 2"):
        index.ranks([0, 1], [2])
    with pytest.raises(ValueError, match=r"target must not be excluded, but that of query 1 \(position 4\)"):
        index.ranks([0, 4], [1, 4])
    with pytest.raises(ValueError, match="at least one text must hold a term"):
        TfidfIndex(["", "."])


def test_bm25_is_the_formula():
    texts = ["mail server mail", "web server", "chess", "mail"]
    words = sorted({word for text in texts for word in text.split()})
    mean = np.mean([len(text.split()) for text in texts])

    def score(query, text):
        own = text.split()
        total = 0.0
        for word in words:
            n = sum(word in other.split() for other in texts)
            idf = np.log(1 + (len(texts) - n + 0.5) / (n + 0.5))
            tf = own.count(word)
            weight = tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * len(own) / mean))
            total += query.split().count(word) * idf * weight
        return total

    expected = [[score(query, text) for text in texts] for query in texts]
    np.testing.assert_allclose(Bm25Index(texts).scores(np.arange(4)), expected, atol=1e-12)


def test_bm25_ties_and_refuses():
    index = Bm25Index(["mail server", "mail server", "web"])
    assert index.ranks([0], [1]).greater.tolist() == [0]
    with pytest.raises(ValueError, match="k1 must be at least 0 and b in"):
        Bm25Index(["a b"], b=2)
    with pytest.raises(ValueError, match="Bm25Index: at least one text must hold a term"):
        Bm25Index(["", "."])


def test_cooccurrence_ranks_by_equation_1():
    draw = np.random.default_rng(0)
    users, notes = np.repeat(np.arange(30), 4), draw.integers(0, 20, 120)
    log = Interactions(users, notes, [str(u) for u in range(30)], [str(n) for n in range(20)], ordered=False)
    pool = np.array([3, 17, 5, 0, 11, 12, 8])
    expected = np.zeros((7, 7))
    for user in range(30):
        own = set(notes[users == user].tolist())
        for i, j in itertools.permutations(range(7), 2):
            if {pool[i], pool[j]} <= own:
                expected[i, j] += 1 / len(own)
    index = CooccurrenceIndex(log, pool)
    np.testing.assert_allclose(index.scores(range(7)), expected, atol=1e-9)
    assert (expected > 0).any()
    ranks = index.ranks([0, 1], [1, 2])
    others = [[j for j in range(7) if j not in (0, 1)], [j for j in range(7) if j not in (1, 2)]]
    assert ranks.greater.tolist() == [
        sum(expected[q, j] > expected[q, t] + 1e-12 for j in rest)
        for q, t, rest in zip((0, 1), (1, 2), others, strict=True)
    ]
    with pytest.raises(IndexError, match=r"must be in \[0, 20\), but holds 20"):
        CooccurrenceIndex(log, np.array([20]))


def test_popularity_ranks_by_exposure_whatever_the_query_is():
    exposure = np.array([5, 0, 9, 5, 1, 5])
    ranks = PopularityIndex(exposure).ranks([0, 2, 1], [3, 4, 2])
    assert ranks.greater.tolist() == [1, 3, 0]  # the query itself does not count
    assert ranks.equal.tolist() == [1, 0, 0]
    assert PopularityIndex(exposure).lists([0, 2], 3).tolist() == [[2, 3, 5], [0, 3, 5]]
    with pytest.raises(ValueError, match="PopularityIndex: exposure must be finite and from 0"):
        PopularityIndex([1, -1])


def test_random_orders_find_what_chance_finds(monkeypatch):
    monkeypatch.setattr(sparse, "BLOCK_ENTRIES", 200 * 7)  # blocks change nothing
    draw = np.random.default_rng(0)
    queries, targets = np.arange(200).repeat(10), draw.integers(1, 200, 2000)
    index = RandomIndex(200, seed=4)
    greater = index.ranks(queries, (queries + targets) % 200).greater.numpy()
    assert (greater < 20).mean() == pytest.approx(20 / 199, abs=0.02)
    assert np.bincount(greater // 40, minlength=5) / 2000 == pytest.approx(np.full(5, 0.2), abs=0.03)
    lists = index.lists(np.arange(200), 199)
    assert len(np.unique(lists[:, 0])) > 100  # every query has its own order
    assert (lists == RandomIndex(200, seed=4).lists(np.arange(200), 199)).all()
    assert (lists != RandomIndex(200, seed=5).lists(np.arange(200), 199)).any()


def test_lists_are_the_nearest_notes(texts):
    index = TfidfIndex(texts)
    lists = index.lists([5, 0, 119], 500)
    assert lists.shape == (3, 120)
    for query, own in zip([5, 0, 119], lists, strict=True):
        assert own.tolist() == [*index.nearest(query, 119)[0].tolist(), -1]
    with pytest.raises(IndexError, match=r"queries must be in \[0, 120\), but hold 120"):
        index.lists([120], 3)


def test_a_history_is_the_weighted_sum_of_its_notes(texts):
    index = TfidfIndex(texts)
    histories, weights = np.array([[3, 7], [-1, 9]]), np.array([[0.25, 0.75], [0.0, 1.0]])
    users = index.for_histories(histories, weights)
    expected = [0.25 * index.scores([3])[0] + 0.75 * index.scores([7])[0], index.scores([9])[0]]
    np.testing.assert_allclose(users.scores([0, 1]), expected, atol=1e-12)
    ranks = users.ranks([0, 1], [20, 20], exclude=histories)
    others = [[n for n in range(120) if n not in (3, 7, 20)], [n for n in range(120) if n not in (9, 20)]]
    rows = users.scores([0, 1])
    assert ranks.greater.tolist() == [(rows[q, own] > rows[q, 20]).sum() for q, own in enumerate(others)]
    assert not {3, 7} & set(users.lists([0], 118, exclude=histories[:1])[0].tolist())
    with pytest.raises(IndexError, match=r"queries must be in \[0, 2\), but hold 2"):
        users.ranks([2], [20], exclude=[-1])
    by_chance = RandomIndex(120, seed=1).for_histories(histories, weights)
    assert (by_chance.scores([0, 1]) == RandomIndex(120, seed=1).scores([0, 1])).all()
