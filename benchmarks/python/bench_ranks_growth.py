"""Exact ranks by the size of the pool: ours, torch in chunks, the bare matrix product, and FAISS's flat index.

Vectors of 128 numbers in random directions, as in `bench_ranks_large`, where the baselines are. FAISS finds its 100,000
best (all, of a smaller pool) of fewer queries; its times are scaled to all. A pool in fp32 takes 512 bytes a note, and
FAISS keeps a copy.

    python benchmarks/python/bench_ranks_growth.py --output benchmarks/results
"""

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from bench_ranks_large import BLOCKS, CUTOFFS, check, faiss_index, in_blocks, noisy_targets
from harness import medians, time_in_turns
from records import Run
from torch import Tensor

from notellm.retrieval import target_ranks

FAISS = "faiss_flat_100000"
PART = 250_000
"""Notes that are drawn at once."""

CHECKED = 1_000_000
"""The largest pool whose ranks are compared with those of fp64 scores, for which a copy in fp64 is made."""


def random_pool(notes: int, width: int) -> Tensor:
    """(notes, width) unit vectors in random directions, drawn part by part: two copies of 4 million are too many."""
    pool = torch.empty(notes, width)
    random = torch.Generator().manual_seed(0)
    for first in range(0, notes, PART):
        part = pool[first : first + PART]
        part.normal_(generator=random)
        part /= part.norm(dim=1, keepdim=True)
    return pool


def calls_of(
    pool: Tensor, queries: Tensor, targets: Tensor, options: argparse.Namespace
) -> tuple[dict[str, Callable[[], object]], dict[str, int]]:
    """Who is timed, and the blocks' sizes; FAISS, where it is installed, has ``fewer`` queries."""
    in_parts, blocks = in_blocks(queries, pool, targets, options.blocks)
    calls = {"target_ranks": partial(target_ranks, queries, pool, targets), **in_parts}
    if (index := faiss_index(pool)) is not None:
        best = min(max(CUTOFFS), len(pool))
        calls[FAISS] = partial(index.search, queries[: options.fewer].numpy(), best)
    return calls, blocks


def point_of(notes: int, options: argparse.Namespace) -> dict[str, Any]:
    """All, in turns, with a pool of so many notes."""
    pool = random_pool(notes, options.width)
    queries, targets = noisy_targets(pool, options.queries, seed=1)
    if notes <= CHECKED:
        check(queries, pool, targets)
    calls, blocks = calls_of(pool, queries, targets, options)
    rounds = time_in_turns(calls, options.rounds, is_warm=notes > CHECKED)  # smaller pools come first
    if FAISS in rounds:
        rounds[FAISS] = [round(each * options.queries / options.fewer, 3) for each in rounds[FAISS]]
    return {"notes": notes, "blocks": blocks, "rounds": rounds, "seconds": medians(rounds)}


def main() -> None:
    """Checks, measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--pools", type=int, nargs="+", default=[10_000, 100_000, 1_000_000, 4_000_000])
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fewer", type=int, default=16, help="queries of FAISS's 100,000 best")
    parser.add_argument(
        "--blocks", type=int, nargs="+", default=BLOCKS, help="notes of a block: the fastest is taken"
    )
    run = Run(parser)
    options = run.options

    points = [point_of(notes, options) for notes in options.pools]
    numbers = {
        "queries": options.queries,
        "queries_of_faiss_flat_100000": options.fewer,
        "width": options.width,
        "points": points,
    }
    run.report("ranks_growth", numbers)


if __name__ == "__main__":
    main()
