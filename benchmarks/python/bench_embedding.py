"""Embedding notes against everyone else who embeds: same weights, same token ids, same vectors.

Baselines: transformers on padded batches; the same with the instruction's keys and values kept; that compiled by
torch.compile; sentence-transformers, on GPUs also with FlashAttention where it is installed; on CPUs OpenVINO in the
same precision and with int8 matrices, the instruction kept too. All sort by length and take the batch size that is
fastest for them on a few of the notes. All alternate within one run. Vectors are compared with those of transformers in
fp32: largest distance, ten nearest notes kept.

    python benchmarks/python/bench_embedding.py --dtype fp32 --output benchmarks/results
"""

import argparse
import statistics
from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from ceiling import backbone_products, bare_products, share_of_peak
from devices import is_gpu, peaks_mib
from embedders import (
    Embedder,
    PrefixedBackbone,
    Sequences,
    compiled,
    padded_transformers,
    prefixed_transformers,
    sentence_transformers,
)
from fidelity import centred, neighbours_kept
from harness import DTYPES, add_dtype, fastest, medians, time_in_turns
from openvino_embedder import missing, openvino
from records import Run
from torch import Tensor
from workloads import EmbeddingWork, add_workload, backbone, first_layers, model_name, related_notes

from notellm import resolve_dtype

TOLERANCE = {"fp32": 1e-3, "bf16": 0.2}
"""Largest distance of unit vectors from fp32's; bf16 rounds every layer's output. int8 may be anywhere."""


def make_baselines(
    folder: Path, sequences: Sequences, dtype: str, wanted: list[str] | None
) -> tuple[dict[str, Embedder], dict[str, str]]:
    """All that are here and wanted; of those that are absent, which package."""
    prefixed = cache(lambda: PrefixedBackbone(folder, sequences, DTYPES[dtype]))
    makers = {
        "transformers": lambda: padded_transformers(folder, sequences, DTYPES[dtype]),
        "transformers_prefix": lambda: prefixed_transformers(prefixed(), sequences),
        "torch_compile_prefix": lambda: prefixed_transformers(compiled(prefixed()), sequences),
        "sentence_transformers": lambda: sentence_transformers(folder, sequences, DTYPES[dtype]),
    }
    skipped = {}
    if is_gpu(sequences.device):
        if find_spec("flash_attn"):
            makers["sentence_transformers_flash"] = lambda: sentence_transformers(
                folder, sequences, DTYPES[dtype], "flash_attention_2"
            )
        else:
            skipped["sentence_transformers_flash"] = "flash_attn is not installed"
    for name, precision in (("openvino_prefix", dtype), ("openvino_prefix_int8", "int8")):
        if is_gpu(sequences.device):
            skipped[name] = "it is measured on CPUs alone"
        elif absent := missing(precision):
            skipped[name] = f"{absent} is not installed"
        else:
            makers[name] = lambda precision=precision: openvino(
                PrefixedBackbone(folder, sequences, torch.float32), sequences, precision
            )
    return {name: make() for name, make in makers.items() if wanted is None or name in wanted}, skipped


def check(name: str, vectors: Tensor, expected: Tensor, dtype: str) -> dict[str, float]:
    """How far vectors are from fp32's; too far is an error."""
    apart = float((vectors - expected).norm(dim=1).max())
    if not name.endswith("int8") and not apart < TOLERANCE[dtype]:
        raise RuntimeError(f"bench_embedding: {name} must give the same vectors, but is {apart} apart")
    kept = neighbours_kept(*centred(vectors, expected))
    return {"largest_distance": float(f"{apart:.3g}"), "ten_nearest_kept": round(kept, 4)}


def compare(options: argparse.Namespace, dtype: str, folder: Path) -> dict[str, Any]:
    """Everyone's rounds, batch sizes, memory and vectors with a backbone's folder."""
    notes, _, _ = related_notes(options.table, notes=options.notes)
    work = EmbeddingWork(folder, notes, dtype=dtype, device=options.device)
    sequences = Sequences(work.token_ids(), options.device)
    rows = range(len(sequences))
    sample = rows[:: max(1, len(rows) // options.sample)][: options.sample]
    baselines, skipped = make_baselines(folder, sequences, dtype, options.baselines)
    batches = {
        name: fastest(lambda size, embed=embed: embed(sample, size), options.batches, device=options.device)
        for name, embed in baselines.items()
    }
    work.batch_tokens = fastest(work.embed, options.batch_tokens, device=options.device)
    checked = rows[: options.checked]
    expected = padded_transformers(folder, sequences, torch.float32)(checked, 8)
    cost = work.embed()
    agreement = {"notellm": check("notellm", cost.vectors[: len(checked)], expected, dtype)}
    for name, embed in baselines.items():  # also the warm-up, with the shapes that are timed
        vectors = embed(rows, batches[name])
        agreement[name] = check(name, vectors[: len(checked)], expected, dtype)
    calls = {"notellm": work.embed}
    calls |= {
        name: lambda embed=embed, name=name: embed(rows, batches[name]) for name, embed in baselines.items()
    }
    memory = peaks_mib(calls, options.device)
    calls["bare_products"], operations = products_of(work, cost.computed_tokens)
    rounds = time_in_turns(calls, options.rounds, is_warm=True, device=options.device)
    return {
        "batch_tokens": work.batch_tokens,
        "notes": len(rows),
        "tokens_per_note": round(statistics.mean(map(len, sequences.ids)), 1),
        "tokens_of_the_prefix": sequences.prefix,
        "tokens_saved_by_sharing": round(cost.saved_fraction, 4),
        "batch_sizes": batches,
        "skipped": skipped,
        "notes_compared_with_fp32": len(checked),
        "agreement_with_fp32": agreement,
        "peak_mib": memory,
        **speeds(rounds, len(rows)),
        **peak_of(options, operations, medians(rounds)["notellm"], dtype),
    }


def peak_of(options: argparse.Namespace, operations: float, seconds: float, dtype: str) -> dict[str, Any]:
    """Our share of what a large product reaches, if it was asked for."""
    if options.peak is None:
        return {}
    return {"of_peak": share_of_peak(operations, seconds, options.peak, DTYPES[dtype], options.device)}


def products_of(work: EmbeddingWork, tokens: int) -> tuple[Callable[[], object], float]:
    """The bare products of as many tokens, in as many passes as ours, and their operations."""
    passes = max(1, round(tokens / work.batch_tokens))
    shapes = backbone_products(work.model.model.config, tokens // passes, len(work.tokenized) // passes)
    products = bare_products(shapes, DTYPES[work.dtype], work.model.device)
    return lambda: [products() for _ in range(passes)], passes * sum(one.operations for one in shapes)


def speeds(rounds: Mapping[str, list[float]], notes: int) -> dict[str, Any]:
    """The rounds, and what they make at the median."""
    seconds = medians(dict(rounds))
    bare = seconds["bare_products"] / seconds["notellm"]
    rates = {name: round(notes / own, 2) for name, own in seconds.items() if name != "bare_products"}
    return {"rounds": rounds, "notes_per_second": rates, "share_of_bare_products": round(bare, 3)}


def main() -> None:
    """Checks, measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_workload(parser)
    parser.add_argument("--notes", type=int, default=512)
    parser.add_argument("--sample", type=int, default=32, help="notes on which batch sizes are tried")
    parser.add_argument("--baselines", nargs="*", help="only these; default: all that are installed")
    parser.add_argument("--layers", type=int, help="of the backbone, the first ones; default: all")
    add_dtype(parser)
    parser.add_argument("--batches", type=int, nargs="+", default=[4, 8, 16, 32])
    parser.add_argument("--batch-tokens", type=int, nargs="+", default=[2048], help="of our passes")
    parser.add_argument(
        "--checked", type=int, help="notes whose vectors are compared with fp32's; default: all"
    )
    parser.add_argument("--peak", type=int, help="compare our rate with a product's of so many rows")
    parser.add_argument("--rounds", type=int, default=5)
    run = Run(parser)
    options = run.options
    dtype = resolve_dtype(options.dtype, options.device)
    with first_layers(backbone(options.backbone, options.tokenizer), options.layers) as folder:
        measured = compare(options, dtype, folder)
    numbers = {
        "model": model_name(options.backbone),
        "layers": options.layers or "all",
        "dtype": dtype,
        "device": options.device,
        **measured,
    }
    run.report(f"embedding_{dtype}", numbers)


if __name__ == "__main__":
    main()
