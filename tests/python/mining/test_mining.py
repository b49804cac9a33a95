"""The miner against a dictionary of sums, on random logs of every kind."""

import threading
import warnings
from collections import defaultdict
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from math import floor, inf, sqrt
from math import log as ln

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notellm.data.interactions import Interactions
from notellm.mining import mine_pairs

pytestmark = pytest.mark.filterwarnings(
    "ignore:mine_pairs. with max_gap_seconds"
)  # true of logs of a few events

UNIT = 2**40


@dataclass(frozen=True)
class Log:
    users: np.ndarray
    notes: np.ndarray
    user_ids: list[str]
    note_ids: list[str]
    times: np.ndarray | None = None
    events: np.ndarray | None = None
    ordered: bool = True


def make_log(users, notes, times=None, events=None, ordered=True, count=None):
    users, notes = np.array(users, dtype=np.int64), np.array(notes, dtype=np.int64)
    people = [f"u{i}" for i in range(users.max(initial=-1) + 1)]
    catalogue = [f"n{i}" for i in range(count or notes.max(initial=-1) + 1)]
    times = None if times is None else np.array(times, dtype=np.int64)
    events = None if events is None else np.array(events, dtype=np.int8)
    return Log(users, notes, people, catalogue, times, events, ordered)


def nearest(value):
    return floor(value + Fraction(1, 2))


def other_score(score, users, viewers, clickers, people):
    """Scores of a pair that are made of numbers of users alone."""
    apart = viewers * clickers
    return {"count": users, "cosine": users / sqrt(apart), "pmi": max(0.0, ln(users * people / apart))}[score]


def streams_of(log):
    """Note, time and event of each user's events, in order."""
    streams = defaultdict(list)
    for row in np.argsort(log.times, kind="stable") if log.times is not None else range(len(log.users)):
        when = 0 if log.times is None else int(log.times[row])
        event = None if log.events is None else log.events[row]
        streams[log.users[row]].append((int(log.notes[row]), when, event))
    return streams


def reference(
    log,
    *,
    lower,
    upper,
    top,
    min_users,
    max_user_events=0,
    max_gap_seconds=0,
    max_gap_events=0,
    score="notellm",
):
    """Equation (1) with exact sums; returns [(source, target, units, users)] in the documented order."""
    streams = streams_of(log)
    sums, support, viewers, clickers = (defaultdict(int) for _ in range(4))
    people = 0
    for stream in streams.values():
        if max_user_events and len(stream) > max_user_events:
            continue
        people += 1
        for note in {note for note, _, event in stream if event != 1}:
            viewers[note] += 1
        clicked = {note for note, _, event in stream if event != 0}
        for note in clicked:
            clickers[note] += 1
        pairs = set()
        for i, (a, seen, event) in enumerate(stream):
            for j, (b, then, other) in enumerate(stream):
                near = not (max_gap_seconds and then - seen > max_gap_seconds)
                near &= not (max_gap_events and j - i > max_gap_events)
                if a != b and event != 1 and other != 0 and (not log.ordered or (j > i and near)):
                    pairs.add((a, b))
        for pair in pairs:
            sums[pair] += nearest(Fraction(UNIT, len(clicked)))
            support[pair] += 1
    if score != "notellm":
        sums = {
            (a, b): nearest(Fraction(other_score(score, users, viewers[a], clickers[b], people)) * UNIT)
            for (a, b), users in support.items()
        }
    low, high = nearest(Fraction(lower) * UNIT), inf if upper == inf else nearest(Fraction(upper) * UNIT)
    kept = [p for p in sums if support[p] >= min_users and low <= sums[p] <= high]
    kept.sort(key=lambda p: (p[0], -sums[p], p[1]))
    rank = defaultdict(int)
    result = []
    for pair in kept:
        rank[pair[0]] += 1
        if not top or rank[pair[0]] <= top:
            result.append((*pair, sums[pair], support[pair]))
    return result


@st.composite
def logs(draw):
    size = draw(st.integers(0, 60))
    column = lambda low, high: draw(st.lists(st.integers(low, high), min_size=size, max_size=size))  # noqa: E731
    times = draw(st.booleans()) and column(-5, draw(st.sampled_from([-5, 3, 1000])))
    events = draw(st.booleans()) and column(0, 1)
    notes = column(0, draw(st.integers(0, 9)))
    ordered = draw(st.booleans())
    users = column(0, draw(st.integers(0, 5)))
    return make_log(users, notes, times or None, events or None, ordered=ordered, count=12)


@st.composite
def options(draw, log):
    chosen = {
        "lower": draw(st.sampled_from([0.0, 0.01, 1 / 3, 0.5, 0.75])),
        "upper": draw(st.sampled_from([0.75, 1.0, 1.5, 30.0, inf])),
        "top": draw(st.integers(0, 4)),
        "min_users": draw(st.integers(1, 3)),
        "max_user_events": draw(st.sampled_from([0, 0, 1, 5, 10])),
        "score": draw(st.sampled_from(["notellm", "notellm", "count", "cosine", "pmi"])),
    }
    if log.ordered:
        chosen["max_gap_events"] = draw(st.sampled_from([0, 0, 1, 3]))
        chosen["max_gap_seconds"] = draw(st.sampled_from([0, 0, 1, 4])) if log.times is not None else 0
    return chosen


def columns(pairs):
    return [pairs.source, pairs.target, pairs.score, pairs.users, *csr_parts(pairs)]


def csr_parts(pairs):
    matrix = pairs.to_csr()
    return [matrix.data, matrix.indices, matrix.indptr]


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_equals_the_dictionary_reference(data):
    log = data.draw(logs())
    chosen = data.draw(options(log))
    pairs = mine_pairs(log, threads=1, **chosen)
    got = list(zip(pairs.source, pairs.target, pairs.score * UNIT, pairs.users, strict=True))
    assert got == reference(log, **chosen)
    for threads in (2, 7):
        again = mine_pairs(log, threads=threads, **chosen)
        assert all(a.tobytes() == b.tobytes() for a, b in zip(columns(pairs), columns(again), strict=True))
        assert again.report == pairs.report


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_report_accounts_for_every_pair_and_user(data):
    log = data.draw(logs())
    chosen = data.draw(options(log))
    report = mine_pairs(log, **chosen).report
    everything = dict(chosen, lower=0, upper=inf, top=0, min_users=1)
    found = reference(log, **everything)
    assert report.pairs_found == len(found) == sum(report.histogram_counts)
    dropped = report.pairs_under_min_users + report.pairs_below_lower + report.pairs_above_upper
    assert dropped + report.pairs_beyond_top + report.pairs_kept == report.pairs_found
    sources = {source for source, *_ in reference(log, **chosen)}
    assert report.notes_without_partner == report.notes - len(sources)
    assert report.notes_without_events == report.notes - len(set(log.notes))
    assert report.users == len(set(log.users))
    sizes = np.bincount(log.users) if len(log.users) else np.array([])
    limit = chosen["max_user_events"] or inf
    assert report.users_too_long == (sizes > limit).sum()
    assert report.events_of_long_users == sizes[sizes > limit].sum()
    bins = pairwise(report.histogram_edges)
    for (edge, above), count in zip(bins, report.histogram_counts, strict=True):
        # the first bin has scores of 0, too
        assert count == sum(edge <= max(units, 1) / UNIT < above for _, _, units, _ in found)


def heavy_tailed_log(baskets=3000, notes=800, seed=0):
    random = np.random.default_rng(seed)
    users = np.repeat(np.arange(baskets), random.integers(2, 30, baskets))
    chosen = (notes * random.random(len(users)) ** 3).astype(np.int64)
    return make_log(users, chosen, ordered=False, count=notes)


def test_sources_of_any_number_of_views_are_summed_alike():
    """A note that more users viewed than one word has room for, beside rare ones."""
    users = 5000
    rare = np.arange(users) % 40 + 1
    log = make_log(np.repeat(np.arange(users), 2), np.stack([0 * rare, rare], 1).ravel(), ordered=False)
    pairs = mine_pairs(log, upper=inf, top=0)
    assert pairs.to_csr()[0, 1:].toarray().ravel().tolist() == [users / 40 / 2] * 40
    assert pairs.to_csr()[1:, 0].toarray().ravel().tolist() == [users / 40 / 2] * 40
    assert set(pairs.users.tolist()) == {users // 40}


def test_large_log_has_the_same_bytes_for_any_number_of_threads():
    log = heavy_tailed_log()
    first = columns(mine_pairs(log, threads=1))
    for threads in (2, 7):
        assert all(
            a.tobytes() == b.tobytes()
            for a, b in zip(first, columns(mine_pairs(log, threads=threads)), strict=True)
        )


def test_as_many_partners_as_one_likes():
    log = heavy_tailed_log()
    everything = columns(mine_pairs(log, top=0))
    for top in (799, 800, 2**62, 2**63 - 1):
        assert all(
            a.tobytes() == b.tobytes()
            for a, b in zip(everything, columns(mine_pairs(log, top=top)), strict=True)
        )


def test_baskets_score_symmetrically():
    scores = mine_pairs(heavy_tailed_log(), lower=0, upper=inf, top=0).to_csr()
    assert scores.nnz > 10_000
    assert (scores != scores.T).nnz == 0


def test_csr_is_the_miners_own_memory_with_64_bit_indices():
    pairs = mine_pairs(heavy_tailed_log())
    matrix = pairs.to_csr()
    assert matrix.indices.dtype == matrix.indptr.dtype == np.int64
    assert np.shares_memory(matrix.data, pairs.to_csr().data)
    matrix.check_format(full_check=True)
    assert matrix.has_sorted_indices
    assert (matrix[pairs.source, pairs.target] == pairs.score).all()


def test_a_selection_makes_its_own_csr_and_table():
    pairs = mine_pairs(heavy_tailed_log())
    some = pairs.select(pairs.source % 2 == 0)
    assert len(some) == (pairs.source % 2 == 0).sum()
    dense = pairs.to_csr().toarray()
    dense[1::2] = 0
    assert (some.to_csr().toarray() == dense).all()
    assert some.to_table().column_names == ["source", "target", "score", "users"]
    assert some.to_table()["score"].to_numpy().tolist() == some.score.tolist()


def test_a_score_saturates_at_the_largest_unit_sum():
    users = 2**23 + 1  # each votes with 1 = 2^40 units: one more than 2^63 units in all
    events = np.tile(np.array([0, 1], dtype=np.int8), users)
    log = Log(np.repeat(np.arange(users), 2), np.tile([0, 1], users), range(users), ["a", "b"], None, events)
    pairs = mine_pairs(log, upper=inf)
    assert pairs.users.tolist() == [users]
    assert pairs.score.tolist() == [float(2**63 - 1) / UNIT]


def test_ctrl_c_in_the_callback_stops_the_mining():
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mine_pairs(heavy_tailed_log(), progress=interrupt)


def test_progress_counts_source_notes_up_to_all():
    seen = []
    mine_pairs(heavy_tailed_log(), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (800, 800)
    assert seen == sorted(seen)


def test_two_threads_mine_at_once():
    log = heavy_tailed_log()
    expected = columns(mine_pairs(log))
    both = threading.Barrier(2, timeout=60)
    results = {}

    def mine(name):
        # Both calls meet inside their first report: neither holds the GIL or a lock while it waits.
        met = []
        meet = lambda done, total: met or met.append(both.wait())  # noqa: E731
        results[name] = columns(mine_pairs(log, progress=meet))

    threads = [threading.Thread(target=mine, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    for name in "ab":
        assert all(a.tobytes() == b.tobytes() for a, b in zip(expected, results[name], strict=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lower": 2.0, "upper": 1.0}, r"lower must not be above upper"),
        ({"top": -1}, r"top must be at least 0, but is -1"),
        ({"min_users": 0}, r"min_users must be at least 1, but is 0"),
        ({"max_gap_seconds": 5}, r"the log has none; try max_gap_events"),
        ({"max_user_events": -3}, r"max_user_events must be at least 0, but is -3"),
        ({"threads": -1}, r"threads must be at least 0"),
    ],
)
def test_rejects_options_out_of_range(changes, message):
    with pytest.raises(ValueError, match=message):
        mine_pairs(make_log([0, 0], [0, 1]), **changes)


def test_rejects_a_gap_in_baskets():
    with pytest.raises(ValueError, match="needs an ordered log"):
        mine_pairs(make_log([0, 0], [0, 1], ordered=False), max_gap_events=1)


def test_rejects_codes_out_of_range():
    log = make_log([0, 0], [0, 1])
    with pytest.raises(ValueError, match=r"notes must be in \[0, 1\), but row 1 is 1"):
        mine_pairs(replace(log, note_ids=["a"]))


def test_a_gap_in_seconds_holds_in_any_unit_of_the_times():
    seconds = [10.0, 20.5, 30.0]
    whole = Interactions([0] * 3, [0, 1, 2], ["u"], ["a", "b", "c"], times=seconds)
    assert whole.ticks_per_second == 1000
    pairs = mine_pairs(whole, max_gap_seconds=10, lower=0)
    assert list(zip(pairs.source, pairs.target, strict=True)) == [(1, 2)]
    assert len(mine_pairs(whole, max_gap_seconds=2**62, lower=0)) == 3


@pytest.mark.parametrize(
    ("times", "unit"),
    [
        (
            [1_700_000_000_123, 1_700_000_001_000],
            "the middle one is .*milliseconds, try max_gap_seconds=12000",
        ),
        ([1_700_000_000_123_000, 1_700_000_001_000_000], "microseconds, try max_gap_seconds=12000000"),
        ([1_700_000_000_000_000_123, 1_700_000_001_000_000_000], "nanoseconds"),
        ([5000, 25_000], "no two events of a user are nearer than 20,000; if they are milliseconds"),
        ([5001, 6003], "nearer than 1,002; .*milliseconds"),
    ],
)
def test_times_that_seem_to_be_no_seconds_are_warned_of(times, unit):
    with pytest.warns(UserWarning, match=f"max_gap_seconds=12 times must be in seconds, but .*{unit}"):
        mine_pairs(make_log([0, 0], [0, 1], times), max_gap_seconds=12)


def test_times_that_seem_to_be_seconds_are_not_warned_of():
    with warnings.catch_warnings():  # whatever this module's mark lets pass
        warnings.simplefilter("error")
        for times in ([1_700_000_000, 1_700_000_010], [5, 30], [0, 0]):
            mine_pairs(make_log([0, 0], [0, 1], times), max_gap_seconds=12)
        mine_pairs(make_log([0, 0], [0, 1], [1_700_000_000_123, 1_700_000_001_000]))


def test_times_with_fractions_are_refused_of_a_log_of_one_s_own():
    log = replace(make_log([0, 0], [0, 1], [1, 2]), times=np.array([0.9, 0.2]))
    with pytest.raises(
        ValueError, match="mine_pairs: times must be integers, but are float64; try notellm.Inter"
    ):
        mine_pairs(log)


@pytest.mark.parametrize(
    ("users", "options", "remedy"),
    [
        ([0, 1], {}, "a log in which users have several notes: each has one"),
        ([0, 0], {"min_users": 2}, "a lower mining.min_users: 1 pairs have fewer users"),
        ([0, 0], {"upper": 0.1}, "a higher mining.upper: 1 pairs score above it"),
        ([0, 0], {"max_user_events": 1}, "a higher mining.max_user_events, or 0: 1 users are left out by it"),
        ([0, 0], {"max_gap_seconds": 1}, "larger mining.max_gap_seconds and mining.max_gap_events, or 0"),
    ],
)
def test_the_report_says_what_to_try_where_no_pair_is_kept(users, options, remedy):
    pairs = mine_pairs(make_log(users, [0, 1], [1, 20]), **options)
    assert len(pairs) == 0
    assert pairs.report.remedy().startswith(remedy)
