"""What a hashtag is: one rule that cleans the hashtags of notes, prompts, vocabularies and outputs.

A model writes hashtags as one text with separators. What cannot be recovered from such a text (spaces at the ends, a
separator inside, empty or repeated hashtags) is not a valid hashtag. Truth and output both pass `clean_hashtags`, so
that a perfect output equals the truth.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from notellm.text.normal import hashtag_key

__all__ = ["HashtagRule", "clean_hashtags", "one_line"]

_NEWLINE = re.compile("\r\n|[\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]")

STRIPPED = "hashtags rid of needless white space, or put in normal form C"
SPLIT = "hashtags split at a separator"
CUT = "hashtags cut to the largest number of characters"
EMPTY = "hashtags left out as empty"
REPEATED = "hashtags left out as repeated"


@dataclass(frozen=True)
class HashtagRule:
    """How hashtags are cleaned.

    Attributes:
        separators: A hashtag is split where one of these occurs; by default the comma and the wide Chinese comma,
            which prompts write between hashtags.
        max_chars: A hashtag is cut to this many characters; 0: not cut.

    Raises:
        ValueError: If a separator is empty, or ``max_chars`` negative.
    """

    separators: tuple[str, ...] = (",", "\uff0c")
    max_chars: int = 0

    def __post_init__(self) -> None:
        if not all(self.separators):
            raise ValueError("HashtagRule: separators must have a character each, but one is empty")
        if self.max_chars < 0:
            raise ValueError(f"HashtagRule: max_chars must be at least 0, but is {self.max_chars}")


def clean_hashtags(
    topics: Iterable[str | None], rule: HashtagRule, changes: Counter[str] | None = None
) -> list[str]:
    """The hashtags of a note, cleaned; cleaning them again changes nothing.

    Each is split at the separators and put in its normal form (`text.normal.hashtag_key`: stripped, white space inside
    as one space), then cut to ``max_chars`` and stripped again; empty ones and repetitions are left out.

    Args:
        topics: Hashtags as given; None counts as an empty one.
        rule: Separators and limit.
        changes: Counts the changes, by their description in words.

    Returns:
        The hashtags, in order.

    Example:
        >>> changes = Counter()
        >>> clean_hashtags([" games", "rock,pop", "games", ""], HashtagRule(), changes)
        ['games', 'rock', 'pop']
        >>> clean_hashtags(["science fiction and fantasy"], HashtagRule(max_chars=16))
        ['science fiction']
        >>> sum(changes.values())
        4
    """
    counted = Counter[str]() if changes is None else changes
    found: dict[str, None] = {}
    for topic in topics:
        given = topic or ""
        parts = _split(given, rule.separators)
        counted[SPLIT] += len(parts) > 1
        counted[STRIPPED] += len(parts) == 1 and bool(parts[0]) and parts[0] != given
        for text in parts:
            short = text[: rule.max_chars].rstrip() if rule.max_chars else text
            counted[CUT] += short != text
            counted[EMPTY] += not short
            counted[REPEATED] += short in found
            if short:
                found[short] = None
    return list(found)


def one_line(text: str) -> str:
    r"""The text with line breaks of any kind replaced by spaces.

    Example:
        >>> one_line("one\r\ntwo")
        'one two'
    """
    return _NEWLINE.sub(" ", text)


def _split(topic: str, separators: tuple[str, ...]) -> list[str]:
    """The normal forms of the parts; a separator may be in the normal form alone, where a line break is a space."""
    form = hashtag_key(topic)
    separator = next((one for one in separators if one in topic or one in form), None)
    if separator is None:
        return [form]
    parts = [hashtag_key(part) for part in topic.split(separator)]
    return [one for part in parts for whole in part.split(separator) for one in _split(whole, separators)]
