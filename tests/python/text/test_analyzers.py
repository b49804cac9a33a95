"""How texts are cut, script by script, against worked examples and against sacreBLEU."""

import csv
import re
import sys
import types
from pathlib import Path

import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st

from notellm.errors import NotSupportedError
from notellm.metrics import TOKENIZERS, bleu, rouge
from notellm.text import (
    ANALYZERS,
    BLEU_TOKENS,
    OVERLAP_TOKENS,
    TERMS,
    bleu_cut_by,
    check_analyzer,
    cut_by,
    dictionary,
    together,
)

CAPTIONS = Path("../shared/data/kuairec-captions/kuairec_caption_category.csv")

WORDS = {
    "english": ("Don't x_y, web-server 3.5!", ["don", "t", "x", "y", "web", "server", "3", "5"]),
    "german": ("Müll-Straße", ["müll", "strasse"]),
    "vietnamese": ("Tiếng Việt", ["tiếng", "việt"]),
    "turkish": ("ılık İSTANBUL", ["ılık", "i\u0307stanbul"]),
    "russian": ("«Привет», Ёлка", ["привет", "ёлка"]),
    "greek": ("Ὁ ΛΌΓΟΣ, λόγος", ["ὁ", "λόγοσ", "λόγοσ"]),
    "hebrew": ("שָׁלוֹם עולם", ["שָׁלוֹם", "עולם"]),
    "persian": ("می\u200cخواهم ۱۲", ["میخواهم", "۱۲"]),
    "hindi": ("हिन्दी में", ["हिन्दी", "में"]),
    "korean": ("한국어 단어", ["한국어", "단어"]),
    "amharic": ("ሰላም፡ዓለም", ["ሰላም", "ዓለም"]),
}
CHARACTERS = {
    "chinese": ("美食，旅行。", list("美食旅行")),
    "rare han": ("\U00020bb7野家", ["\U00020bb7", "野", "家"]),
    "japanese": ("タワーへ・行く", list("タワーへ行く")),
    "half-width": ("ｶﾀｶﾅ", list("ｶﾀｶﾅ")),
    "thai": ("สวัสดี ครับ", list("สวัสดีครับ")),
    "lao": ("ສະບາຍດີ", list("ສະບາຍດີ")),
    "khmer": ("ខ្មែរ", list("ខ្មែរ")),
    "burmese": ("မြန်မာ", list("မြန်မာ")),
    "tibetan": ("བོད་ཡིག", list("བོདཡིག")),
}


@pytest.mark.parametrize("language", WORDS)
def test_scripts_with_spaces_are_words(language):
    text, words = WORDS[language]
    assert OVERLAP_TOKENS["auto"](text) == OVERLAP_TOKENS["words"](text) == words
    assert cut_by("auto", words) == "words"


@pytest.mark.parametrize("language", CHARACTERS)
def test_scripts_without_spaces_are_characters(language):
    text, characters = CHARACTERS[language]
    assert OVERLAP_TOKENS["auto"](text) == OVERLAP_TOKENS["characters"](text) == characters
    assert cut_by("auto", characters) == "characters"
    assert [
        token for token in BLEU_TOKENS["auto"](text) if token.isalnum() or token in characters
    ] == characters
    assert len(OVERLAP_TOKENS["words"](text)) < len(characters)


def test_a_text_of_two_scripts_is_cut_by_both():
    text = "iPhone14手机壳、好用！ ๒๕๖๗ปี"
    assert OVERLAP_TOKENS["auto"](text) == ["iphone14", *"手机壳好用", "๒๕๖๗", "ป", "ี"]
    assert BLEU_TOKENS["auto"](text) == ["iPhone14", *"手机壳、好用！", "๒๕๖๗", "ป", "ี"]
    assert TERMS["auto"](text) == [
        *["iphone14", "手", "机", "壳", "手机", "机壳", "好", "用", "好用"],
        *["๒๕๖๗", "ป", "ี", "ปี"],
    ]


def test_terms_are_words_of_two_characters_as_scikit_learn_has_them():
    assert TERMS["auto"]("A Web_server x é Été") == ["web_server", "été"]
    assert TERMS["auto"]("में क") == ["में"]
    assert TERMS["characters"]("ab-c") == ["a", "b", "ab", "c"]
    assert TERMS["words"]("美食，旅行") == ["美食", "旅行"]


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=30))
def test_the_quick_ways_cut_as_the_thorough_one(text):
    """A joiner in front makes every text one that is not plain, and is left out of it."""
    for tokens in (OVERLAP_TOKENS, TERMS):
        for analyzer in ("auto", "words"):
            assert tokens[analyzer](text) == tokens[analyzer]("\u2060" + text)


def test_the_quick_ways_know_every_character():
    ways = [cuts[name] for cuts in (OVERLAP_TOKENS, TERMS) for name in ("auto", "words")]
    texts = [f"x{chr(code)}y {chr(code)}" for code in range(0x80, 0x2D00)]
    assert [text for text in texts if any(cut(text) != cut(f"\u2060{text}") for cut in ways)] == []


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(codec="ascii"), max_size=60))
def test_ascii_is_cut_as_ever(text):
    assert OVERLAP_TOKENS["auto"](text) == TOKENIZERS["alphanumeric-lower"](text)
    assert BLEU_TOKENS["auto"](text) == BLEU_TOKENS["words"](text) == TOKENIZERS["13a"](text)


@pytest.mark.parametrize(
    ("text", "theirs"),
    [
        ("Der Müll, die Straße (3,5 km).", "13a"),
        ("Привет, мир! Это — «тест».", "13a"),
        ("Καλημέρα, κόσμε; 1,5.", "13a"),
        ("今天，天气不错！iPhone 14, 100%好用。", "zh"),
        ("【笔记】好吃的红烧肉～2024年3.5分", "zh"),
    ],
)
def test_bleu_cuts_as_sacrebleu(text, theirs):
    cut = sacrebleu.BLEU(tokenize=theirs).tokenizer
    assert BLEU_TOKENS["auto"](text) == cut(text).split()


@pytest.mark.skipif(not CAPTIONS.exists(), reason="needs the captions of ../shared/data")
def test_bleu_cuts_real_chinese_as_sacrebleu():
    cut = sacrebleu.BLEU(tokenize="zh").tokenizer
    with CAPTIONS.open(encoding="utf-8-sig") as file:
        texts = [row["caption"] for row in csv.DictReader(file)][:2000]
    plain = re.compile(
        "[\\s!-~\u4e00-\u9fbb\u3000-\u303f\uff01-\uff0f\uff1a-\uff1f]*"
    )  # theirs has no Japanese
    chinese = [text for text in texts if plain.fullmatch(text)]
    assert len(chinese) > 1500
    for text in chinese:
        assert BLEU_TOKENS["auto"](text) == cut(text).split()


@pytest.mark.parametrize(
    ("prediction", "reference", "rouge1", "rouge2", "rouge_l"),
    [
        # 3 of 4 characters, 1 of 3 pairs (美食), in order 美食行
        ("美食, 行走", "美食, 旅行", 3 / 4, 1 / 3, 3 / 4),
        # 1 of 2 and 3 words; no pair
        ("Чай, кофе", "зелёный чай, ВОДА", 2 / 5, 0, 2 / 5),
        # อาหาร (5 characters) of 5 and 8; its 4 pairs of 4 and 7
        ("อาหาร", "อาหารไทย", 10 / 13, 8 / 11, 10 / 13),
        ("mäll", "müll", 0, None, 0),
        ("STRASSE, müll", "straße, müll", 1, 1, 1),
    ],
)
def test_rouge_by_hand(prediction, reference, rouge1, rouge2, rouge_l):
    found = rouge(prediction, reference)
    f1 = [score if score is None else pytest.approx(score.f1) for score in found[:3]]
    assert f1 == [rouge1, rouge2, rouge_l]


def test_bleu_by_hand():
    # 美 食 , 行 走 of 美 食 , 旅 行: 4 of 5, 2 of 4 (美食, 食,), 1 of 3 (美食,), then 1/2 of 2
    expected = (4 / 5 * 2 / 4 * 1 / 3 * (1 / 2) / 2) ** (1 / 4)
    assert bleu("美食, 行走", "美食, 旅行").score == pytest.approx(expected)
    assert bleu("美食, 行走", "美食, 旅行").tokenizer == "13a and characters"
    assert bleu("mäll", "müll").score == 0


def test_names():
    assert cut_by("auto", [",", "\u2026"]) == "auto"
    assert cut_by("auto", ["a", "美"]) == cut_by("auto", ["美", "é"]) == "words and characters"
    assert bleu_cut_by("auto", [","]) == bleu_cut_by("words", ["美"]) == "13a"
    assert bleu_cut_by("given", ["美"]) == "given"
    assert [cut_by(name, []) for name in ("characters", "jieba", "given")] == ["characters", "jieba", "given"]
    assert together(["characters", "auto", "words"]) == "words and characters"
    assert together(["auto"]) == "auto"
    for analyzer in ANALYZERS[:3]:
        check_analyzer(analyzer, "test")
    with pytest.raises(
        ValueError, match="test: analyzer must be one of auto, words, characters, jieba, but is 'x'"
    ):
        check_analyzer("x", "test")


@pytest.fixture
def jieba(monkeypatch):
    """A dictionary of two words in the package's place; other characters are words of their own."""

    def cut(text):
        at = 0
        while at < len(text):
            length = 2 if text[at : at + 2] in ("美食", "旅行") else 1
            yield text[at : at + length]
            at += length

    monkeypatch.setitem(sys.modules, "jieba", types.SimpleNamespace(cut=cut))
    dictionary._jieba.cache_clear()
    yield
    dictionary._jieba.cache_clear()


@pytest.mark.usefixtures("jieba")
def test_a_dictionary_cuts_chinese_and_leaves_the_rest_to_the_script():
    text = "Web2 美食旅行和x ไทย"
    assert OVERLAP_TOKENS["jieba"](text) == ["web2", "美食", "旅行", "和", "x", *"ไทย"]
    assert BLEU_TOKENS["jieba"]("美食，旅行和x, ไทย") == ["美食", "，", "旅行", "和", "x", ",", *"ไทย"]
    assert TERMS["jieba"](text) == ["web2", "美食", "旅行", "和", *"ไทย", "ไท", "ทย"]
    assert rouge("美食, 行旅", "美食, 旅行", tokenizer="jieba") == (
        (1 / 3, 1 / 2, pytest.approx(2 / 5)),
        (0, 0, 0),
        (1 / 3, 1 / 2, pytest.approx(2 / 5)),
        "jieba",
    )


def test_without_the_package_the_dictionary_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "jieba", None)
    dictionary._jieba.cache_clear()
    with pytest.raises(NotSupportedError, match="jieba must be installed, but is not; try `pip"):
        check_analyzer("jieba", "test")
