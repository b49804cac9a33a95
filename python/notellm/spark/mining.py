"""`notellm.mine_pairs` as a job of Spark."""

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from notellm._core import mining as _core
from notellm._core.options import MiningOptions
from notellm.errors import NotSupportedError
from notellm.mining import Exposure, MiningReport, Pairs
from notellm.spark.events import (
    Times,
    check_contents,
    check_form,
    check_gaps,
    check_notes,
    check_unit,
    events_of,
    exposure_of,
    times_of,
)
from notellm.spark.samples import Samples, takes_samples, user_numbers
from notellm.spark.scores import find_score, scored
from notellm.spark.selecting import FEW, HIGH, LOW, PASSES, best_of, count_fates, judged
from notellm.spark.users import LogForm, long_users, users_of, without_users

if TYPE_CHECKING:
    from typing import Unpack

    from notellm._core.options import MiningKeywords

__all__ = ["SparkPairs", "explain_on_spark", "mine_pairs_on_spark"]

KNOWN = frozenset(
    (
        "score",
        "lower",
        "upper",
        "top",
        "min_users",
        "swing_alpha",
        "max_user_events",
        "sample_user_notes",
        "sample_note_users",
        "sample_seed",
        "max_gap_seconds",
        "max_gap_events",
    )
)
"""The options that this module obeys; another one must have its default."""


@dataclass(frozen=True)
class SparkPairs:
    """What `mine_pairs_on_spark` found.

    Attributes:
        pairs: ``source``, ``target`` (ids as text), ``score`` and ``users``, in the order of `notellm.Pairs`: by
            source, then score (highest first), then target. It stays in Spark's cache until `unpersist`.
        report: The report that `notellm.mine_pairs` would give.
        exposure: ``note`` (its ``index``), ``events``, ``views``, ``clicks`` and ``users``, of the whole log; a note
            without events has no row. It is counted when it is used.
    """

    pairs: DataFrame
    report: MiningReport
    exposure: DataFrame
    _kept: DataFrame

    def to_pairs(self, note_ids: Sequence[str]) -> Pairs:
        """The pairs in the memory of this process, as `notellm.mine_pairs` returns them.

        Args:
            note_ids: N ids, in the order of the notes' ``index``.

        Shapes: ``N`` notes.
        """
        table = self.pairs.toArrow()
        ids = pa.array(note_ids, pa.string())
        source, target = (
            pc.index_in(table[side], value_set=ids).to_numpy().astype(np.int64)
            for side in ("source", "target")
        )
        score, users = table["score"].to_numpy(), table["users"].to_numpy()
        exposure = self._exposure(len(note_ids))
        return Pairs(source, target, score, users, len(note_ids), self.report, exposure)

    def _exposure(self, notes: int) -> Exposure:
        table = self.exposure.toArrow()
        at = table["note"].to_numpy()
        counts = {name: np.zeros(notes, np.int64) for name in ("events", "views", "clicks", "users")}
        for name, values in counts.items():
            values[at] = table[name].to_numpy()
        return Exposure(**counts)

    def unpersist(self) -> None:
        """Frees what Spark keeps of the pairs; if they are used afterwards, they are mined again."""
        self._kept.unpersist()


@dataclass(frozen=True)
class _Job:
    """A log that is to be mined, checked as far as its columns tell."""

    log: DataFrame
    notes: DataFrame
    options: MiningOptions
    is_ordered: bool
    times: Times
    numbers: list[str]
    tasks: int

    @classmethod
    def of(
        cls,
        log: DataFrame,
        notes: DataFrame,
        options: MiningOptions,
        is_ordered: bool,
        ticks: int,
        tasks: int,
    ) -> "_Job":
        _refuse_unknown(options)
        numbers = _numbers(log, options, is_ordered)
        check_form(log, notes, numbers)
        times = times_of(log, is_ordered, ticks)
        check_gaps(options, times, is_ordered)
        check_unit(log, options, times)
        return cls(log, notes, options, is_ordered, times, numbers, tasks or _default_tasks(log))

    def events(self) -> DataFrame:
        return events_of(self.log, self.notes, self.times, self.numbers)

    def of_short_users(self, events: DataFrame, long: DataFrame) -> DataFrame:
        return without_users(events, long) if self.options.max_user_events else events

    def samples(self, events: DataFrame, short: DataFrame) -> Samples | None:
        """Samples of the users who are not too long; their numbers are those of the whole log."""
        return Samples.of(short, user_numbers(events), self.options) if takes_samples(self.options) else None

    def users(self, events: DataFrame) -> DataFrame:
        form = LogForm(self.is_ordered, self.times.column is not None, self.times.ticks_per_second)
        return users_of(events, self.options, form)

    def pairs(self, users: DataFrame, people: int) -> DataFrame:
        score = find_score(self.options.score)
        sums = score.sums(users, self.options, is_ordered=self.is_ordered, tasks=self.tasks)
        return judged(scored(sums, users, score, people), self.options)

    def named(self, kept: DataFrame) -> DataFrame:
        """The pairs that are kept, in order, with the notes' ids."""
        for side in ("source", "target"):
            ids = self.notes.select(
                F.col("index").cast("bigint").alias(side), F.col("id").cast("string").alias(f"{side}_id")
            )
            kept = kept.join(ids, side)
        return kept.orderBy("source", F.desc("units"), "target").select(
            F.col("source_id").alias("source"),
            F.col("target_id").alias("target"),
            (F.col("units").cast("double") * F.lit(2.0**-_core.SCORE_UNIT_BITS)).alias("score"),
            "users",
        )


def mine_pairs_on_spark(
    log: DataFrame,
    notes: DataFrame,
    options: MiningOptions | None = None,
    *,
    ordered: bool = True,
    ticks_per_second: int = 1,
    tasks: int = 0,
    **changes: "Unpack[MiningKeywords]",
) -> SparkPairs:
    """Related pairs by co-occurrence, as `notellm.mine_pairs` finds them, to the last bit.

    Scores are sums of 64-bit integers here as there, so neither the number of tasks nor their order decides anything.
    Samples are those of the core, too, from the same hash of a user's number and a note's index. The logarithm of
    ``score="pmi"`` is that of the executors' C library; where this is another one than the core has, a score may differ
    by one unit, 2^-40.

    Three things are kept in Spark's cache, on disk where memory is short, so that none is computed twice: each user's
    views and clicks, all pairs found, and the pairs that are kept; the first two until the call ends. With samples also
    who saw what, until then.

    Args:
        log: ``user`` and ``note`` (text or integers), optionally ``event`` (text: view or click) and, if the log is
            ordered, ``row`` (integers, no two alike: the order of events of equal time) and optionally ``time``
            (integers, dates or timestamps). Samples need ``user_index`` (integers, one for each user, by which the
            core knows the user) or ``row``: users are then numbered as they first appear. See `read_log`.
        notes: ``id`` and ``index`` (integers, no two alike: the order of partners of equal score). See `read_notes`.
        options: See `MiningOptions`.
        ordered: False if each user's events are a set without order (a basket).
        ticks_per_second: The unit of times that are integers; ``max_gap_seconds`` is multiplied by it.
        tasks: Over how many tasks the users are spread; 0: ``spark.sql.shuffle.partitions``, but at least the number of
            cores. It decides only the time.
        changes: Single options, such as ``lower=0.4``, that replace those of ``options`` or the defaults.

    Returns:
        The pairs and the report. All but the final order is computed already.

    Raises:
        DataError: If a column is missing or has another type, a value is missing, or a note or an event is unknown.
        ValueError: If an option is out of range, or a gap limit is set for a log without order (or, in seconds,
            without times).
        NotSupportedError: If an option is set that has no counterpart here.
    """
    job = _Job.of(
        log, notes, (options or MiningOptions()).replace(**changes), ordered, ticks_per_second, tasks
    )
    note_count = check_notes(notes)
    events = job.events()
    event_count, notes_seen = check_contents(events)
    long = long_users(events, job.options)
    with contextlib.ExitStack() as stack:
        left, counts = job.of_short_users(events, long), {}
        if samples := job.samples(events, left):
            stack.enter_context(_cached(samples.seen))
            left, counts = samples.events_left(left), samples.counts()
        users = stack.enter_context(_cached(job.users(left)))
        people, user_counts = _user_counts(users, long if job.options.max_user_events else None, samples)
        pairs = stack.enter_context(_cached(job.pairs(users, people)))
        fates = count_fates(pairs)
        kept = best_of(pairs, job.options, note_count).persist()
        sources, kept_count = kept.agg(F.count_distinct("source"), F.count("*")).collect()[0]
    report = MiningReport(
        **counts,
        **user_counts,
        events=event_count,
        pairs_found=fates.by_fate.total(),
        pairs_under_min_users=fates.by_fate[FEW],
        pairs_below_lower=fates.by_fate[LOW],
        pairs_above_upper=fates.by_fate[HIGH],
        pairs_beyond_top=fates.by_fate[PASSES] - kept_count,
        pairs_kept=kept_count,
        notes=note_count,
        notes_without_events=note_count - notes_seen,
        notes_without_partner=note_count - sources,
        **_histogram(fates.by_width),
    )
    return SparkPairs(job.named(kept), report, exposure_of(events), kept)


def explain_on_spark(
    log: DataFrame,
    notes: DataFrame,
    options: MiningOptions | None = None,
    *,
    ordered: bool = True,
    ticks_per_second: int = 1,
    tasks: int = 0,
    **changes: "Unpack[MiningKeywords]",
) -> str:
    """Spark's plan of `mine_pairs_on_spark` with the same arguments, as one query; nothing is mined or checked.

    The call itself keeps users, pairs and what is kept of them in between, so the parts are the same, but each is run
    once.
    """
    job = _Job.of(
        log, notes, (options or MiningOptions()).replace(**changes), ordered, ticks_per_second, tasks
    )
    events = job.events()
    left = job.of_short_users(events, long_users(events, job.options))
    samples = job.samples(events, left)
    pairs = job.pairs(job.users(samples.events_left(left) if samples else left), people=1)
    plan = io.StringIO()
    with contextlib.redirect_stdout(plan):
        job.named(best_of(pairs, job.options, notes=2**63)).explain("formatted")
    return plan.getvalue()


@contextlib.contextmanager
def _cached(frame: DataFrame) -> Iterator[DataFrame]:
    frame.persist()
    try:
        yield frame
    finally:
        frame.unpersist()


def _user_counts(
    users: DataFrame, long: DataFrame | None, samples: Samples | None
) -> tuple[int, dict[str, Any]]:
    """How many users are left, and the report's counts of users and of the events left out with long ones."""
    left, lone = users.agg(F.count("*"), F.count_if(F.col("notes") == 1)).collect()[0]
    short = samples.seen.select("user").distinct().count() if samples else left
    left_out, their_events = (0, 0)
    if long is not None:
        left_out, their_events = long.agg(F.count("*"), F.coalesce(F.sum("count"), F.lit(0))).collect()[0]
    return left, {
        "users": short + left_out,
        "users_too_long": left_out,
        "users_with_one_note": lone + short - left,  # those of whom nothing is left give no pair either
        "events_of_long_users": their_events,
    }


def _histogram(by_width: Mapping[int, int]) -> dict[str, Any]:
    """The report's bins: a width of n bits is a score from 2^(n - 1) to 2^n units."""
    widths = range(min(by_width), max(by_width) + 1) if by_width else range(0)
    edges = [2.0 ** (width - 1 - _core.SCORE_UNIT_BITS) for width in [*widths, widths.stop]] if widths else []
    return {"histogram_edges": edges, "histogram_counts": [by_width[width] for width in widths]}


def _numbers(log: DataFrame, options: MiningOptions, is_ordered: bool) -> list[str]:
    """The columns of numbers that mining needs."""
    names = {"row"} if is_ordered else set()
    if takes_samples(options):
        names.add("user_index" if "user_index" in log.columns else "row")
    return sorted(names)


def _refuse_unknown(options: MiningOptions) -> None:
    """Refuses, by its name, an option that would be overlooked here."""
    find_score(options.score)
    standard = MiningOptions().to_dict()
    for name, value in options.to_dict().items():
        if name not in KNOWN and value != standard[name]:
            raise NotSupportedError(
                f"mine_pairs_on_spark: mining.{name} must be {standard[name]!r}, but is {value!r}; try "
                "notellm.mine_pairs, which has every option"
            )


def _default_tasks(log: DataFrame) -> int:
    session = log.sparkSession
    shuffles = int(session.conf.get("spark.sql.shuffle.partitions") or 200)
    return max(shuffles, int(session.sparkContext.defaultParallelism))
