"""Training steps on two processes with one thread each, against one process with two threads.

Both do the same steps on the same notes and must end with the same weights; they alternate. A step ends with sums over
the processes, so the first one's time is that of all. Throughput is notes trained on a second.

    python benchmarks/python/bench_processes.py --output benchmarks/results
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from statistics import fmean

import torch
import torch.distributed as dist
from harness import add_dtype
from records import Run
from torch import multiprocessing
from workloads import MODEL, related_notes

from notellm import NoteLLM, Trainer, TrainOptions, resolve_dtype, set_num_threads


def train(rank: int, count: int, options: argparse.Namespace, folder: str) -> None:
    """One of ``count`` processes: trains, and the first keeps the seconds of each step and the weights."""
    set_num_threads(options.threads // count)
    if count > 1:
        store = f"file://{folder}/store-{os.getppid()}-{count}"
        dist.init_process_group("gloo", init_method=store, rank=rank, world_size=count)
    model = NoteLLM.from_pretrained(options.model)
    if rank == 0:
        torch.save([p.detach() for p in model.parameters()], Path(folder, "begin.pt"))
    notes, source, target = related_notes(options.notes)
    # eps: AdamW divides by the size of a gradient, and would blow up the rounding of the smallest
    settings = TrainOptions(
        pairs_per_step=options.pairs, max_steps=options.steps + 1, dtype=options.dtype, eps=1e-3, lr=1e-4
    )
    records = Trainer(model, notes, source, target, settings).train()
    if rank == 0:
        kept = {"seconds": [record["seconds"] for record in records[1:]], "loss": records[-1]["loss"]}
        Path(folder, f"{count}.json").write_text(json.dumps(kept))
        torch.save([p.detach() for p in model.parameters()], Path(folder, f"{count}.pt"))
    if count > 1:
        dist.destroy_process_group()


def difference(folder: str) -> float:
    """L2 distance of the two runs' weights, by how far the steps moved them."""
    begin, one, two = (torch.load(Path(folder, f"{name}.pt")) for name in ("begin", 1, 2))
    apart, moved = (
        sum(float((a - b).double().square().sum()) for a, b in zip(one, others, strict=True))
        for others in (two, begin)
    )
    return (apart / moved) ** 0.5


def main() -> None:
    """Checks, measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--notes", type=Path, help="a table of notes; default: the Debian catalogue")
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument(
        "--steps", type=int, default=4, help="measured ones of each run, after one of warm-up"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2, help="of both together")
    add_dtype(parser)
    run = Run(parser)
    options = run.options
    options.dtype = resolve_dtype(options.dtype, "cpu")

    # The steps of each round: one process, and two of half the threads.
    rounds: dict[int, list[list[float]]] = {1: [], 2: []}
    losses: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            for count in rounds:
                for store in Path(folder).glob("store-*"):
                    store.unlink()
                multiprocessing.spawn(train, (count, options, folder), nprocs=count)
                kept = json.loads(Path(folder, f"{count}.json").read_text())
                rounds[count].append(kept["seconds"])
                losses[count] = kept["loss"]
        apart = difference(folder)
    if apart >= (0.1 if options.dtype == "bf16" else 1e-3):
        raise RuntimeError(f"bench_processes: the runs must be one run, but are {apart} apart")
    numbers = {
        "model": MODEL if options.model == "smollm2-135m" else options.model,
        "dtype": options.dtype,
        "pairs": options.pairs,
        "rounds": {
            f"{count}_process{'es' if count > 1 else ''}": [round(fmean(own), 4) for own in steps]
            for count, steps in rounds.items()
        },
        "distance_of_updates": apart,
        "loss_of_the_last_step": losses,
    }
    run.report("processes", numbers)


if __name__ == "__main__":
    main()
