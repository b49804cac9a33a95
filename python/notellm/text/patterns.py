"""What is looked for in a folded text, as compiled regular expressions."""

import re
from functools import cache
from typing import NamedTuple

from notellm.text.scripts import WIDE_PUNCTUATION, character_classes

NOT_PLAIN = re.compile(
    "[\u00ad\u0130\u0300-\u036f\u0483-\u0489\u0590-\u1dff\u200b-\u200f\u2060-\u206f\u20d0-\u20ff\u2c00-\U0010ffff]"
)
"""A character that needs one of the `Patterns`. Latin, Greek and Cyrillic without loose accents hold none, nor does
their punctuation (the dotted capital I is one: it folds to a letter and an accent). Their words are what Python's own
class of word characters finds, in a fraction of the time."""

PLAIN_WORDS, PLAIN_TERMS = re.compile(r"[^\W_]+"), re.compile(r"\w\w+")
"""Words and terms of a text without `NOT_PLAIN`."""

ASCII_WORDS = re.compile("[a-z0-9]+")
"""Of a text that is ASCII, the words that `Patterns.by_script` finds."""

ASCII_TERMS = re.compile("[a-z0-9_]{2,}")
"""Of a text that is ASCII, the terms that `Patterns.terms_by_script` finds."""


_FROM_FIRST_MARK = "\u0300-\U0010ffff"


class Patterns(NamedTuple):
    """What each finds.

    Attributes:
        by_script: Words; single characters of scripts without spaces.
        words: Words, whatever the script: what stands between spaces and punctuation.
        characters: Single letters, marks and numbers.
        by_dictionary: Words; runs of Chinese and Japanese; single characters of other scripts without spaces.
        terms_by_script: Words of two or more characters, the underscore among them; runs of scripts without spaces.
        terms: Words of two or more characters, whatever the script.
        terms_by_dictionary: As ``terms_by_script``, with runs of Chinese and Japanese apart from others.
        runs: Runs of letters, marks and numbers of any script.
        without_spaces: A character of a script without spaces.
        chinese_japanese: A run of Chinese and Japanese, which a dictionary may cut.
        set_apart: What BLEU counts alone: a character of a script without spaces, or wide punctuation.
        others_set_apart: The same, but for Chinese and Japanese.
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
    """All of them, compiled when the first text that is not plain needs them."""
    marks, chinese_japanese, others = character_classes()
    without, all_marks = chinese_japanese + others, marks + chinese_japanese + others
    letter = rf"[^\W_{without}]"  # of a script with spaces; and decimal digits
    # The test ahead spares most characters the search through hundreds of ranges.
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
