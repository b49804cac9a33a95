"""Related notes by co-occurrence in a log: equation (1) of NoteLLM.

A user who views note A and afterwards clicks note B votes for the pair (A, B) with weight 1 / N, where N is
the number of distinct notes that user clicked. The votes are summed exactly, so the result is the same for
any number of threads.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.sparse import csr_matrix

from notellm._core import mining as _core
from notellm._core.options import MiningOptions
from notellm.data.digit_dates import digit_dates
from notellm.mining_report import Exposure, MiningReport, report_of
from notellm.progress import ProgressFn

if TYPE_CHECKING:
    from typing import Unpack

    from notellm._core.options import MiningKeywords

__all__ = ["Exposure", "InteractionLog", "MiningOptions", "MiningReport", "Pairs", "mine_pairs"]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


class InteractionLog(Protocol):
    """What mining reads of a log; `notellm.Interactions` is one.

    Attributes:
        users: Shape ``(E,)`` int64, indices into ``user_ids``.
        notes: Shape ``(E,)`` int64, indices into ``note_ids``.
        user_ids: One name per user.
        note_ids: One name per note.
        times: Shape ``(E,)`` int64 in any unit, or None: then the order of the rows is the order of the events. If
            the unit is not the second, the attribute ``ticks_per_second`` (default 1) gives units per second.
        events: Shape ``(E,)`` int8, 0 view and 1 click, or None: each event counts as both.
        ordered: False if each user's events are a set without order (a basket); scores are then symmetric.
    """

    @property
    def users(self) -> IntArray: ...  # noqa: D102
    @property
    def notes(self) -> IntArray: ...  # noqa: D102
    @property
    def user_ids(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def note_ids(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def times(self) -> IntArray | None: ...  # noqa: D102
    @property
    def events(self) -> npt.NDArray[np.int8] | None: ...  # noqa: D102
    @property
    def ordered(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class Pairs:
    """Related pairs of ``N`` notes, ordered by source, then score (highest first), then target.

    Attributes:
        source: Shape ``(P,)`` int64, the note A.
        target: Shape ``(P,)`` int64, its partner B.
        score: Shape ``(P,)`` float64, s(A -> B).
        users: Shape ``(P,)`` int64, the users who support the pair.
        count: ``N``, the number of notes.
        report: What mining did; in a selection still the report of the whole log.
        exposure: Events and users of each note; in a selection, too.

    Shapes: ``P`` pairs, ``N`` notes.
    """

    source: IntArray
    target: IntArray
    score: FloatArray
    users: IntArray
    count: int
    report: MiningReport
    exposure: Exposure
    _mined: csr_matrix | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.source)

    def select(self, keep: npt.NDArray[np.bool_] | IntArray) -> "Pairs":
        """The pairs at ``keep``, a mask of shape ``(P,)`` or ascending positions.

        Example:
            >>> pairs = mine_pairs(_example_log())
            >>> pairs.select(pairs.score > 0.5).to_table().to_pydict()
            {'source': [0, 1], 'target': [1, 0], 'score': [0.833..., 0.833...], 'users': [2, 2]}
        """
        return Pairs(
            self.source[keep],
            self.target[keep],
            self.score[keep],
            self.users[keep],
            count=self.count,
            report=self.report,
            exposure=self.exposure,
        )

    def to_csr(self) -> csr_matrix:
        """The scores as a SciPy matrix of shape ``(N, N)``, float64 with 64-bit indices, columns ascending.

        For all pairs of a mining run this is the miner's own memory: copy the matrix before changing it.

        Example:
            >>> mine_pairs(_example_log()).to_csr().toarray().round(2)
            array([[0.  , 0.83, 0.33],
                   [0.83, 0.  , 0.33],
                   [0.33, 0.33, 0.  ]])
        """
        if self._mined is not None:
            return _csr(self._mined.data, self._mined.indices, self._mined.indptr, self.count)
        by_column = np.lexsort((self.target, self.source))
        indptr = np.searchsorted(self.source, np.arange(self.count + 1))
        return _csr(self.score[by_column], self.target[by_column], indptr, self.count)

    def to_table(self) -> pa.Table:
        """The pairs as an Arrow table with the columns source, target, score and users."""
        return pa.table(
            {"source": self.source, "target": self.target, "score": self.score, "users": self.users}
        )


def mine_pairs(
    log: InteractionLog,
    options: MiningOptions | None = None,
    *,
    threads: int = 0,
    progress: ProgressFn | None = None,
    **changes: "Unpack[MiningKeywords]",
) -> Pairs:
    r"""Related pairs by co-occurrence, equation (1) of NoteLLM.

    .. math:: s(A \to B) = \sum_{i \text{ viewed } A \text{ and afterwards clicked } B} 1 / N_i

    ``N_i`` is the number of distinct notes user ``i`` clicked. A user counts once for a pair. "Afterwards" means
    later in time, or later in the log if times are equal or absent; in a log that is not ordered it always
    holds. Scores are sums of whole units of 2^-40; the bounds are rounded to such units, too.

    ``score`` chooses another score. Of these, ``"swing"`` (Yang et al., arXiv 2010.05525) is a sum over pairs of the
    users who support (A, B), each pair once, where ``I_u`` are the notes that user ``u`` clicked:

    .. math:: s(A \to B) = \sum_{u < v} \frac{w_u w_v}{\alpha + |I_u \cap I_v|}, \quad w_u = 1 / \sqrt{|I_u|}

    ``sample_user_notes`` and ``sample_note_users`` bound the cost of very active users and very popular notes: of the
    notes of a user, and then of the users of a note, a sample is kept, as if the log had no other events of them. It is
    drawn by a hash of ``sample_seed``, the user's and the note's index.

    Args:
        log: The events, for example a `notellm.Interactions`. In a log without event types each event counts
            as a view and a click; in a log with types a click is not also a view.
        options: See `MiningOptions`. With both gap limits one view of A and one click of B must satisfy both.
        threads: 0 for the setting of `notellm.set_num_threads`. The result does not depend on it.
        progress: Called with ``(notes done, N)``; an exception it raises stops the mining.
        changes: Single options, such as ``lower=0.4``, that replace those of ``options`` or the defaults.

    Returns:
        The pairs, at most ``top`` for each source note, with the report.

    Raises:
        ValueError: If an option is out of range, a gap limit is set for a log without order (or, in seconds,
            without times), times are not integers, or the log's columns do not fit together.

    Warns:
        UserWarning: If a gap limit is in seconds, but the times seem to be in a smaller unit; or, before mining, if a
            user has so many notes that the user's pairs alone take very long.

    Example:
        >>> pairs = mine_pairs(_example_log())
        >>> pairs.source, pairs.target
        (array([0, 0, 1, 1, 2, 2]), array([1, 2, 0, 2, 0, 1]))
        >>> pairs.score.round(3)
        array([0.833, 0.333, 0.833, 0.333, 0.333, 0.333])
    """
    options = (options or MiningOptions()).replace(**changes)
    _check_times(log.times)
    _warn_of_giants(log, options)
    ticks, limit = int(getattr(log, "ticks_per_second", 1)), options.max_gap_seconds
    mined = _core.mine_cooccurrence(
        log.users,
        log.notes,
        log.times,
        log.events,
        len(log.user_ids),
        len(log.note_ids),
        log.ordered,
        options.replace(max_gap_seconds=min(limit * ticks, int(np.iinfo(np.int64).max))),
        threads=threads,
        progress=progress,
    )
    if limit and ticks == 1:
        _warn_of_unit(log, limit, mined.report.pairs_found)
    count = len(log.note_ids)
    source = np.repeat(np.arange(count), np.diff(mined.indptr))
    order = mined.best_first
    return Pairs(
        source=source,
        target=mined.indices[order],
        score=mined.scores[order],
        users=mined.users[order],
        count=count,
        report=report_of(mined.report, count),
        exposure=_exposure(mined.exposure),
        _mined=_csr(mined.scores, mined.indices, mined.indptr, count),
    )


def _check_times(times: object) -> None:
    """Times must be integers: the core would cut fractions off, and so lose the order."""
    if times is not None and not np.issubdtype(np.asarray(times).dtype, np.integer):
        raise ValueError(
            f"mine_pairs: times must be integers, but are {np.asarray(times).dtype}; try notellm.Interactions, which "
            "converts them exactly"
        )


_GIANT = 100_000
"""The notes of a user whose pairs, the square of it, take about half a minute."""


def _warn_of_giants(log: InteractionLog, options: MiningOptions) -> None:
    """Warns of a user whose pairs take very long, if no option limits them."""
    limits = options.sample_user_notes, options.max_gap_events, options.max_gap_seconds
    users = np.asarray(log.users)
    if any(limits) or len(users) <= _GIANT or len(log.note_ids) <= _GIANT:
        return
    if users.min() < 0 or users.max() >= len(log.user_ids):
        return  # the core refuses it
    events = np.bincount(users)
    if options.max_user_events:
        events = events[events <= options.max_user_events]
    largest = int(events.max(initial=0))
    if largest > _GIANT:
        warnings.warn(
            f"mine_pairs: a user has {largest:,} events, and mining looks at every pair of the user's notes; to bound "
            "it, try sample_user_notes=1000, or max_user_events=1000 to leave such users out",
            stacklevel=3,
        )


_LATEST_SECOND = 10**11
"""The year 5138 in seconds since 1970: later times must be in a smaller unit."""


def _warn_of_unit(log: InteractionLog, limit: int, pairs_found: int) -> None:
    """Warns if a limit is in seconds, but the times seem to be in a smaller unit."""
    if log.times is None or len(log.times) == 0:
        return
    dates = digit_dates(np.asarray(log.times, dtype=np.int64))
    if dates is not None:
        warnings.warn(
            f"mine_pairs: with max_gap_seconds={limit} times must be in seconds, but they look like dates, such as "
            f"{dates.example}; try dates as NumPy's datetime64, or a log that Interactions.read has read",
            stacklevel=3,
        )
        return
    middle = int(np.median(log.times))
    factor = next((10**power for power in (9, 6, 3) if abs(middle) > _LATEST_SECOND * 10 ** (power - 3)), 1)
    gap = _smallest_gap(log) if factor == 1 and pairs_found == 0 else 0
    if gap > limit and (gap >= 50 * limit or not np.any(log.times % 1000)):
        factor = 1000
    if factor > 1:
        found = f"no two events of a user are nearer than {gap:,}" if gap else f"the middle one is {middle}"
        unit = {10**3: "milliseconds", 10**6: "microseconds", 10**9: "nanoseconds"}[factor]
        warnings.warn(
            f"mine_pairs: with max_gap_seconds={limit} times must be in seconds, but {found}; if they are "
            f"{unit}, try max_gap_seconds={limit * factor}",
            stacklevel=3,
        )


def _smallest_gap(log: InteractionLog) -> int:
    """The smallest nonzero time between two events of one user; 0 if there is none."""
    assert log.times is not None
    order = np.lexsort((log.times, log.users))
    gaps = np.diff(log.times[order])[np.diff(log.users[order]) == 0]
    return int(gaps[gaps > 0].min(initial=np.iinfo(np.int64).max)) if (gaps > 0).any() else 0


def _csr(data: FloatArray, indices: IntArray, indptr: IntArray, count: int) -> csr_matrix:
    # The constructor would narrow the indices to 32 bits, copying them; so the arrays are set afterwards.
    matrix = csr_matrix((count, count), dtype=np.float64)
    matrix.data, matrix.indices, matrix.indptr = data, indices, indptr
    return matrix


def _exposure(counted: _core.Exposure) -> Exposure:
    return Exposure(counted.events, counted.views, counted.clicks, counted.users)


def _example_log() -> InteractionLog:
    """Three baskets over three notes, for the examples above."""

    @dataclass
    class Baskets:
        users: IntArray
        notes: IntArray
        user_ids: Sequence[str] = ("u", "v", "w")
        note_ids: Sequence[str] = ("a", "b", "c")
        times: None = None
        events: None = None
        ordered: bool = False

    return Baskets(users=np.array([0, 0, 1, 1, 1, 2]), notes=np.array([0, 1, 0, 1, 2, 2]))
