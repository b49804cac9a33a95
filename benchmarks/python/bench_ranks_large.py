"""Exact ranks and neighbours in a pool of a million notes, against torch, FAISS and the bare matrix product.

2,000 queries, vectors of 128 numbers in random directions; a query is its target with noise, so that ranks are spread
over the pool. All baselines compute scores in fp32 alone; those who go through the pool block by block have the size
that is fastest for them. `target_ranks` finds what a sort of fp64 scores finds, which is checked for some queries.
FAISS with its 100,000 best and argsort take part with fewer queries; their times are scaled to all.

    python benchmarks/python/bench_ranks_large.py --output benchmarks/results
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from bench_ranks import argsort_ranks, random_embeddings
from devices import is_gpu, peaks_mib
from harness import fastest, medians, time_in_turns
from records import Run
from torch import Tensor

from notellm.retrieval import neighbours, target_ranks

CUTOFFS = [100, 1_000, 10_000, 100_000]
BLOCKS = [512, 1_024, 2_048, 4_096]
MOST_OF_FAISS_ON_A_GPU = 2_048
"""Neighbours of a query: its limit."""


def noisy_targets(pool: Tensor, queries: int, seed: int) -> tuple[Tensor, Tensor]:
    """Queries (Q, d), which are their targets with noise of very different size, and the targets (Q,)."""
    random = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, len(pool), (queries,), generator=random)
    noise = torch.nn.functional.normalize(torch.randn(queries, pool.shape[1], generator=random), dim=1)
    strength = torch.rand(queries, 1, generator=random) * 4
    return torch.nn.functional.normalize(pool[targets] + strength * noise, dim=1), targets


def product(queries: Tensor, pool: Tensor, size: int) -> None:
    """The scores alone, block by block into the same memory: what every exact method in fp32 must compute."""
    scores = torch.empty(len(queries), size, device=pool.device)
    for first in range(0, len(pool), size):
        block = pool[first : first + size]
        torch.mm(queries, block.T, out=scores[:, : len(block)])


def chunked_ranks(queries: Tensor, pool: Tensor, targets: Tensor, size: int) -> Tensor:
    """(Q,) notes above the target, counted block by block as one writes it with torch."""
    own = (queries * pool[targets]).sum(1, keepdim=True)
    greater = torch.zeros(len(queries), dtype=torch.int64, device=pool.device)
    for first in range(0, len(pool), size):
        greater += (queries @ pool[first : first + size].T > own).sum(1)
    return greater


def in_blocks(
    queries: Tensor, pool: Tensor, targets: Tensor, sizes: Sequence[int]
) -> tuple[dict[str, Callable[[], object]], dict[str, int]]:
    """Those who go through the pool block by block, each with the size that is fastest for it; these sizes."""
    calls: dict[str, Callable[[int], object]] = {
        "product_fp32": partial(product, queries, pool),
        "chunked_torch": partial(chunked_ranks, queries, pool, targets),
    }
    blocks = {name: fastest(call, sizes, device=pool.device) for name, call in calls.items()}
    return {name: partial(call, blocks[name]) for name, call in calls.items()}, blocks


def check(queries: Tensor, pool: Tensor, targets: Tensor) -> None:
    """Compares ranks with those of fp64 scores."""
    some = slice(0, 20)
    scores = queries[some].double() @ pool.double().T
    own = scores.gather(1, targets[some, None])
    assert target_ranks(queries, pool, targets).greater[some].equal((scores > own).sum(1).cpu())


def faiss_index(pool: Tensor) -> Any | None:
    """FAISS's flat index of a pool, on a GPU by its build for GPUs; None where it is not installed."""
    try:
        import faiss
    except ImportError:
        return None
    index = faiss.IndexFlatIP(pool.shape[1])
    if is_gpu(pool.device):
        if not hasattr(faiss, "StandardGpuResources"):
            return None
        index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)
    index.add(pool.cpu().numpy())
    return index


def calls_of(
    queries: Tensor, pool: Tensor, targets: Tensor, options: argparse.Namespace
) -> tuple[dict[str, Callable[[], object]], dict[str, int]]:
    """Who is timed, and the blocks' sizes. FAISS and argsort have ``fewer`` queries, nearest neighbours half of all."""
    half, fewer = queries[: len(queries) // 2], queries[: options.fewer]
    in_parts, blocks = in_blocks(queries, pool, targets, options.blocks)
    calls = {
        "target_ranks": partial(target_ranks, queries, pool, targets),
        **in_parts,
        "argsort": partial(argsort_ranks, fewer, pool, targets[: options.fewer]),
        "neighbours": partial(neighbours, half, pool, options.top),
    }
    if (index := faiss_index(pool)) is None:
        return calls, blocks
    largest = MOST_OF_FAISS_ON_A_GPU if is_gpu(pool.device) else max(CUTOFFS)
    calls[f"faiss_flat_{largest}"] = partial(index.search, fewer.cpu().numpy(), largest)
    calls["faiss_flat_top"] = partial(index.search, half.cpu().numpy(), options.top)
    return calls, blocks


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
    parser.add_argument(
        "--blocks", type=int, nargs="+", default=BLOCKS, help="notes of a block: the fastest is taken"
    )
    parser.add_argument("--device", default="cpu")
    run = Run(parser)
    options = run.options

    pool = random_embeddings(options.notes, options.width, seed=0)
    queries, targets = noisy_targets(pool, options.queries, seed=1)
    queries, pool, targets = (tensor.to(options.device) for tensor in (queries, pool, targets))
    check(queries, pool, targets)
    calls, blocks = calls_of(queries, pool, targets, options)
    rounds = time_in_turns(calls, options.rounds, device=options.device)
    scale = options.queries / options.fewer
    for name in rounds.keys() & {
        "argsort",
        f"faiss_flat_{max(CUTOFFS)}",
        f"faiss_flat_{MOST_OF_FAISS_ON_A_GPU}",
    }:
        rounds[name] = [float(f"{seconds * scale:.4g}") for seconds in rounds[name]]
    greater = target_ranks(queries, pool, targets).greater
    seconds = medians(rounds)
    numbers = {
        "device": options.device,
        "blocks": blocks,
        "queries": options.queries,
        "notes": options.notes,
        "width": options.width,
        "queries_of_faiss_flat_100000_and_argsort": options.fewer,
        "queries_of_neighbours_and_faiss_flat_top": options.queries // 2,
        "top": options.top,
        "recall": {cutoff: round(float((greater < cutoff).double().mean()), 4) for cutoff in CUTOFFS},
        "rounds": rounds,
        "seconds": seconds,
        "times_the_bare_product": round(seconds["target_ranks"] / seconds["product_fp32"], 3),
        "peak_mib": peaks_mib(
            {name: calls[name] for name in ("target_ranks", "chunked_torch")}, options.device
        ),
    }
    run.report("ranks_large", numbers)


if __name__ == "__main__":
    main()
