"""Ranks by counting against sorting the full score matrix.

The baseline does what evaluations usually do: one matrix product and an argsort of each query's scores. Ranks
are first checked to agree but for near neighbours that float32 swaps.

    python benchmarks/python/bench_ranks.py --output benchmarks/results
"""

import argparse

import numpy as np
import torch
from harness import medians, peak_mib, time_plainly
from records import Run

from notellm.retrieval import target_ranks


def random_embeddings(notes: int, width: int, seed: int) -> torch.Tensor:
    """(notes, width) unit vectors in random directions."""
    # Normalised in NumPy, which starts no OpenMP threads.
    rows = np.random.default_rng(seed).standard_normal((notes, width), dtype=np.float32)
    return torch.from_numpy(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def argsort_ranks(queries: torch.Tensor, pool: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """(Q,) notes before the target in a full sort."""
    order = (queries @ pool.T).argsort(dim=1, descending=True)  # (Q, N)
    return (order == targets[:, None]).int().argmax(dim=1)


def main() -> None:
    """Checks, measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--notes", type=int, default=30_000)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    run = Run(parser)
    options = run.options

    pool = random_embeddings(options.notes, options.width, seed=0)
    queries = pool[: options.queries]
    targets = torch.arange(options.notes).roll(1)[: options.queries]
    calls = {
        "target_ranks": lambda: target_ranks(queries, pool, targets),
        "argsort": lambda: argsort_ranks(queries, pool, targets),
    }
    size = {"queries": options.queries, "notes": options.notes, "width": options.width}
    memory = peak_mib(calls)
    difference = (target_ranks(queries, pool, targets).greater - argsort_ranks(queries, pool, targets)).abs()
    assert difference.max() <= 5, "sorted float32 scores may swap near neighbours, not more"
    rounds = time_plainly(calls, options.rounds)
    numbers = {
        **size,
        "ranks_float32_sorting_gets_wrong": int((difference > 0).sum()),
        "rounds": rounds,
        "seconds": medians(rounds),
        "peak_mib": memory,
    }
    run.report("ranks", numbers)


if __name__ == "__main__":
    main()
