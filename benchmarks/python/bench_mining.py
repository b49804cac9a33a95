"""Mining baskets against a sparse matrix product in SciPy.

The product gives all symmetric scores; mining also bounds them and keeps the ten best of each note, on one
and on two threads. Scores are first checked to be equal, to the last bit.

    python benchmarks/python/bench_mining.py --output benchmarks/results
"""

import argparse
from dataclasses import dataclass

import numpy as np
from harness import medians, peak_mib, time_plainly
from records import Run
from scipy.sparse import csr_matrix

from notellm.mining import mine_pairs


@dataclass
class Baskets:
    """A random log: basket sizes and note popularity are both heavy-tailed."""

    users: np.ndarray
    notes: np.ndarray
    user_ids: range
    note_ids: range
    times: None = None
    events: None = None
    ordered: bool = False


def random_baskets(baskets: int, notes: int, seed: int) -> Baskets:
    """Pareto basket sizes of 2 to 100 notes; a note's popularity falls off as a power of its rank."""
    random = np.random.default_rng(seed)
    sizes = np.minimum(2 + (3 * random.pareto(1.5, baskets)).astype(np.int64), 100)
    users = np.repeat(np.arange(baskets), sizes)
    chosen = (notes * random.random(len(users)) ** 3).astype(np.int64)
    return Baskets(users, random.permutation(notes)[chosen], range(baskets), range(notes))


def scipy_scores(log: Baskets, dtype=np.float64, units: int = 1) -> csr_matrix:
    """X' diag(1/N) X without its diagonal, where X is the 0/1 matrix of baskets and notes."""
    shape = (len(log.user_ids), len(log.note_ids))
    member = csr_matrix((np.ones(len(log.users)), (log.users, log.notes)), shape=shape)
    member.data[:] = 1  # repeats in a basket were added up
    sizes = np.maximum(np.diff(member.indptr), 1)
    weights = np.floor(units / sizes + 0.5) if units > 1 else units / sizes
    weighted = member.copy()
    weighted.data = np.repeat(weights, np.diff(member.indptr))
    scores = (member.T.tocsr().astype(dtype) @ weighted.astype(dtype)).tocsr()
    scores.setdiag(0)
    scores.eliminate_zeros()
    scores.sort_indices()
    return scores


def check_equal(log: Baskets) -> int:
    """Compares all scores in whole units of 2^-40; returns how many pairs there are."""
    ours = mine_pairs(log, lower=0, upper=np.inf, top=0).to_csr()
    theirs = scipy_scores(log, np.int64, 2**40)  # the same units in integers
    assert np.array_equal(ours.indptr, theirs.indptr)
    assert np.array_equal(ours.indices, theirs.indices)
    assert np.array_equal(ours.data * 2**40, theirs.data)
    return ours.nnz


def main() -> None:
    """Checks, measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--baskets", type=int, default=100_000)
    parser.add_argument("--notes", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=5)
    run = Run(parser)
    options = run.options

    log = random_baskets(options.baskets, options.notes, seed=0)
    calls = {
        "mine_1_thread": lambda: mine_pairs(log, threads=1),
        "mine_2_threads": lambda: mine_pairs(log, threads=2),
        "scipy_product": lambda: scipy_scores(log),
    }
    size = {"baskets": options.baskets, "notes": options.notes, "events": len(log.users)}
    memory = peak_mib(calls)
    pairs = check_equal(log)
    rounds = time_plainly(calls, options.rounds)
    numbers = {**size, "pairs": pairs, "rounds": rounds, "seconds": medians(rounds), "peak_mib": memory}
    run.report("mining", numbers)


if __name__ == "__main__":
    main()
