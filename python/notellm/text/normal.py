"""One form for texts that read the same: Unicode's NFC, and without case where case does not count."""

import re
import unicodedata
from collections.abc import Iterable

_IGNORED = re.compile(
    "[\u00ad\u034f\u180b-\u180d\u180f\u200c\u200d\u2060\ufe00-\ufe0f\ufeff\U000e0100-\U000e01ef]"
)
"""Code points that say how neighbours are drawn or broken, and are no part of a word: the soft hyphen, joiners,
variation selectors, the byte order mark. The zero-width space is not among them: it separates words."""


def normalized(text: str) -> str:
    """The text in Unicode's normal form C, in which an accented letter is one code point wherever there is one.

    Example:
        >>> len("mu\u0308ll"), len(normalized("mu\u0308ll"))
        (5, 4)
    """
    return unicodedata.normalize("NFC", text)


def all_normalized(texts: Iterable[str]) -> list[str]:
    """Each text in normal form C: what a reader of files does to a column, once."""
    return [unicodedata.normalize("NFC", text) for text in texts]


def folded(text: str) -> str:
    r"""The text as it is compared where case does not count: normal form C, case folded by Unicode's rule.

    The rule is the one for all languages. Joiners, soft hyphens and variation selectors are left out. Accents stay:
    they make other words.

    Example:
        >>> folded("STRASSE") == folded("Stra\u00dfe"), folded("M\u00fcll") == folded("Mull")
        (True, False)
    """
    if text.isascii():
        return text.lower()
    return folded_plain(_IGNORED.sub("", text))


def folded_plain(text: str) -> str:
    """The same, for a text without joiners and their like."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def hashtag_key(tag: str) -> str:
    r"""What makes two hashtags the same one: normal form C, no white space around, one space for any within.

    Example:
        >>> hashtag_key(" hot \t tea ")
        'hot tea'
    """
    return " ".join(normalized(tag).split())
