"""Errors of the core, which knows notes by their numbers, with the notes' ids."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from notellm.errors import DataError

__all__ = ["naming_notes"]

_NUMBERED = re.compile(r"\bof note (\d+)\b")


@contextmanager
def naming_notes(ids: Sequence[str]) -> Iterator[None]:
    """Puts ids in the place of numbers in the message of a DataError.

    Args:
        ids: Of the notes that the core works on, in their order.

    Example:
        >>> with naming_notes(["a", "b"]):
        ...     raise DataError("embed: vectors must be finite, but that of note 1 is not")
        Traceback (most recent call last):
        notellm._core.util.DataError: embed: vectors must be finite, but that of note 'b' is not
    """
    try:
        yield
    except DataError as error:
        named = _NUMBERED.sub(lambda found: f"of note {ids[int(found[1])]!r}", str(error))
        raise DataError(named) from error
