"""Which characters make up words, and which scripts put no spaces between their words."""

import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

Range = tuple[int, int]

CHINESE_JAPANESE: tuple[Range, ...] = (
    (0x3005, 0x3007),  # iteration mark, closing mark, zero
    (0x3021, 0x302F),  # Hangzhou numerals, tone marks
    (0x3031, 0x3035),  # kana repeat marks
    (0x3038, 0x303C),
    (0x3041, 0x3096),  # Hiragana
    (0x3099, 0x309A),
    (0x309D, 0x309F),
    (0x30A1, 0x30FA),  # Katakana
    (0x30FC, 0x30FF),
    (0x3105, 0x312F),  # Bopomofo
    (0x31A0, 0x31BF),
    (0x31F0, 0x31FF),  # Katakana extensions
    (0x3400, 0x4DBF),  # Han, extension A
    (0x4E00, 0x9FFF),  # Han
    (0xF900, 0xFAFF),  # compatibility ideographs
    (0xFF66, 0xFF9F),  # half-width Katakana
    (0x1AFF0, 0x1B16F),  # Kana supplement and extensions
    (0x20000, 0x3FFFD),  # Han, extensions B and later
)
"""Letters and marks of Han, and of kana and Bopomofo, which are mixed with it."""

OTHERS_WITHOUT_SPACES: tuple[Range, ...] = (
    (0x0E00, 0x0E7F),  # Thai
    (0x0E80, 0x0EFF),  # Lao
    (0x0F00, 0x0FFF),  # Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19DF),  # Tai Le, New Tai Lue
    (0x1A00, 0x1AAF),  # Buginese, Tai Tham
    (0x1B00, 0x1B7F),  # Balinese
    (0x1BC0, 0x1BFF),  # Batak
    (0xA000, 0xA4CF),  # Yi
    (0xA980, 0xA9FF),  # Javanese, Myanmar extended B
    (0xAA60, 0xAADF),  # Myanmar extended A, Tai Viet
)
"""Other scripts that put no spaces between words. Korean and Ethiopic, among others, do, so they have words."""

ANCIENT_WITHOUT_SPACES: tuple[Range, ...] = (
    (0x11700, 0x1174F),  # Ahom
    (0x11F00, 0x11F5F),  # Kawi
    (0x12000, 0x1345F),  # cuneiform, Egyptian hieroglyphs
    (0x17000, 0x18D7F),  # Tangut, Khitan
    (0x1B170, 0x1B2FF),  # Nushu
)
"""Ancient scripts, as whole blocks: a regular expression tests ranges beyond U+FFFF one by one, so few are better."""

WIDE_PUNCTUATION = (
    "\u3000-\u3004\u3008-\u3020\u3030\u3036\u3037\u303d-\u303f"  # of Chinese and Japanese
    "\ufe10-\ufe1f\ufe30-\ufe4f"  # vertical forms
    "\u30a0\u30fb\uff00-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\uffe0-\uffef"  # Katakana's; full width
)
"""Punctuation of Chinese and Japanese, as the inside of a character class of a regular expression."""

_MAY_HOLD_MARKS = (
    (0x0300, 0x33FF),
    (0xA000, 0xABFF),
    (0xFB00, 0xFE2F),
    (0x10000, 0x16FFF),
    (0x18D80, 0x1FFFF),
)
"""Ranges that may contain marks. The rest is Han, Hangul, Tangut, private use, or before the first mark."""


class CharacterClasses(NamedTuple):
    """Classes of characters, each as the inside of a character class of a regular expression.

    Attributes:
        marks: Accents, vowel signs and the like that belong to a letter of a script with spaces.
        chinese_japanese: `CHINESE_JAPANESE`.
        others: Letters, marks and numbers of `OTHERS_WITHOUT_SPACES`, except decimal digits, which form numbers.
    """

    marks: str
    chinese_japanese: str
    others: str


@cache
def character_classes() -> CharacterClasses:
    """The classes, from the Unicode data of this Python; made once, when the first text needs them."""
    others = [code for code in _codes(OTHERS_WITHOUT_SPACES) if _is_letter_mark_or_number(code)]
    others += _codes(ANCIENT_WITHOUT_SPACES)
    without = set(others)
    marks = [code for code in _codes(_MAY_HOLD_MARKS) if _is_mark(code) and code not in without]
    marks = [code for code in marks if not any(first <= code <= last for first, last in CHINESE_JAPANESE)]
    ranges = "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in CHINESE_JAPANESE)
    return CharacterClasses(_inside_of_class(marks), ranges, _inside_of_class(others))


def _codes(ranges: Iterable[Range]) -> Iterator[int]:
    return (code for first, last in ranges for code in range(first, last + 1))


def _is_mark(code: int) -> bool:
    return unicodedata.category(chr(code))[0] == "M"


def _is_letter_mark_or_number(code: int) -> bool:
    category = unicodedata.category(chr(code))
    return category[0] in "LMN" and category != "Nd"


def _inside_of_class(codes: Iterable[int]) -> str:
    """Ascending code points as ranges."""
    ranges: list[list[int]] = []
    for code in codes:
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)
