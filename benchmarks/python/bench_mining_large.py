"""Mining ten million events against `implicit`'s all_pairs_knn: both keep the ten best partners of each note.

A million baskets of log-normal size (mean 10), 200,000 notes of Zipf's popularity (exponent 0.8). `implicit` counts the
users of a pair; we sum 1 / N as well as counting them, apply the bounds and report what was dropped. Before the
timing, our counts (`score="count"`) are checked to be those that `implicit` finds. We begin with events in file order;
`implicit` begins with a matrix, which is made beforehand but for the rounds "from events".

    python benchmarks/python/bench_mining_large.py --output benchmarks/results
"""

import argparse
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import numpy as np
from bench_mining import Baskets
from harness import medians, time_plainly
from records import Run
from scipy.sparse import csr_matrix

from notellm.mining import mine_pairs

TOP = 10


def log_normal_baskets(baskets: int, notes: int, seed: int) -> Baskets:
    """Basket sizes are log-normal with a mean of about 10; the popularity of a note is a power of its rank."""
    random = np.random.default_rng(seed)
    sizes = np.maximum(1, np.rint(random.lognormal(np.log(10) - 0.5, 1.0, baskets))).astype(np.int64)
    share = np.cumsum(np.arange(1, notes + 1) ** -0.8)
    chosen = np.searchsorted(share / share[-1], random.random(sizes.sum())).clip(max=notes - 1)
    return Baskets(
        np.repeat(np.arange(baskets), sizes), random.permutation(notes)[chosen], range(baskets), range(notes)
    )


def membership(log: Baskets) -> csr_matrix:
    """A 0/1 matrix of baskets and notes."""
    shape = (len(log.user_ids), len(log.note_ids))
    member = csr_matrix((np.ones(len(log.users)), (log.users, log.notes)), shape=shape)
    member.data[:] = 1  # repeats in a basket were added up
    return member


def check_counts(log: Baskets, member: csr_matrix) -> None:
    """Compares the counts of each note's best partners; which of equal ones are kept may differ."""
    from implicit.nearest_neighbours import all_pairs_knn

    ours = mine_pairs(log, score="count", lower=0, upper=np.inf, top=TOP).to_csr()
    theirs = all_pairs_knn(member, K=TOP + 1, show_progress=False).tocsr()
    for note in range(0, len(log.note_ids), 997):
        counts = [
            count
            for other, count in zip(theirs[note].indices, theirs[note].data, strict=True)
            if other != note and count
        ]
        assert sorted(ours[note].data) == sorted(sorted(counts, reverse=True)[:TOP])[-ours[note].nnz :]


def calls_of(log: Baskets) -> dict[str, Callable[[], object]]:
    """Who is timed: `implicit` where it is installed, and finds the same counts."""
    ours: dict[str, Callable[[], object]] = {
        "mine_1_thread": lambda: mine_pairs(log, threads=1),
        "mine_2_threads": lambda: mine_pairs(log, threads=2),
    }
    if find_spec("implicit") is None:
        return ours
    from implicit.nearest_neighbours import all_pairs_knn

    member = membership(log)
    check_counts(log, member)
    best = partial(all_pairs_knn, K=TOP + 1, show_progress=False)
    return ours | {
        "implicit_1_thread": lambda: best(member, num_threads=1),
        "implicit_2_threads": lambda: best(member, num_threads=2),
        "implicit_from_events_2_threads": lambda: best(membership(log), num_threads=2),
    }


def main() -> None:
    """Checks, measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--baskets", type=int, default=1_000_000)
    parser.add_argument("--notes", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    run = Run(parser)
    options = run.options

    log = log_normal_baskets(options.baskets, options.notes, seed=0)
    rounds = time_plainly(calls_of(log), options.rounds)
    size = {"baskets": options.baskets, "notes": options.notes, "events": len(log.users)}
    pairs = mine_pairs(log).report.pairs_found
    numbers = {**size, "pairs": pairs, "top": TOP, "rounds": rounds, "seconds": medians(rounds)}
    run.report("mining_large", numbers)


if __name__ == "__main__":
    main()
