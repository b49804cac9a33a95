"""Fixed tokenizers, the same for every script, by the names under which results are published."""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from notellm.text.dictionary import dictionary_words

Tokenizer = Callable[[str], list[str]]


def _alphanumeric_lower(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def _whitespace(text: str) -> list[str]:
    return text.split()


def _whitespace_lower(text: str) -> list[str]:
    return text.lower().split()


def _characters(text: str) -> list[str]:
    return [character for character in text if not character.isspace()]


def mteval_13a(text: str) -> list[str]:
    """The words and punctuation of NIST's mteval-v13a, as implemented by sacreBLEU."""
    text = text.rstrip().replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for entity, character in (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")):
        text = text.replace(entity, character)
    text = f" {text} "
    text = re.sub(r"([ -&(-+/:-@\[-`{-~])", r" \1 ", text)  # ASCII punctuation except ' , - .
    text = re.sub(r"([^0-9])([.,])", r"\1 \2 ", text)
    text = re.sub(r"([.,])([^0-9])", r" \1 \2", text)
    return re.sub(r"([0-9])(-)", r"\1 \2 ", text).split()


TOKENIZERS: Mapping[str, Tokenizer] = MappingProxyType(
    {
        "alphanumeric-lower": _alphanumeric_lower,
        "13a": mteval_13a,
        "whitespace": _whitespace,
        "whitespace-lower": _whitespace_lower,
        "characters": _characters,
        "jieba": dictionary_words,
    }
)
"""The tokenizers: lower-case runs of a-z and 0-9 (as the package rouge-score without its stemmer); the words of NIST's
mteval-v13a, as in sacreBLEU; words between white space, as they are or in lower case; single characters other than
white space; the words of the package jieba (for Chinese)."""
