"""The tiled contrastive loss against plain-torch NT-Xent, forward and backward, from 16 to 4,096 pairs.

The baseline is what people write: normalise, one matrix of all similarities, its diagonal masked, cross-entropy; fp32.
Its large matrices cost page faults as long as the allocator gives memory back, so both are timed twice: with glibc's
allocator as it is, and with freed memory kept, as our trainer has it. Values and gradients are first checked.
On a GPU torch's allocator keeps memory anyway.

    python benchmarks/python/bench_gcl.py --output benchmarks/results
"""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from devices import is_gpu, peaks_mib, seconds_of
from harness import Rounds, peak_mib, time_in_turns, time_plainly
from records import Run
from torch import Tensor

from notellm.losses import gcl_loss

Loss = Callable[[Tensor, Tensor], Tensor]
ROUND_SECONDS = 0.1
"""A round of a small loss calls it until about so much time has passed."""


def plain_nt_xent(embeddings: Tensor, tau: Tensor) -> Tensor:
    """Eq. (2) over the whole matrix of similarities."""
    unit = torch.nn.functional.normalize(embeddings, dim=1)
    logits = unit @ unit.T * tau.exp()  # (2B, 2B)
    rows = torch.arange(len(unit), device=unit.device)
    logits = logits.masked_fill(torch.eye(len(unit), dtype=torch.bool, device=unit.device), -torch.inf)
    return torch.nn.functional.cross_entropy(logits, rows ^ 1)


def related_pairs(pairs: int, width: int, seed: int) -> Tensor:
    """(2B, d) random rows, both of a pair near a direction of their own, so that losses are neither 0 nor chance."""
    # Drawn in NumPy, which starts no OpenMP threads.
    generator = np.random.default_rng(seed)
    rows = generator.standard_normal((pairs, 1, width)) + generator.standard_normal((pairs, 2, width))
    return torch.from_numpy(rows.reshape(2 * pairs, width).astype(np.float32))


def step(loss: Loss, embeddings: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Loss and gradients."""
    rows = embeddings.clone().requires_grad_()
    tau = torch.full((), 3.0, device=rows.device, requires_grad=True)
    value = loss(rows, tau)
    return value.detach(), *torch.autograd.grad(value, (rows, tau))


def largest_difference(embeddings: Tensor) -> float:
    """Relative L2 distance of loss and gradients, the largest of the three."""
    both = zip(step(gcl_loss, embeddings), step(plain_nt_xent, embeddings), strict=True)
    return max(float((ours - plain).norm() / plain.norm()) for ours, plain in both)


def repeats_for(call: Callable[[], object], device: str) -> int:
    """How many calls fill a round."""
    call()
    return max(1, round(ROUND_SECONDS / seconds_of(call, 1, device)))


def timed(
    calls: dict[int, dict[str, Callable[[], object]]],
    rounds: int,
    time_calls: Callable[..., Rounds],
    device: str = "cpu",
) -> dict[int, Rounds]:
    """The rounds of every size."""
    found = {}
    for pairs, own in calls.items():
        repeats = min(repeats_for(call, device) for call in own.values())
        found[pairs] = time_calls(own, rounds, is_warm=True, repeats=repeats, device=device)
    return found


def memory_of(calls: dict[str, Callable[[], object]], device: str) -> dict[str, int]:
    """Peak memory that each call adds, in MiB."""
    if is_gpu(device):
        step_of_each = [call() for call in calls.values()]  # what libraries keep for themselves is there now
        del step_of_each
        return {name: peak["above"] for name, peak in peaks_mib(calls, device).items()}
    return peak_mib(calls)


def main() -> None:
    """Checks, measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, nargs="+", default=[16, 32, 64, 256, 512, 4096])
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    run = Run(parser)
    device = run.options.device

    batches = {
        pairs: related_pairs(pairs, run.options.width, seed=0).to(device)
        for pairs in sorted(run.options.pairs)
    }
    losses: dict[str, Loss] = {"notellm": gcl_loss, "plain_torch": plain_nt_xent}
    calls: dict[int, dict[str, Any]] = {
        pairs: {name: lambda loss=loss, rows=rows: step(loss, rows) for name, loss in losses.items()}
        for pairs, rows in batches.items()
    }
    # first, while no thread has started
    memory = {pairs: memory_of(calls[pairs], device) for pairs in batches}
    differences = {pairs: largest_difference(rows) for pairs, rows in batches.items()}
    if max(differences.values()) >= (1e-4 if is_gpu(device) else 1e-5):
        raise RuntimeError(f"bench_gcl: both must compute one loss, but differ by {differences}")
    given_back = {}  # first: keeping memory leaves traces in glibc
    if not is_gpu(device):
        given_back = timed(calls, run.options.rounds, time_plainly)
    kept = timed(calls, run.options.rounds, time_in_turns, device)
    sizes = [
        {
            "pairs": pairs,
            "largest_relative_difference": differences[pairs],
            "peak_mib": memory[pairs],
            "rounds": kept[pairs],
        }
        | ({"rounds_memory_given_back": given_back[pairs]} if given_back else {})
        for pairs in batches
    ]
    run.report("gcl", {"device": device, "width": run.options.width, "dtype": "fp32", "sizes": sizes})


if __name__ == "__main__":
    main()
