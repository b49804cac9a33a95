"""Peak memory of a training step: many pairs with GradCache against a micro-batch's worth of pairs without.

Each case runs in a spawned process of its own, twice: once for its time and for what the process had resident at most,
which counts gradients and freed memory, too; then once more under torch's profiler for the bytes of tensors that are
live at once. Then weights and gradients are there before, and so do not count: what counts are activations, the
contrastive loss, and gradients on their way.

    python benchmarks/python/bench_gradcache.py --output benchmarks/results
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from devices import forget_peak, memory_mib
from harness import add_dtype
from records import Run
from torch import multiprocessing
from torch.profiler import ProfilerActivity, profile
from workloads import MODEL, related_notes

from notellm import NoteLLM, Trainer, TrainOptions, resolve_dtype, set_num_threads


def peak_bytes(trace: Path) -> int:
    """The most bytes that were allocated at once, above those at the start, by a trace's memory events."""
    events = [event for event in json.loads(trace.read_text())["traceEvents"] if event["name"] == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda event: event["ts"]):
        now += event["args"]["Bytes"]
        peak = max(peak, now)
    return peak


def measure(_: int, options: argparse.Namespace, case: dict[str, Any], folder: str) -> None:
    """In a process of its own: one step's memory, another one's time."""
    set_num_threads(options.threads)
    model = NoteLLM.from_pretrained(options.model)
    settings = TrainOptions(max_steps=2, dtype=options.dtype, **case)
    trainer = Trainer(model, *related_notes(options.notes), settings)
    before = memory_mib("VmRSS")
    forget_peak()
    begin = time.perf_counter()
    sums = trainer.joint_step.backward(trainer.sampler.plan(0))
    seconds = time.perf_counter() - begin
    resident = memory_mib("VmHWM") - before
    model.zero_grad = lambda set_to_none=True: (
        None
    )  # the first step's gradients stay, and are not counted again
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        trainer.joint_step.backward(trainer.sampler.plan(0))
    trace = Path(folder, "trace.json")
    profiler.export_chrome_trace(str(trace))
    numbers = {
        **case,
        "tokens": sums.tokens,
        "seconds": round(seconds, 2),
        "peak_mib": round(peak_bytes(trace) / 2**20, 1),
        "resident_mib": round(resident),
    }
    Path(folder, "numbers.json").write_text(json.dumps(numbers))


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--notes", type=Path, help="a table of notes; default: the Debian catalogue")
    parser.add_argument("--pairs", type=int, default=512)
    parser.add_argument("--micro-pairs", type=int, default=16)
    parser.add_argument(
        "--checkpointed", action="store_true", help="both again, keeping each layer's input alone"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    add_dtype(parser)
    run = Run(parser)
    options = run.options
    options.dtype = resolve_dtype(options.dtype, "cpu")

    small = {"pairs_per_step": options.micro_pairs}
    cases = {
        "small": small,
        "gradcache": {"pairs_per_step": options.pairs, "micro_pairs": options.micro_pairs},
    }
    if options.checkpointed:
        cases |= {f"{name}_checkpointed": case | {"checkpoint_layers": True} for name, case in cases.items()}
    measured = {}
    for name, case in cases.items():
        with tempfile.TemporaryDirectory() as folder:
            multiprocessing.spawn(measure, (options, case, folder), nprocs=1)
            measured[name] = json.loads(Path(folder, "numbers.json").read_text())
    model = MODEL if options.model == "smollm2-135m" else options.model
    run.report("gradcache", {"model": model, "dtype": options.dtype, "steps": measured})


if __name__ == "__main__":
    main()
