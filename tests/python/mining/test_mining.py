"""The miner against a dictionary of sums, on random logs of every kind."""

import threading
import warnings
from dataclasses import replace
from itertools import pairwise
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mining_reference import UNIT, Log, logs, make_log, options, reference, sampled, streams_of
from notellm.data.interactions import Interactions
from notellm.mining import mine_pairs

pytestmark = pytest.mark.filterwarnings(
    "ignore:mine_pairs. with max_gap_seconds"
)  # true of logs of a few events


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
    samples = {name: chosen[name] for name in ("sample_user_notes", "sample_note_users", "sample_seed")}
    left = sum(map(len, sampled(streams_of(log), chosen["max_user_events"], **samples).values()))
    left_out = report.events_of_long_users + report.events_of_sampled_users + report.events_of_sampled_notes
    assert left + left_out == report.events == len(log.users)
    assert (report.users_sampled > 0) == (report.events_of_sampled_users > 0)
    assert (report.notes_sampled > 0) == (report.events_of_sampled_notes > 0)
    bins = pairwise(report.histogram_edges)
    for (edge, above), count in zip(bins, report.histogram_counts, strict=True):
        # the first bin has scores of 0, too
        assert count == sum(edge <= max(units, 1) / UNIT < above for _, _, units, _ in found)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_exposure_counts_all_events_and_distinct_users(data):
    log = data.draw(logs())
    exposure = mine_pairs(log, threads=data.draw(st.integers(1, 3)), **data.draw(options(log))).exposure
    events = np.bincount(log.notes, minlength=12)
    views = events if log.events is None else np.bincount(log.notes[log.events == 0], minlength=12)
    clicks = events if log.events is None else np.bincount(log.notes[log.events == 1], minlength=12)
    users = np.bincount([note for note, _ in set(zip(log.notes, log.users, strict=True))] or [], minlength=12)
    for counted, expected in zip(
        (exposure.events, exposure.views, exposure.clicks, exposure.users),
        (events, views, clicks, users),
        strict=True,
    ):
        assert counted.dtype == np.int64
        assert counted.tolist() == expected.tolist()


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
    for chosen in ({}, {"score": "swing", "sample_note_users": 50, "sample_user_notes": 20, "lower": 0}):
        first = columns(mine_pairs(log, threads=1, **chosen))
        assert len(first[0]) > 1000
        for threads in (2, 7):
            again = columns(mine_pairs(log, threads=threads, **chosen))
            assert all(a.tobytes() == b.tobytes() for a, b in zip(first, again, strict=True))


def test_a_user_of_very_many_notes_is_warned_of_and_bounded_by_a_sample():
    many = 200_000
    log = Log(
        np.r_[np.zeros(many, np.int64), 1, 1],
        np.r_[np.arange(many), 0, 1],
        range(2),
        range(many),
        ordered=False,
    )
    for bounds in ({"sample_user_notes": 100}, {"max_user_events": 100}, {"max_gap_events": 3}):
        pairs = mine_pairs(replace(log, ordered="max_gap_events" in bounds), **bounds)
        assert pairs.to_csr()[0, 1] > 0
    assert pairs.exposure.events.sum() == many + 2

    def stop(done, total):
        raise KeyboardInterrupt

    with (
        pytest.warns(
            UserWarning, match="a user has 200,000 events, .* try sample_user_notes=1000, or max_user_"
        ),
        pytest.raises(KeyboardInterrupt),
    ):
        mine_pairs(log, progress=stop)


def test_the_report_tells_of_samples():
    report = mine_pairs(heavy_tailed_log(), sample_user_notes=10, sample_note_users=100).report
    assert "events of 3,000 users" not in report.describe()
    assert f"{report.events_of_sampled_users:,} events of {report.users_sampled:,} users" in report.describe()
    assert f"{report.events_of_sampled_notes:,} events of {report.notes_sampled:,} notes" in report.describe()
    assert "sample" not in mine_pairs(heavy_tailed_log()).report.describe()


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
        (
            {"score": "swing"},
            r"sample_note_users must be above 0 for score=swing, .* try sample_note_users=1000",
        ),
        ({"swing_alpha": -1.0}, r"swing_alpha must be at least 0, but is -1"),
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


def test_rejects_matrices():
    log = make_log([0, 0], [0, 1])
    for column in ("users", "notes", "times"):
        with pytest.raises(ValueError, match=rf"^mine_pairs: {column} must have one dimension, but has 2$"):
            mine_pairs(replace(log, **{column: np.zeros((2, 1), np.int64)}))


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
        ([20240131, 20240201], "look like dates, such as 20240131; try dates as NumPy's datetime64"),
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
        ([0, 0], {"sample_user_notes": 1}, "a higher mining.sample_user_notes and mining.sample_note_users"),
        ([0, 0], {"max_user_events": 1}, "a higher mining.max_user_events, or 0: 1 users are left out by it"),
        ([0, 0], {"max_gap_seconds": 1}, "larger mining.max_gap_seconds and mining.max_gap_events, or 0"),
    ],
)
def test_the_report_says_what_to_try_where_no_pair_is_kept(users, options, remedy):
    pairs = mine_pairs(make_log(users, [0, 1], [1, 20]), **options)
    assert len(pairs) == 0
    assert pairs.report.remedy().startswith(remedy)
