"""Exact ranks and neighbours in a pool of a million notes, against torch, FAISS and the bare matrix product.

2,000 queries, vectors of 128 numbers in random directions; a query is its target with noise, so that ranks are spread
over the pool. All baselines compute scores in fp32 alone; `target_ranks` finds what a sort of fp64 scores finds, which
is checked for some queries. FAISS with its 100,000 best and argsort take part with fewer queries; their times are
scaled to all.

    python benchmarks/python/bench_ranks_large.py --output benchmarks/results
"""

import argparse
from collections.abc import Callable
from functools import partial

import faiss
import torch
from bench_ranks import argsort_ranks, random_embeddings
from harness import medians, time_plainly
from records import Run
from torch import Tensor

from notellm.retrieval import neighbours, target_ranks

CUTOFFS = [100, 1_000, 10_000, 100_000]
BLOCK = 4_096
"""Notes of a block of scores, for those who count in blocks."""


def noisy_targets(pool: Tensor, queries: int, seed: int) -> tuple[Tensor, Tensor]:
    """Queries (Q, d), which are their targets with noise of very different size, and the targets (Q,)."""
    random = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, len(pool), (queries,), generator=random)
    noise = torch.nn.functional.normalize(torch.randn(queries, pool.shape[1], generator=random), dim=1)
    strength = torch.rand(queries, 1, generator=random) * 4
    return torch.nn.functional.normalize(pool[targets] + strength * noise, dim=1), targets


def product(queries: Tensor, pool: Tensor) -> None:
    """The scores alone, block by block into the same memory: what every exact method in fp32 must compute."""
    scores = torch.empty(len(queries), BLOCK)
    for first in range(0, len(pool), BLOCK):
        block = pool[first : first + BLOCK]
        torch.mm(queries, block.T, out=scores[:, : len(block)])


def chunked_ranks(queries: Tensor, pool: Tensor, targets: Tensor) -> Tensor:
    """(Q,) notes above the target, counted block by block as one writes it with torch."""
    own = (queries * pool[targets]).sum(1, keepdim=True)
    greater = torch.zeros(len(queries), dtype=torch.int64)
    for first in range(0, len(pool), BLOCK):
        greater += (queries @ pool[first : first + BLOCK].T > own).sum(1)
    return greater


def check(queries: Tensor, pool: Tensor, targets: Tensor) -> None:
    """Compares ranks with those of fp64 scores."""
    some = slice(0, 20)
    scores = queries[some].double() @ pool.double().T
    own = scores.gather(1, targets[some, None])
    assert target_ranks(queries, pool, targets).greater[some].equal((scores > own).sum(1))


def calls_of(
    queries: Tensor, pool: Tensor, targets: Tensor, fewer: int, top: int
) -> dict[str, Callable[[], object]]:
    """Who is timed. FAISS and argsort have ``fewer`` queries, and nearest neighbours half of all."""
    index = faiss.IndexFlatIP(pool.shape[1])
    index.add(pool.numpy())
    half = queries[: len(queries) // 2]
    return {
        "target_ranks": partial(target_ranks, queries, pool, targets),
        "product_fp32": partial(product, queries, pool),
        "chunked_torch": partial(chunked_ranks, queries, pool, targets),
        "faiss_flat_100000": partial(index.search, queries[:fewer].numpy(), max(CUTOFFS)),
        "argsort": partial(argsort_ranks, queries[:fewer], pool, targets[:fewer]),
        "neighbours": partial(neighbours, half, pool, top),
        "faiss_flat_top": partial(index.search, half.numpy(), top),
    }


def main() -> None:
    """Checks, measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queries", type=int, default=2_000)
    parser.add_argument("--notes", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--fewer", type=int, default=32, help="queries of FAISS's 100,000 best and of argsort"
    )
    parser.add_argument("--top", type=int, default=100)
    run = Run(parser)
    options = run.options

    pool = random_embeddings(options.notes, options.width, seed=0)
    queries, targets = noisy_targets(pool, options.queries, seed=1)
    check(queries, pool, targets)
    rounds = time_plainly(calls_of(queries, pool, targets, options.fewer, options.top), options.rounds)
    scale = options.queries / options.fewer
    for name in ("faiss_flat_100000", "argsort"):
        rounds[name] = [float(f"{seconds * scale:.4g}") for seconds in rounds[name]]
    greater = target_ranks(queries, pool, targets).greater
    numbers = {
        "queries": options.queries,
        "notes": options.notes,
        "width": options.width,
        "queries_of_faiss_flat_100000_and_argsort": options.fewer,
        "queries_of_neighbours_and_faiss_flat_top": options.queries // 2,
        "top": options.top,
        "recall": {cutoff: round(float((greater < cutoff).double().mean()), 4) for cutoff in CUTOFFS},
        "rounds": rounds,
        "seconds": medians(rounds),
    }
    run.report("ranks_large", numbers)


if __name__ == "__main__":
    main()
