"""How many seeds, or targets, a wished effect needs."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

from notellm.evaluation.resampling import Variance
from notellm.evaluation.significance import ALPHA, POWER, smallest_seen

MOST_SEEDS = 200
MOST_TIMES = 64


@dataclass(frozen=True)
class Needed:
    """What would let an effect be seen.

    Attributes:
        now: The smallest effect that can be seen with the seeds and targets there are.
        seeds: How many seeds, with the targets there are; None if none of ``most_seeds`` suffices.
        times: How many times the targets (and queries), with the seeds there are; None likewise.
        both: Seeds and times together, for which their product is smallest; None likewise.
    """

    now: float
    seeds: int | None
    times: float | None
    both: tuple[int, float] | None


def needed(
    variance: Variance,
    *,
    effect: float,
    comparisons: int = 1,
    alpha: float = ALPHA,
    power: float = POWER,
    most_seeds: int = MOST_SEEDS,
    most_times: float = MOST_TIMES,
) -> Needed:
    """The seeds, or the targets, with which an effect is found with a chance of ``power``.

    Args:
        variance: Of a difference that was measured (`notellm.evaluation.resample`). Of one seed the luck of training is
            not known, unless others tell (`notellm.evaluation.moderation`): then nothing is said of seeds.
        effect: The true difference, in its unit.
        comparisons: How many are made at once.
        alpha: Level of the test.
        power: The chance.
        most_seeds: Where the search ends.
        most_times: Where the search ends.

    Raises:
        ValueError: If the effect is not above 0.

    Example:
        >>> found = needed(Variance(0.5, 0.5, 0.1, 3, 400), effect=2.0)
        >>> round(found.now, 1), found.seeds, found.times, found.both
        (4.1, 16, None, (7, 2.0))
    """
    if not effect > 0:
        raise ValueError(f"needed: effect must be above 0, but is {effect:g}")

    def suffices(seeds: int, times: float) -> bool:
        design = variance.of_design(seeds, times)
        return smallest_seen(design, comparisons=comparisons, alpha=alpha, power=power) <= effect

    def fewest(times: float) -> int | None:
        """Fewest seeds at so many times the targets: what suffices, suffices with more, too."""
        if variance.seed_freedom == 0 or not suffices(most_seeds, times):
            return None
        return bisect_left(
            range(most_seeds), True, lo=min(variance.seeds, 2), key=lambda seeds: suffices(seeds, times)
        )

    shares = [2 ** (step / 4) for step in range(-16, 1 + int(4 * np.log2(most_times)))]
    times = next((share for share in shares if suffices(variance.seeds, share)), None)
    pairs = [(seeds, share) for share in shares[::4] if (seeds := fewest(share)) is not None]
    both = min(pairs, key=lambda pair: pair[0] * pair[1], default=None)
    now = smallest_seen(variance, comparisons=comparisons, alpha=alpha, power=power)
    return Needed(now, fewest(1.0), times, both)
