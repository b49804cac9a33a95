"""How a text is tokenised, for each purpose and by each analyzer; decided here only.

An analyzer is a rule for all scripts. The tokens also depend on the purpose: ROUGE ignores case and punctuation, BLEU
keeps both, and an index of terms takes pairs of characters in scripts without spaces between words.
"""

import re
from collections.abc import Mapping
from operator import add
from types import MappingProxyType

from notellm.text.dictionary import check_dictionary, dictionary_words
from notellm.text.normal import folded, folded_plain, normalized
from notellm.text.patterns import ASCII_TERMS, ASCII_WORDS, NOT_PLAIN, PLAIN_TERMS, PLAIN_WORDS, patterns
from notellm.text.tokenizers import TOKENIZERS, Tokenizer, mteval_13a

ANALYZERS = ("auto", "words", "characters", "jieba")
"""``"auto"`` chooses by script: words in scripts that put spaces between them (Latin, Cyrillic, Greek, Arabic,
Devanagari, Hangul, ...), characters in those that do not (Chinese, Japanese, Thai, Khmer, ...). ``"words"`` and
``"characters"`` do the same to all scripts; ``"jieba"`` is ``"auto"`` with the words of the package jieba for Chinese
and Japanese."""


def check_analyzer(analyzer: str, where: str) -> None:
    """Checks an analyzer before work begins.

    Args:
        analyzer: A name of `ANALYZERS`.
        where: The calling function, for the message.

    Raises:
        ValueError: If there is no such analyzer.
        NotSupportedError: If it needs a package that is not installed.
    """
    if analyzer not in ANALYZERS:
        raise ValueError(f"{where}: analyzer must be one of {', '.join(ANALYZERS)}, but is {analyzer!r}")
    if analyzer == "jieba":
        check_dictionary()


def _overlap_by_script(text: str) -> list[str]:
    if text.isascii():
        return ASCII_WORDS.findall(text.lower())
    if NOT_PLAIN.search(text) is None:
        return PLAIN_WORDS.findall(folded_plain(text))
    return patterns().by_script.findall(folded(text))


def _overlap_words(text: str) -> list[str]:
    if text.isascii():
        return ASCII_WORDS.findall(text.lower())
    return patterns().words.findall(folded(text))


def _overlap_characters(text: str) -> list[str]:
    return patterns().characters.findall(folded(text))


def _overlap_by_dictionary(text: str) -> list[str]:
    tokens: list[str] = []
    for run in patterns().by_dictionary.findall(folded(text)):
        tokens += dictionary_words(run) if _is_chinese_japanese(run) else [run]
    return tokens


def _is_chinese_japanese(run: str) -> bool:
    return patterns().chinese_japanese.match(run) is not None


OVERLAP_TOKENS: Mapping[str, Tokenizer] = MappingProxyType(
    {
        "auto": _overlap_by_script,
        "words": _overlap_words,
        "characters": _overlap_characters,
        "jieba": _overlap_by_dictionary,
    }
)
"""For ROUGE, by analyzer: letters, marks and numbers, case folded; punctuation and symbols only separate tokens."""


def _bleu_by_script(text: str) -> list[str]:
    text = normalized(text)
    return mteval_13a(text if text.isascii() else patterns().set_apart.sub(r" \g<0> ", text))


def _bleu_words(text: str) -> list[str]:
    return mteval_13a(normalized(text))


def _bleu_characters(text: str) -> list[str]:
    return TOKENIZERS["characters"](normalized(text))


def _bleu_by_dictionary(text: str) -> list[str]:
    apart = patterns().others_set_apart.sub(r" \g<0> ", normalized(text))
    return mteval_13a(patterns().chinese_japanese.sub(_spaced_words, apart))


def _spaced_words(run: re.Match[str]) -> str:
    return f" {' '.join(dictionary_words(run[0]))} "


BLEU_TOKENS: Mapping[str, Tokenizer] = MappingProxyType(
    {
        "auto": _bleu_by_script,
        "words": _bleu_words,
        "characters": _bleu_characters,
        "jieba": _bleu_by_dictionary,
    }
)
"""For BLEU, by analyzer: case is kept, punctuation marks are tokens. Words are those of mteval-v13a."""


def _terms_by_script(text: str) -> list[str]:
    if text.isascii():
        return ASCII_TERMS.findall(text.lower())
    if NOT_PLAIN.search(text) is None:
        return PLAIN_TERMS.findall(folded_plain(text))
    is_without_spaces = patterns().without_spaces.match
    terms: list[str] = []
    for run in patterns().terms_by_script.findall(folded(text)):
        if is_without_spaces(run):
            terms += _characters_and_pairs(run)
        else:
            terms.append(run)
    return terms


def _characters_and_pairs(run: str) -> list[str]:
    return [*run, *map(add, run, run[1:])]


def _terms_words(text: str) -> list[str]:
    if text.isascii():
        return ASCII_TERMS.findall(text.lower())
    if NOT_PLAIN.search(text) is None:
        return PLAIN_TERMS.findall(folded_plain(text))
    return patterns().terms.findall(folded(text))


def _terms_characters(text: str) -> list[str]:
    runs = patterns().runs.findall(folded(text))
    return [term for run in runs for term in _characters_and_pairs(run)]


def _terms_by_dictionary(text: str) -> list[str]:
    terms: list[str] = []
    for run in patterns().terms_by_dictionary.findall(folded(text)):
        if _is_chinese_japanese(run):
            terms += dictionary_words(run)
        elif patterns().without_spaces.match(run):
            terms += _characters_and_pairs(run)
        else:
            terms.append(run)
    return terms


TERMS: Mapping[str, Tokenizer] = MappingProxyType(
    {
        "auto": _terms_by_script,
        "words": _terms_words,
        "characters": _terms_characters,
        "jieba": _terms_by_dictionary,
    }
)
"""For TF-IDF and BM25, by analyzer: words of two or more characters (the underscore is one), case folded. In scripts
without spaces between words: characters, and pairs of neighbouring characters in place of words."""
