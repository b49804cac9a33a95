"""Compiled regular expressions for folded texts."""

import re
from functools import cache
from typing import NamedTuple

from notellm.text.scripts import WIDE_PUNCTUATION, character_classes

NOT_PLAIN = re.compile(
    "[\u00ad\u0130\u0300-\u036f\u0483-\u0489\u0590-\u1dff\u200b-\u200f\u2060-\u206f\u20d0-\u20ff\u2c00-\U0010ffff]"
)
"""A character for which one of the `Patterns` is needed. Latin, Greek and Cyrillic texts without combining accents have
none, nor does their punctuation (but the dotted capital I is one: it folds to a letter and an accent). Their words are
found by Python's own class of word characters, in a fraction of the time."""

PLAIN_WORDS, PLAIN_TERMS = re.compile(r"[^\W_]+"), re.compile(r"\w\w+")
"""Words and terms of a text without `NOT_PLAIN`."""

ASCII_WORDS = re.compile("[a-z0-9]+")
"""In an ASCII text, the words that `Patterns.by_script` finds."""

ASCII_TERMS = re.compile("[a-z0-9_]{2,}")
"""In an ASCII text, the terms that `Patterns.terms_by_script` finds."""


_FROM_FIRST_MARK = "\u0300-\U0010ffff"


class Patterns(NamedTuple):
    """The patterns, by what each finds.

    Attributes:
        by_script: Words; single characters of scripts without spaces.
        words: Words in any script: whatever lies between spaces and punctuation.
        characters: Single letters, marks and numbers.
        by_dictionary: Words; runs of Chinese and Japanese; single characters of other scripts without spaces.
        terms_by_script: Words of two or more characters (the underscore is one); runs of scripts without spaces.
        terms: Words of two or more characters in any script.
        terms_by_dictionary: As ``terms_by_script``, but runs of Chinese and Japanese are separate from others.
        runs: Runs of letters, marks and numbers of any script.
        without_spaces: A character of a script without spaces.
        chinese_japanese: A run of Chinese and Japanese, which a dictionary may cut.
        set_apart: Characters that are single tokens for BLEU: of scripts without spaces, or wide punctuation.
        others_set_apart: The same, except Chinese and Japanese.
    """

    by_script: re.Pattern[str]
    words: re.Pattern[str]
    characters: re.Pattern[str]
    by_dictionary: re.Pattern[str]
    terms_by_script: re.Pattern[str]
    terms: re.Pattern[str]
    terms_by_dictionary: re.Pattern[str]
    runs: re.Pattern[str]
    without_spaces: re.Pattern[str]
    chinese_japanese: re.Pattern[str]
    set_apart: re.Pattern[str]
    others_set_apart: re.Pattern[str]


@cache
def patterns() -> Patterns:
    """All patterns, compiled when the first text that is not plain needs them."""
    marks, chinese_japanese, others = character_classes()
    without, all_marks = chinese_japanese + others, marks + chinese_japanese + others
    letter = rf"[^\W_{without}]"  # of a script with spaces; and decimal digits
    # The lookahead saves the search through hundreds of ranges for most characters.
    word = rf"{letter}+(?:(?=[{_FROM_FIRST_MARK}])[{marks}]+{letter}*)*"
    term = rf"[^\W{without}](?:[^\W{without}]+|(?=[{_FROM_FIRST_MARK}])[{marks}]+)+"
    return Patterns(
        by_script=re.compile(f"{word}|[{without}]"),
        words=re.compile(rf"[^\W_](?:[^\W_]+|(?=[{_FROM_FIRST_MARK}])[{all_marks}]+)*"),
        characters=re.compile(rf"[^\W_]|[{all_marks}]"),
        by_dictionary=re.compile(f"{word}|[{chinese_japanese}]+|[{others}]"),
        terms_by_script=re.compile(f"{term}|[{without}]+"),
        terms=re.compile(rf"\w(?:\w+|(?=[{_FROM_FIRST_MARK}])[{all_marks}]+)+"),
        terms_by_dictionary=re.compile(f"{term}|[{chinese_japanese}]+|[{others}]+"),
        runs=re.compile(rf"(?:[^\W_]+|(?=[{_FROM_FIRST_MARK}])[{all_marks}]+)+"),
        without_spaces=re.compile(f"[{without}]"),
        chinese_japanese=re.compile(f"[{chinese_japanese}]+"),
        set_apart=re.compile(f"[{without}{WIDE_PUNCTUATION}]"),
        others_set_apart=re.compile(f"[{others}{WIDE_PUNCTUATION}]"),
    )
