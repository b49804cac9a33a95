"""The two ceilings of a device, against which shares are counted: a large matrix product and a large copy.

The product is of random numbers: products of zeros run faster on some GPUs. Bytes of the copy are those read and those
written.

    python benchmarks/python/bench_ceilings.py --device cuda
"""

import argparse

import torch
from ceiling import large_product
from devices import peaks_mib
from harness import medians, time_plainly
from records import Run


def large_copy(mib: int, device: str) -> tuple[object, float]:
    """A call that copies so many MiB on the device, and the bytes that it moves."""
    source = torch.randint(0, 255, (mib << 20,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return lambda: target.copy_(source), 2.0 * source.numel()


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", type=int, default=8192, help="rows and columns of the product's matrices")
    parser.add_argument("--mib", type=int, default=2048, help="of the copy")
    parser.add_argument("--rounds", type=int, default=10)
    run = Run(parser)
    options = run.options
    work = {
        f"product_{name}": large_product(options.size, dtype, options.device)
        for name, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32))
    }
    work["copy"] = large_copy(options.mib, options.device)
    calls = {name: call for name, (call, _) in work.items()}
    rounds = time_plainly(calls, options.rounds, repeats=3, device=options.device)
    seconds = medians(rounds)
    numbers = {
        "device": options.device,
        "size": options.size,
        "copied_mib": options.mib,
        "rounds": rounds,
        "seconds": seconds,
        "per_second": {name: float(f"{amount / seconds[name]:.4g}") for name, (_, amount) in work.items()},
        "peak_mib": peaks_mib(calls, options.device),
    }
    run.report("ceilings", numbers)


if __name__ == "__main__":
    main()
