"""Intervals and tests that know of shared targets and seeds: by simulation of what is claimed."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from notellm.evaluation import Verdict, compare, holm, resample, resampling
from notellm.evaluation.power import needed
from notellm.evaluation.resampling import Variance
from notellm.evaluation.significance import chance_of_none, smallest_seen
from notellm.evaluation.tails import critical, upper_tail
from notellm.metrics import bootstrap_mean

TRIALS = 300


def drawn(random, seeds, targets, *, of_seed=0.0, of_target=0.0, rest=0.0, mean=0.0, queries=1):
    """Values of every seed and query, with their labels: ``mean`` plus what each seed, target and value adds."""
    rows, columns = (
        np.repeat(np.arange(seeds), targets * queries),
        np.tile(np.arange(targets), seeds * queries),
    )
    values = (
        mean + of_seed * random.normal(size=seeds)[rows] + of_target * random.normal(size=targets)[columns]
    )
    return values + rest * random.normal(size=len(rows)), columns, rows


def covered(make, **options):
    """How often the interval contains the true mean, 0."""
    intervals = [
        resample(*make(np.random.default_rng(t)), samples=300, **options).interval for t in range(TRIALS)
    ]
    return np.mean([interval.low <= 0 <= interval.high for interval in intervals])


@pytest.mark.parametrize(
    "make",
    [
        lambda random: drawn(random, 1, 60, of_target=1, rest=0.5, queries=4),
        lambda random: drawn(random, 3, 60, of_seed=0.3, of_target=1, rest=1),
        lambda random: drawn(random, 4, 200, of_seed=1, of_target=0.2, rest=0.5),
    ],
    ids=["one seed", "three seeds", "seeds that differ much"],
)
def test_intervals_contain_the_truth_as_often_as_they_say(make):
    assert (
        0.89 <= covered(make) <= 0.985
    )  # with few seeds, whose own spread is hardly known, a little less often


def test_queries_taken_as_independent_are_too_sure():
    """Why targets are drawn: each is asked for by four queries, which succeed or fail together."""

    def naive(random):
        values, _, _ = drawn(random, 1, 60, of_target=1, queries=4)
        return values, np.arange(len(values))

    assert covered(naive) < 0.8


def test_without_shared_targets_it_is_the_plain_bootstrap():
    values = np.random.default_rng(0).normal(size=500)
    own, plain = resample(values, np.arange(500), samples=4000), bootstrap_mean(values, samples=4000)
    assert own.interval == pytest.approx(plain, abs=0.01)
    assert own.variance.total == pytest.approx(values.var(ddof=1) / 500)


def test_variances_are_those_of_the_seeds_and_the_targets():
    of = {"of_seed": 0.5, "of_target": 2.0, "rest": 1.0}
    found = [resample(*drawn(np.random.default_rng(t), 6, 40, **of), samples=1).variance for t in range(200)]
    rest = 1.0**2 / 240
    assert np.mean([one.of_both for one in found]) == pytest.approx(rest, rel=0.1)
    assert np.mean([one.of_seeds for one in found]) == pytest.approx(0.5**2 / 6 + rest, rel=0.1)
    assert np.mean([one.of_targets for one in found]) == pytest.approx(2**2 / 40 + rest, rel=0.1)


def test_each_seed_may_have_targets_of_its_own():
    values, targets, seeds = drawn(np.random.default_rng(0), 4, 50, of_seed=1, rest=1)
    means = values.reshape(4, 50).mean(axis=1)
    found = resample(values, targets + 50 * seeds, seeds)
    assert found.variance.total == pytest.approx(means.var(ddof=1) / 4, rel=0.02)
    assert found.variance.freedom == pytest.approx(3, rel=0.1)


def test_the_macro_average_is_over_targets():
    values, targets = [1.0, 1.0, 1.0, 0.0, 0.5], ["a", "a", "a", "b", "c"]
    found = resample(values, targets, macro=True, samples=2000)
    assert found.mean == pytest.approx(0.5)
    assert found.variance.total == pytest.approx(np.var([1, 0, 0.5], ddof=1) / 3)


def test_holm_against_its_definition():
    random = np.random.default_rng(0)
    for _ in range(50):
        p = random.random(6) ** 3
        order = np.argsort(p)
        step = [min(1, max((6 - j) * p[order[j]] for j in range(i + 1))) for i in range(6)]
        assert np.array(holm(p))[order] == pytest.approx(step)
    assert holm([]) == []


def test_no_claim_of_a_table_is_wrong_too_often():
    """Eight comparisons without any difference: in at most about 5 % of tables one is called higher or lower."""
    wrong = 0
    for trial in range(TRIALS // 2):
        random = np.random.default_rng(trial)
        found = compare([resample(random.normal(size=80), np.arange(80), samples=400) for _ in range(8)])
        wrong += any(one.verdict in (Verdict.HIGHER, Verdict.LOWER) for one in found)
    assert wrong / (TRIALS // 2) < 0.09


@pytest.mark.parametrize("of_seed", [0.3, 1.0])
def test_nor_with_three_seeds_however_much_they_differ(of_seed):
    """Corrected for 24 comparisons, a claim looks far out into the tails, where three seeds say little."""
    wrong = 0
    for trial in range(TRIALS // 2):
        random = np.random.default_rng(trial)
        values = [drawn(random, 3, 60, of_seed=of_seed, of_target=1, rest=1) for _ in range(24)]
        wrong += min(holm([chance_of_none(resample(*of, samples=1)) for of in values])) <= 0.05
    assert wrong / (TRIALS // 2) < 0.09


def test_tails_are_those_of_two_variables_of_student_s():
    random, variance = np.random.default_rng(0), Variance(0.5, 0.4, 0.1, 3, 61)
    drawn_ones = np.sqrt(0.5) * random.standard_t(2, 400_000) + np.sqrt(0.3) * random.standard_t(60, 400_000)
    for distance in (-1.0, 0.0, 0.7, 3.0, 9.0):
        expected = (drawn_ones >= distance).mean()
        assert upper_tail(distance, variance) == pytest.approx(expected, rel=0.03, abs=1e-4)
    for chance in (0.2, 0.01, 1e-6):
        assert upper_tail(critical(chance, variance), variance) == pytest.approx(chance, rel=1e-3)
    for freedom, alone in ((60, Variance(0.0, 0.3, 0.0, 1, 61)), (2, Variance(0.3, 0.3, 0.3, 3, 61))):
        assert upper_tail(1.1, alone) == pytest.approx(stats.t.sf(1.1 / np.sqrt(0.3), freedom))


def test_a_chance_is_never_above_one_however_it_is_rounded():
    freedoms = np.linspace(1.1, 40, 200)
    chances = [
        upper_tail(-1e6, Variance(0.3, 0.5, 0.01, 3, 60, seed_freedom=freedom)) for freedom in freedoms
    ]
    assert max(chances) == 1.0


def test_a_large_table_decides_what_is_clear():
    """However many comparisons it has: no number of resamples limits what can be told."""
    noise = np.random.default_rng(1).normal(size=900)
    found = compare([resample(0.5 + 0.03 * noise, np.arange(900), samples=10)] * 200)
    assert {one.verdict for one in found} == {"higher"}


@pytest.mark.parametrize(
    ("values", "p"), [([1.0] * 2, 0.5), ([1.0] * 5, 0.0625), ([1.0] * 8, 2**-7), ([0.0] * 5, 1.0)]
)
def test_a_few_targets_that_agree_are_no_certainty(values, p):
    (found,) = compare([resample(values, np.arange(len(values)))])
    assert found.p == pytest.approx(p)
    assert found.verdict == ("higher" if p < 0.05 else "undecided")


def test_verdicts():
    random = np.random.default_rng(1)
    noise = random.normal(size=900)
    noise -= noise.mean()

    def verdicts(*of, **options):
        resampled = [resample(mean + spread * noise, np.arange(900)) for mean, spread in of]
        return [one.verdict for one in compare(resampled, **options)]

    assert verdicts((0.02, 0.1)) == ["higher"]
    assert verdicts((-0.02, 0.1)) == ["lower"]
    assert verdicts((0.001, 0.02)) == ["equivalent"]
    assert verdicts((0.001, 0.2)) == ["undecided"]
    assert verdicts((0.003, 0.005)) == ["equivalent"]  # surely not 0, and surely too small to matter
    assert verdicts((0.003, 0.005), margin=0.001) == ["higher"]
    assert verdicts((0.0, 0.0)) == ["equivalent"]
    alone, among = verdicts((0.0085, 0.1)), verdicts((0.0085, 0.1), *[(0.0, 0.1)] * 19)
    assert (alone[0], among[0]) == ("higher", "undecided")


def test_nothing_is_said_of_differences_that_cannot_be():
    """Of two seeds that disagree much: systems can differ by one at most, and this they may."""
    values, targets, seeds = np.tile([0.5, 0.6, 0.5, 0.6], 2), np.tile(np.arange(4), 2), np.repeat([0, 1], 4)
    values[4:] -= 0.9
    resampled = resample(values, targets, seeds)
    assert resampled.interval.low < -1
    assert resampled.interval.high > 1
    (found,) = compare([resampled])
    assert found.difference == (pytest.approx(0.1), -1, 1)
    assert found.smallest == float("inf")
    (wide,) = compare([resampled], unit=100)
    assert wide.difference == resampled.interval
    assert 1 < wide.smallest < 100


def test_one_target_decides_nothing():
    (found,) = compare([resample([0.3, 0.3, 0.2], ["python3"] * 3)])
    assert (found.verdict, found.p, found.smallest) == ("undecided", 1.0, float("inf"))


def test_where_no_target_differs_nothing_is_known_of_what_could_be_seen():
    """It was 0.0, as if any difference could be, and a sixteenth of the targets were enough."""
    (found,) = compare([resample(np.zeros(50), np.arange(50))])
    assert (found.verdict, found.smallest) == ("undecided", float("inf"))
    plan = needed(resample(np.zeros(50), np.arange(50)).variance, effect=0.1)
    assert (plan.now, plan.seeds, plan.times, plan.both) == (float("inf"), None, None, None)


def test_the_smallest_effect_is_seen_as_often_as_it_says():
    make = {"of_seed": 0.3, "of_target": 1.0, "rest": 1.0}
    plan = resample(*drawn(np.random.default_rng(0), 400, 60, **make), samples=1).variance.of_design(8, 1)
    effect = smallest_seen(plan)
    seen = 0
    for trial in range(TRIALS):
        values = drawn(np.random.default_rng(trial), 8, 60, mean=effect, **make)
        (found,) = compare([resample(*values, samples=400)])
        seen += found.verdict == Verdict.HIGHER
    assert 0.7 <= seen / TRIALS <= 0.9


def test_needed_seeds_and_targets_suffice_and_fewer_do_not():
    values = drawn(np.random.default_rng(2), 4, 100, of_seed=0.5, of_target=1, rest=1)
    variance = resample(*values, samples=1).variance
    plan = needed(variance, effect=0.5)
    assert smallest_seen(variance.of_design(plan.seeds, 1)) <= 0.5
    assert smallest_seen(variance.of_design(plan.seeds - 1, 1)) > 0.5
    few = needed(variance, effect=0.01, most_seeds=50)
    assert few.seeds is None  # the targets alone are too few
    with pytest.raises(ValueError, match="needed: effect must be above 0, but is 0"):
        needed(variance, effect=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: resample([], []), r"resample: values must be one or more finite numbers, .* shape \(0,\)"),
        (lambda: resample([1.0, np.nan], [0, 1]), "1 finite"),
        (lambda: resample([1.0], [0, 1]), r"targets \(2,\)"),
        (lambda: resample([1.0], [0], samples=0), "samples must be at least 1, but is 0"),
        (lambda: holm([2.0]), r"holm: p must be in 0..1, but is \[2.0\]"),
        (lambda: compare([], margin=0), "compare: margin must be above 0 .* but are 0"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_interval_follows_the_variance_that_is_known():
    resampled = resample(*drawn(np.random.default_rng(0), 3, 60, of_seed=0.3, of_target=1, rest=1))
    mean, low, high = resampled.interval
    same = resampled.with_variance(resampled.variance).interval
    assert same == pytest.approx((mean, low, high))
    own = replace(resampled.variance, of_seeds=4 * resampled.variance.total, of_targets=0.0, of_both=0.0)
    wider = resampled.with_variance(replace(own, seed_freedom=resampled.variance.freedom)).interval
    assert wider == pytest.approx((mean, mean + 2 * (low - mean), mean + 2 * (high - mean)))
    sure = resample([1, 1, 1, 1], ["a", "b", "c", "d"])
    assert sure.with_variance(own).interval == sure.interval


def test_many_targets_are_resampled_in_parts_as_few_are(monkeypatch):
    draw = np.random.default_rng(0)
    values, targets, seeds = draw.random(300), draw.integers(0, 90, 300), np.arange(300) % 3
    few = resample(values, targets, seeds, macro=True, samples=300)
    for name, most in (("FEW", 7), ("MANY", 100)):
        monkeypatch.setattr(resampling, name, most)
        many = resample(values, targets, seeds, macro=True, samples=300)
        assert np.allclose(few.draws, many.draws, rtol=0, atol=1e-12)
