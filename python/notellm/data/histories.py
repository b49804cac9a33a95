"""What users had before, and the note that came next: user-to-item retrieval, split by time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from notellm.data.digit_dates import YEARS
from notellm.data.interactions import CLICK, Interactions
from notellm.errors import DataError

__all__ = ["LAST", "NextNotes", "next_notes", "read_moment"]

IntArray = npt.NDArray[np.int64]

LAST = "last"
"""Leave the last note of each user out."""

_DIGITS = len("20240131")

_LARGEST_SECOND = 10**11
"""A time beyond this is counted in smaller units than seconds: it would be after the year 5000."""

LONGEST = 50
"""Notes of a history that count, by default: the most recent ones."""


@dataclass(frozen=True)
class NextNotes:
    """Users, what they had, and what came next.

    Attributes:
        users: Shape ``(Q,)``: indices into the log's users.
        histories: Shape ``(Q, H)``: indices of notes, the most recent one last; -1 in front where there are fewer.
        targets: Shape ``(Q,)``: the note that came next, which the user did not have before.
        had: Shape ``(Q, W)``: all notes that the user had before, in the same order, also where a history is shorter:
            none of them could come next.
        known: The first events of users with notes, without the targets and all that came after them: from these,
            popularity and co-occurrence may be counted.
    """

    users: IntArray
    histories: IntArray
    targets: IntArray
    had: IntArray
    known: Interactions

    def __len__(self) -> int:
        return len(self.users)


def next_notes(
    log: Interactions, split: str = LAST, *, among: npt.ArrayLike | None = None, longest: int = LONGEST
) -> NextNotes:
    """Splits each user's notes by time: a history, and the note that came next.

    A note counts when a user has it first, so what comes next is always new to the user. If the log tells views from
    clicks, clicks count. Users without a history, or without a next note, are left out.

    Args:
        log: The log.
        split: ``"last"``: what came next is each user's last note; or a moment, as `read_moment` takes it: it is the
            first note from this moment on, and nothing later is known of any user.
        among: Indices of the notes that count; by default all.
        longest: At most so many notes, the most recent ones, are a history.

    Raises:
        ValueError: If the log has no order, ``split`` is a moment but the log has no times, or ``longest`` is below 1.
        DataError: If ``split`` is a date but the log's times are parts of seconds.

    Example:
        >>> log = Interactions([0, 0, 0, 0, 1], [2, 0, 2, 1, 1], ["ann", "bo"], ["a", "b", "c"])
        >>> found = next_notes(log)
        >>> found.histories.tolist(), found.targets.tolist()
        ([[2, 0]], [1])
    """
    if longest < 1:
        raise ValueError(f"next_notes: longest must be at least 1, but is {longest}")
    if log.times is None and not log.ordered:
        raise ValueError("next_notes: the log must have an order, but is of baskets without times")
    if log.times is None and split != LAST:
        raise ValueError(
            f"next_notes: the log must have times to be split at {split}, but has none; try {LAST!r}"
        )
    firsts = _first_events(log, among)
    is_last = np.diff(firsts.users, append=-1) != 0
    if split == LAST:
        is_known, is_target = ~is_last, is_last
    else:
        assert firsts.times is not None
        is_known = firsts.times < _split_moment(log, split) * log.ticks_per_second
        is_first_known = np.concatenate([[True], is_known[:-1] & (np.diff(firsts.users) == 0)])
        is_target = ~is_known & is_first_known  # the first one behind a known one
    before = np.diff(firsts.users, prepend=-1) == 0
    rows = np.flatnonzero(is_target & before)
    begin = np.searchsorted(firsts.users, firsts.users[rows])
    places = rows[:, None] + np.arange(-(rows - begin).max(initial=1), 0)[None, :]
    had = np.where(places >= begin[:, None], firsts.notes[np.maximum(places, 0)], -1)
    return NextNotes(firsts.users[rows], had[:, -longest:], firsts.notes[rows], had, _rows(firsts, is_known))


def read_moment(text: str) -> float:
    """A moment in seconds since 1970: a date, also with a time and a zone (without one: UTC), or a number.

    Eight digits that are a date, as 20240131 is, are this date. Other numbers are in the unit of the log's times.

    Raises:
        ValueError: If it is neither.

    Example:
        >>> read_moment("1970-01-02"), read_moment("19700102"), read_moment("12.5")
        (86400.0, 86400.0, 12.5)
    """
    moment = _date(text)
    if moment is not None:
        return moment
    if not _is_number(text):
        raise ValueError(f"next_notes: a moment must be a date or a number, but is {text!r}; try 2024-01-31")
    return float(text)


def _date(text: str) -> float | None:
    """A date's moment; None if the text is a number, or nothing at all."""
    is_of_digits = text.isdecimal() and len(text) == _DIGITS
    if _is_number(text) and not is_of_digits:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if is_of_digits and not YEARS[0] <= moment.year <= YEARS[1]:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _split_moment(log: Interactions, split: str) -> float:
    """The moment of a split; a date needs times that are seconds, since all are before it, or behind it, otherwise.

    Raises:
        DataError: If most times are too large for seconds.
    """
    moment = read_moment(split)
    if log.times is None or not len(log) or log.ticks_per_second != 1 or _date(split) is None:
        return moment
    middle = int(np.median(log.times))
    factor = next(
        (factor for factor in (10**9, 10**6, 10**3) if middle > _LARGEST_SECOND * factor // 1000), 1
    )
    if factor > 1:
        raise DataError(
            f"next_notes: times must be seconds to be split at a date, but the middle one is {middle}; try "
            f"{moment * factor:.0f}"
        )
    return moment


def _first_events(log: Interactions, among: npt.ArrayLike | None) -> Interactions:
    """The first event of each user with each note, by user and time."""
    counts = np.ones(len(log), np.bool_) if log.events is None else log.events == CLICK
    if among is not None:
        counts &= np.isin(log.notes, np.asarray(among, dtype=np.int64))
    order = np.flatnonzero(counts)
    keys = (order,) if log.times is None else (order, log.times[order])
    order = order[np.lexsort((*keys, log.users[order]))]
    pairs = log.users[order] * max(len(log.note_ids), 1) + log.notes[order]
    first = np.sort(np.unique(pairs, return_index=True)[1])
    return _rows(log, order[first])


def _rows(log: Interactions, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Interactions:
    times = None if log.times is None else log.times[rows]
    events = None if log.events is None else log.events[rows]
    return replace(log, users=log.users[rows], notes=log.notes[rows], times=times, events=events)
