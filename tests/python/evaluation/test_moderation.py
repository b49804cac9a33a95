"""What seeds do, estimated from all trained systems of a table: for those of several seeds, and of one."""

from dataclasses import replace

import numpy as np
import pytest

from notellm.evaluation import Luck, Trainings, compare, holm, resample
from notellm.evaluation.moderation import moderated
from notellm.evaluation.power import needed
from notellm.evaluation.resampling import Variance
from notellm.evaluation.significance import chance_of_none

TRIALS = 100


def named(seeds, name="base"):
    return frozenset(f"{name} {seed}" for seed in range(seeds))


def behind(*own, base=3, columns=1):
    """The trainings of systems with so many seeds each, beside another one; 0 of one that is not trained."""
    return [Trainings(named(seeds, place), named(base)) for place, seeds in enumerate(own)] * columns


def table(random, of_seed, *, untrained=3, once=0, columns=4, targets=60, samples=1, base=True):
    """Differences from a system that is trained or, without ``base``, is not: of trained ones with three seeds each,
    then of those trained once, then of untrained ones; none is better. With the trainings behind each."""
    spreads = [*of_seed, *[of_seed[0]] * once]
    commons = [spread * random.normal(size=3) for spread in spreads]
    of_target, resampled = random.normal(size=(len(spreads) + untrained, targets)), []
    for _ in range(columns):
        made = []
        for spread, common, row in zip(spreads, commons, of_target[: len(spreads)], strict=True):
            seeds = 0.6 * spread * random.normal(size=3) + 0.8 * common
            made.append(row + seeds[:, None] + 0.5 * random.normal(size=(3, targets)))
        for row in of_target[len(spreads) :]:
            made.append(np.repeat(row[None], 3, axis=0))
        if not base:
            made[0] = np.repeat(of_target[0][None], 3, axis=0)
        for place, other in enumerate(made[1:], start=1):
            count = 1 if len(of_seed) <= place < len(spreads) else 3
            rows, places = np.repeat(np.arange(count), targets), np.tile(np.arange(targets), count)
            off = (other - made[0])[:count].ravel()
            resampled.append(resample(off, places, rows, samples=samples))
    seeds = [3] * (len(of_seed) - 1) + [1] * once + [0] * untrained
    return resampled, behind(*seeds, base=3 * base, columns=columns)


@pytest.mark.parametrize("of_seed", [[0.1] * 4, [0.1, 0.3, 0.1, 0.1], [1.0] * 4], ids=str)
def test_tables_are_seldom_wrong(of_seed):
    wrong, known = 0, []
    for trial in range(TRIALS):
        resampled, trainings = table(np.random.default_rng(trial), of_seed)
        variances = moderated([of.variance for of in resampled], trainings)
        chances = [
            chance_of_none(replace(of, variance=v)) for of, v in zip(resampled, variances, strict=True)
        ]
        wrong += min(holm(chances)) <= 0.05
        known.append(np.median([of.seed_freedom for of in variances]))
    assert wrong / TRIALS < 0.09
    assert np.median(known) > 4  # of one row's seeds alone: 2


@pytest.mark.parametrize("of_seed", [[1.0] * 4, [0.3, 0.6, 0.3, 0.3]], ids=str)
def test_intervals_know_of_seeds_what_verdicts_know(of_seed):
    """Alone, those of seeds that differ much contain the truth too seldom."""
    alone, together = [], []
    for trial in range(60):
        resampled, trainings = table(np.random.default_rng(trial), of_seed, samples=250)
        trained = [place for place, of in enumerate(trainings) if of.own]
        compared = compare(resampled, unit=100, trainings=trainings)
        alone += [resampled[place].interval for place in trained]
        together += [compared[place].difference for place in trained]
    contained = [np.mean([of.low <= 0 <= of.high for of in found]) for found in (alone, together)]
    assert contained[0] < contained[1]
    assert 0.945 <= contained[1] <= 0.985


@pytest.mark.parametrize(
    ("of_seed", "options"),
    [
        ([0.3] * 4, {}),
        ([1.0] * 4, {}),
        ([0.3, 0.6, 0.3, 0.3], {"untrained": 3}),
        ([1.0] * 4, {"untrained": 8, "base": False}),
    ],
    ids=["alike", "that differ much", "one more", "beside lexical ones"],
)
def test_one_seed_is_as_lucky_as_the_others(of_seed, options):
    """Alone it knows nothing of luck: at least one of such comparisons was wrong in nearly every table."""
    alone, together, wrong = [], [], 0
    for trial in range(60):
        made = {"untrained": 0, "once": 3, "samples": 250, **options}
        resampled, trainings = table(np.random.default_rng(trial), of_seed, **made)
        once = [place for place, of in enumerate(trainings) if len(of.own) == 1]
        compared = compare(resampled, unit=100, trainings=trainings)
        alone += [resampled[place].interval for place in once]
        together += [compared[place].difference for place in once]
        wrong += any(compared[place].verdict in ("higher", "lower") for place in once)
    contained = [np.mean([of.low <= 0 <= of.high for of in found]) for found in (alone, together)]
    assert contained[0] < 0.7
    assert 0.93 <= contained[1] <= 0.995
    assert wrong / 60 < 0.09


KNOWN, ONCE = Variance(0.04, 0.012, 0.01, 3, 60), Variance(0.0, 0.032, 0.0, 1, 60)


def test_of_one_seed_what_others_suggest_is_taken():
    *_, known, once, words = moderated([KNOWN, KNOWN, KNOWN, ONCE, ONCE], [*behind(3, 3, 3, 1), Trainings()])
    assert words == ONCE
    assert once.of_both == pytest.approx(0.03)  # 0.002 of 0.032 are the same for every seed
    assert once.of_seeds == pytest.approx(3 * known.of_seeds)
    assert once.seed_freedom == 8  # four systems' seeds
    assert Luck.of([KNOWN] * 3, behind(3, 3, 3)) is not None
    (near,) = compare([replace(resample([0, 0, 0.001, -0.001], range(4)), variance=ONCE)], margin=0.5)
    assert near.verdict == "equivalent"  # by what its own targets show
    of_all = [replace(resample([0, 0, 0.001, -0.001], range(4)), variance=of) for of in [KNOWN] * 3 + [ONCE]]
    assert compare(of_all, margin=0.5, trainings=behind(3, 3, 3, 1))[-1].verdict == "undecided"


def test_others_may_tell_of_seeds():
    """Those of a study's own table, where another one is made; they are of trainings, so these must be given."""
    one = [replace(resample([0, 0, 0.001, -0.001], range(4)), variance=ONCE)]
    luck = Luck.of([KNOWN] * 3, behind(3, 3, 3))
    assert compare(one, margin=0.5, trainings=behind(1))[0].verdict == "equivalent"
    assert compare(one, margin=0.5, trainings=behind(1), luck=luck)[0].verdict == "undecided"
    with pytest.raises(ValueError, match="trainings must be given with luck"):
        compare(one, margin=0.5, luck=luck)


def test_how_sure_that_is_depends_on_how_the_others_differ():
    scattered = [replace(KNOWN, of_seeds=0.01 * ratio) for ratio in (0.3, 4, 30, 1)]
    *_, once = moderated([*scattered, ONCE], behind(3, 3, 3, 3, 1))
    assert once.seed_freedom == pytest.approx(1.616, abs=0.01)


@pytest.mark.parametrize(
    "trainings",
    [
        behind(3, 3, base=0) + [Trainings()],  # what is not trained does not tell
        [*behind(3, 3), Trainings(named(3), named(3))],  # nor does the same training read otherwise
        [Trainings(named(3), named(1))] * 3,  # one system's seeds
    ],
    ids=["untrained", "the same", "one system"],
)
def test_few_tell_nothing_of_one_seed(trainings):
    variances = [KNOWN, KNOWN, KNOWN, ONCE]
    assert moderated(variances, [*trainings, *behind(1)]) == variances
    assert Luck.of(variances, [*trainings, *behind(1)]) is None
    assert moderated([ONCE] * 5, behind(1, 1, 1, 1, 1)) == [ONCE] * 5  # no seeds at all


def test_what_does_not_tell_changes_nothing():
    trained, trainings = [KNOWN, KNOWN, KNOWN, ONCE], behind(3, 3, 3, 1)
    lexical = [replace(KNOWN, of_seeds=0.01)] * 3
    assert moderated([*lexical, *trained], [Trainings()] * 3 + trainings)[3:] == moderated(trained, trainings)


def test_seeds_that_agree_exactly_are_as_lucky():
    *_, found = moderated([KNOWN] * 4 + [replace(KNOWN, of_seeds=0.0)], behind(3, 3, 3, 3, 3))
    assert found.of_seeds > 0.01


def test_one_seed_is_planned_with_as_three_are():
    variances = moderated([KNOWN, KNOWN, KNOWN, ONCE], behind(3, 3, 3, 1))
    assert needed(ONCE, effect=0.5).seeds is None
    assert needed(variances[-1], effect=0.5).now > needed(ONCE, effect=0.5).now
    three, one = (needed(of, effect=0.5, comparisons=20).seeds for of in variances[2:])
    assert 0.9 < one / three < 1.3
    assert needed(variances[-1], effect=100.0).seeds == 1
    assert needed(variances[0], effect=100.0).seeds == 2


def test_what_seeds_do_is_never_taken_for_less_than_they_show():
    calm, wild = Variance(0.011, 0.5, 0.01, 3, 60), Variance(0.4, 0.5, 0.01, 3, 60)
    found = moderated([calm] * 6 + [wild], behind(3, 3, 3, columns=2) + behind(3))
    assert found[0].of_seeds >= calm.of_seeds
    assert found[-1].of_seeds == wild.of_seeds
    assert all(2 < of.seed_freedom <= 8 for of in found)
    assert moderated([calm, wild], behind(3, 3)) == [calm, wild]  # too few to tell
    assert moderated([calm] * 6, behind(1, columns=6)) == [calm] * 6
