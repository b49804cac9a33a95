"""What mining says of a log: what was left out, what was found, and how often each note occurs."""

from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from notellm._core import mining as _core
from notellm.io.json_tree import Node

__all__ = ["Exposure", "MiningReport", "report_of"]

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Exposure:
    """How often the log shows each of ``N`` notes; all events count, whatever mining leaves out.

    Attributes:
        events: Shape ``(N,)`` int64, the note's events.
        views: Shape ``(N,)`` int64, its views; all events in a log without event types.
        clicks: Shape ``(N,)`` int64, its clicks; all events in a log without event types.
        users: Shape ``(N,)`` int64, the distinct users of its events.

    Example:
        >>> from notellm.mining import mine_pairs, _example_log
        >>> exposure = mine_pairs(_example_log()).exposure
        >>> exposure.events, exposure.users
        (array([2, 2, 2]), array([2, 2, 2]))
    """

    events: IntArray
    views: IntArray
    clicks: IntArray
    users: IntArray


@dataclass(frozen=True)
class MiningReport:
    """What happened to a log. Each pair found is counted in exactly one of the five counts after ``pairs_found``.

    Attributes:
        users: Users with at least one event.
        users_too_long: Of these, left out with all their events by ``max_user_events``.
        users_with_one_note: Of these, users left with at most one distinct note, who give no pair.
        events: Events in the log.
        events_of_long_users: Of these, left out with their users.
        pairs_found: Distinct pairs before the bounds.
        pairs_under_min_users: Dropped for too few supporting users.
        pairs_below_lower: Dropped for a score below the lower bound.
        pairs_above_upper: Dropped for a score above the upper bound.
        pairs_beyond_top: Dropped because their source note has enough better partners.
        pairs_kept: The result.
        notes: Notes of the catalogue.
        notes_without_events: Of these, never seen in the log.
        notes_without_partner: Of these, without a kept partner, for whatever reason.
        histogram_edges: Bin edges of the scores found, powers of two; one more than the counts, or empty.
        histogram_counts: Pairs found with a score in ``[edges[i], edges[i + 1])``.
        users_sampled: Users with more notes than ``sample_user_notes``, of which a sample was kept.
        events_of_sampled_users: Events left out with their other notes.
        notes_sampled: Notes with more users than ``sample_note_users`` after that, of which a sample was kept.
        events_of_sampled_notes: Events left out with their other users.
    """

    users: int
    users_too_long: int
    users_with_one_note: int
    events: int
    events_of_long_users: int
    pairs_found: int
    pairs_under_min_users: int
    pairs_below_lower: int
    pairs_above_upper: int
    pairs_beyond_top: int
    pairs_kept: int
    notes: int
    notes_without_events: int
    notes_without_partner: int
    histogram_edges: list[float]
    histogram_counts: list[int]
    users_sampled: int = 0
    events_of_sampled_users: int = 0
    notes_sampled: int = 0
    events_of_sampled_notes: int = 0

    @classmethod
    def read(cls, node: Node) -> "MiningReport":
        """Reads what `to_dict` gave.

        Raises:
            DataError: If a number is missing or is none; names it.
        """
        lists = {
            "histogram_edges": [edge.number() for edge in node.list("histogram_edges")],
            "histogram_counts": [count.whole() for count in node.list("histogram_counts")],
        }
        counts = {
            field.name: node.count(field.name)
            for field in fields(cls)
            if field.name not in lists and (field.default is MISSING or node.maybe(field.name))
        }
        return cls(**counts, **lists)  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        """The report as plain numbers and lists, ready for JSON."""
        return asdict(self)

    def describe(self) -> str:
        """The report as a few lines of text; samples are named if there are any.

        Example:
            >>> from notellm.mining import mine_pairs, _example_log
            >>> print(mine_pairs(_example_log(), lower=0.4).report.describe())
            3 users with 6 events; left out: 0 too long (0 events), 1 with one note
            6 pairs found; dropped: 0 under min_users, 4 below lower, 0 above upper, 0 beyond top; kept 2
            3 notes; 0 without events, 1 without a partner
        """
        sampled = (
            f"left out of samples: {self.events_of_sampled_users:,} events of {self.users_sampled:,} users with "
            f"more than sample_user_notes, {self.events_of_sampled_notes:,} events of {self.notes_sampled:,} notes "
            "with more than sample_note_users"
        )
        return "\n".join(
            (
                f"{self.users:,} users with {self.events:,} events; left out: {self.users_too_long:,} too "
                f"long ({self.events_of_long_users:,} events), {self.users_with_one_note:,} with one note",
                *([sampled] if self.users_sampled or self.notes_sampled else []),
                f"{self.pairs_found:,} pairs found; dropped: {self.pairs_under_min_users:,} under min_users, "
                f"{self.pairs_below_lower:,} below lower, {self.pairs_above_upper:,} above upper, "
                f"{self.pairs_beyond_top:,} beyond top; kept {self.pairs_kept:,}",
                f"{self.notes:,} notes; {self.notes_without_events:,} without events, "
                f"{self.notes_without_partner:,} without a partner",
            )
        )

    def remedy(self) -> str:
        """What to try if no pair was kept: a hint about the limit that dropped most pairs.

        Example:
            >>> from notellm.mining import mine_pairs, _example_log
            >>> mine_pairs(_example_log(), lower=2.0).report.remedy()
            'a lower mining.lower: 6 pairs score below it'
        """
        losses = {
            "a lower mining.lower": (self.pairs_below_lower, "score below it"),
            "a higher mining.upper": (self.pairs_above_upper, "score above it"),
            "a lower mining.min_users": (self.pairs_under_min_users, "have fewer users"),
        }
        what, (count, why) = max(losses.items(), key=lambda item: item[1][0])
        if count:
            return f"{what}: {count:,} pairs {why}"
        if self.users_too_long:
            return f"a higher mining.max_user_events, or 0: {self.users_too_long:,} users are left out by it"
        if self.users_sampled or self.notes_sampled:
            return "a higher mining.sample_user_notes and mining.sample_note_users: no two notes left have a user"
        if self.users_with_one_note == self.users:
            return "a log in which users have several notes: each has one"
        return "larger mining.max_gap_seconds and mining.max_gap_events, or 0: no two events are near enough"


def report_of(mined: _core.MiningReport, notes: int) -> MiningReport:
    """The report on a log of so many notes."""
    names = [name for name in MiningReport.__dataclass_fields__ if hasattr(mined, name)]
    filled = np.flatnonzero(mined.histogram)
    bins = range(filled[0], filled[-1] + 1) if len(filled) else range(0)
    edges = [*bins, bins.stop] if bins else []
    return MiningReport(
        **{name: getattr(mined, name) for name in names},
        notes=notes,
        histogram_edges=[2.0 ** int(edge - _core.SCORE_UNIT_BITS) for edge in edges],
        histogram_counts=[mined.histogram[i] for i in bins],
    )
