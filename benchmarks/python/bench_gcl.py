"""The tiled contrastive loss against plain-torch NT-Xent, forward and backward.

The baseline is what people write: normalise, one matrix of all similarities, its diagonal masked, cross-entropy; fp32.
Values and gradients are first checked to be equal. The largest number of pairs is the headline, the smaller ones show
how both grow.

    python benchmarks/python/bench_gcl.py --output benchmarks/results/gcl.json
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from harness import median_seconds, peak_mib, report
from torch import Tensor

from notellm.losses import gcl_loss

Loss = Callable[[Tensor, Tensor], Tensor]


def plain_nt_xent(embeddings: Tensor, tau: Tensor) -> Tensor:
    """Eq. (2) over the whole matrix of similarities."""
    unit = torch.nn.functional.normalize(embeddings, dim=1)
    logits = unit @ unit.T * tau.exp()  # (2B, 2B)
    rows = torch.arange(len(unit))
    logits = logits.masked_fill(torch.eye(len(unit), dtype=torch.bool), -torch.inf)
    return torch.nn.functional.cross_entropy(logits, rows ^ 1)


def related_pairs(pairs: int, width: int, seed: int) -> Tensor:
    """(2B, d) random rows, both of a pair near a direction of their own, so that losses are neither 0 nor chance."""
    # Drawn in NumPy, which starts no OpenMP threads.
    generator = np.random.default_rng(seed)
    rows = generator.standard_normal((pairs, 1, width)) + generator.standard_normal((pairs, 2, width))
    return torch.from_numpy(rows.reshape(2 * pairs, width).astype(np.float32))


def step(loss: Loss, embeddings: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Loss and gradients."""
    rows, tau = embeddings.clone().requires_grad_(), torch.tensor(3.0, requires_grad=True)
    value = loss(rows, tau)
    return value.detach(), *torch.autograd.grad(value, (rows, tau))


def largest_difference(embeddings: Tensor) -> float:
    """Relative L2 distance of loss and gradients, the largest of the three."""
    both = zip(step(gcl_loss, embeddings), step(plain_nt_xent, embeddings), strict=True)
    return max(float((ours - plain).norm() / plain.norm()) for ours, plain in both)


def main() -> None:
    """Checks, measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, nargs="+", default=[256, 512, 1024, 2048, 4096])
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()

    losses: dict[str, Loss] = {"notellm": gcl_loss, "plain_torch": plain_nt_xent}
    batches = {pairs: related_pairs(pairs, options.width, seed=0) for pairs in sorted(options.pairs)}
    calls = {
        pairs: {name: lambda loss=loss, rows=rows: step(loss, rows) for name, loss in losses.items()}
        for pairs, rows in batches.items()
    }
    memory = {pairs: peak_mib(calls[pairs]) for pairs in batches}  # first, while no thread has started
    series = []
    for pairs, rows in batches.items():
        difference = largest_difference(rows)
        assert difference < 1e-5, f"both must compute one loss, but differ by {difference} at {pairs} pairs"
        seconds = median_seconds(calls[pairs], options.rounds)
        series.append(
            {
                "pairs": pairs,
                "largest_relative_difference": difference,
                "seconds": seconds,
                "peak_mib": memory[pairs],
                "speed_ratio": round(seconds["plain_torch"] / seconds["notellm"], 3),
                "memory_ratio": round(memory[pairs]["notellm"] / max(memory[pairs]["plain_torch"], 1), 4),
            }
        )
    numbers = {
        "benchmark": "gcl",
        "width": options.width,
        "threads": torch.get_num_threads(),
        **series[-1],
        "growth": series,
    }
    report(numbers, options.output)


if __name__ == "__main__":
    main()
