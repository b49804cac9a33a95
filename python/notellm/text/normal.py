"""One form for texts that look the same: Unicode's NFC, and case folded where case does not count."""

import re
import unicodedata
from collections.abc import Iterable

_IGNORED = re.compile(
    "[\u00ad\u034f\u180b-\u180d\u180f\u200c\u200d\u2060\ufe00-\ufe0f\ufeff\U000e0100-\U000e01ef]"
)
"""Code points that only control how their neighbours are drawn or broken, and are not part of a word: the soft hyphen,
joiners, variation selectors, the byte order mark. The zero-width space is not among them: it separates words."""


def normalized(text: str) -> str:
    """The text in Unicode's normal form C, in which an accented letter is a single code point if there is one for it.

    Example:
        >>> len("mu\u0308ll"), len(normalized("mu\u0308ll"))
        (5, 4)
    """
    return unicodedata.normalize("NFC", text)


def all_normalized(texts: Iterable[str]) -> list[str]:
    """Each text in normal form C; readers of files apply it once to each column."""
    return [unicodedata.normalize("NFC", text) for text in texts]


def folded(text: str) -> str:
    r"""The text for comparisons without case: normal form C, case folded by Unicode's rule.

    The rule is the same for all languages. Joiners, soft hyphens and variation selectors are left out. Accents are
    kept: they distinguish words.

    Example:
        >>> folded("STRASSE") == folded("Stra\u00dfe"), folded("M\u00fcll") == folded("Mull")
        (True, False)
    """
    if text.isascii():
        return text.lower()
    return folded_plain(_IGNORED.sub("", text))


def folded_plain(text: str) -> str:
    """The same, for a text without joiners and similar code points."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def hashtag_key(tag: str) -> str:
    r"""Two hashtags with the same key are the same: normal form C, stripped, white space inside as one space.

    Example:
        >>> hashtag_key(" hot \t tea ")
        'hot tea'
    """
    return " ".join(normalized(tag).split())
