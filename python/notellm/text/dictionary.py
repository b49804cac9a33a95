"""Chinese words from a dictionary: those of the package jieba, if it is installed and chosen."""

import logging
from functools import cache
from typing import Any

from notellm.optional import importing


@cache
def _jieba() -> Any:
    with importing("the analyzer 'jieba'", "jieba", otherwise="'auto', which cuts Chinese into characters"):
        import jieba
    logging.getLogger("jieba").setLevel(
        logging.WARNING
    )  # it reports loading its dictionary on stderr, like an error
    return jieba


def check_dictionary() -> None:
    """Loads the package.

    Raises:
        NotSupportedError: If it is not installed.
    """
    _jieba()


def dictionary_words(text: str) -> list[str]:
    """The words of a text as the package cuts it, without white space.

    Raises:
        NotSupportedError: If the package is not installed.
    """
    return [word for word in _jieba().cut(text) if not word.isspace()]
