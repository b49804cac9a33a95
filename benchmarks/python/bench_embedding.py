"""Embedding notes against transformers and sentence-transformers: same weights, same token ids, same vectors.

Baselines run length-sorted padded batches at the batch size that is fastest for them here, found first. All alternate
within one run. Besides notes per second: the share of our time that the bare matrix products of the same shapes take,
and growth with the number of notes, their length, and the batch.

    python benchmarks/python/bench_embedding.py --dtype fp32 --output benchmarks/results/embedding_fp32.json
"""

import argparse
import json
import shutil
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from ceiling import backbone_products, bare_products
from harness import DTYPES, fastest, median_seconds, report
from safetensors.torch import load_file, save_file
from transformers import AutoModel
from workloads import related_notes

from notellm import NoteLLM
from notellm.cache import cache_folder
from notellm.data import Notes
from notellm.embedding import embed
from notellm.models import smollm2
from notellm.prompts import load_prompt

TOLERANCE = {"fp32": 1e-3, "bf16": 0.2}
"""Largest distance of unit vectors from a baseline's; bf16 rounds every layer's output."""


class Transformers:
    """The baseline as people write it: sort by length, pad, run, read the last token's state."""

    def __init__(self, folder: Path, sequences: Sequence[Sequence[int]], options: argparse.Namespace) -> None:
        self.model = AutoModel.from_pretrained(folder, dtype=DTYPES[options.dtype]).eval().to(options.device)
        self.sequences = [torch.tensor(sequence) for sequence in sequences]
        self.device = options.device

    def padded(self, rows: Sequence[int]) -> dict[str, torch.Tensor]:
        """Ids and mask of some sequences, zeros on the right."""
        ids = [self.sequences[row] for row in rows]
        lengths = torch.tensor([len(one) for one in ids])
        padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
        mask = (torch.arange(padded.size(1)) < lengths[:, None]).long()
        return {"input_ids": padded.to(self.device), "attention_mask": mask.to(self.device)}

    @torch.inference_mode()
    def embed(self, batch_size: int, rows: Sequence[int] | None = None) -> torch.Tensor:
        """Unit vectors of some sequences, in their order."""
        rows = range(len(self.sequences)) if rows is None else rows
        order = sorted(rows, key=lambda row: -len(self.sequences[row]))
        vectors = {}
        for begin in range(0, len(order), batch_size):
            chosen = order[begin : begin + batch_size]
            inputs = self.padded(chosen)
            states = self.model(**inputs, use_cache=False).last_hidden_state
            last = inputs["attention_mask"].sum(1) - 1
            vectors |= zip(chosen, states[torch.arange(len(chosen)), last].float().cpu(), strict=True)
        return torch.nn.functional.normalize(torch.stack([vectors[row] for row in rows]), dim=1)


def sentence_transformer(folder: Path, baseline: Transformers, dtype: str) -> Callable[[int], torch.Tensor]:
    """The same through sentence-transformers' own ``encode``, fed with token ids instead of text."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    class FromIds(SentenceTransformer):
        def preprocess(self, inputs, *args, **kwargs):
            return baseline.padded([int(text) for text in inputs])

        tokenize = preprocess

    backbone = Transformer(str(folder), model_kwargs={"dtype": DTYPES[dtype]})
    pooling = Pooling(backbone.get_embedding_dimension(), "lasttoken")
    model = FromIds(modules=[backbone, pooling], device=str(baseline.device))
    # `encode` sorts by the texts' lengths: each is its row number, filled up to as many characters as tokens
    texts = [str(row).ljust(len(ids)) for row, ids in enumerate(baseline.sequences)]

    def encode(batch_size: int) -> torch.Tensor:
        vectors = model.encode(texts, batch_size=batch_size, convert_to_tensor=True)
        return torch.nn.functional.normalize(vectors.float().cpu(), dim=1)

    return encode


def first_layers(folder: Path, layers: int, cut: Path) -> None:
    """Writes a backbone folder that keeps the first layers of another."""
    shutil.copytree(folder, cut, ignore=shutil.ignore_patterns("*.safetensors"), dirs_exist_ok=True)
    config = json.loads((cut / "config.json").read_text()) | {"num_hidden_layers": layers}
    (cut / "config.json").write_text(json.dumps(config))
    weights = load_file(folder / "model.safetensors")
    kept = {name: w for name, w in weights.items() if _layer_of(name) < layers}
    save_file(kept, cut / "model.safetensors", metadata={"format": "pt"})


def _layer_of(name: str) -> int:
    parts = name.split(".")
    return int(parts[2]) if parts[:2] == ["model", "layers"] else 0


def with_long_contents(notes: Notes) -> Notes:
    """The same notes, each content followed by those of the next seven notes: few real ones are long enough."""
    contents = [" ".join([*notes.contents[i : i + 8], *notes.contents[:8]][:8]) for i in range(len(notes))]
    return Notes(notes.ids, notes.titles, contents, notes.topics, notes.categories)


class Workload:
    """Some notes as token ids, and who embeds them."""

    def __init__(self, options: argparse.Namespace, count: int, content_tokens: int | None = None) -> None:
        prompt = load_prompt("paper")
        if content_tokens is not None:
            prompt = replace(prompt, content_tokens=content_tokens)
        self.folder = smollm2.prepare(cache_folder("smollm2-135m"))
        if options.layers:
            self._kept = tempfile.TemporaryDirectory()
            first_layers(self.folder, options.layers, Path(self._kept.name))
            self.folder = Path(self._kept.name)
        self.model = NoteLLM.from_pretrained(self.folder, prompt=prompt).to(options.device)
        notes, _, _ = related_notes(options.table, notes=count)
        if content_tokens is not None:
            notes = with_long_contents(notes)
        self.tokenized = self.model.prompt.tokenize(notes)
        one_by_one = (self.model.prompt.pack(self.tokenized, [i], mode="embed") for i in range(len(notes)))
        self.sequences = [batch.tokens.tolist() for batch in one_by_one]
        self.baseline = Transformers(self.folder, self.sequences, options)
        self.options = options

    def ours(self, batch_tokens: int | None = None):
        """Our vectors with their report."""
        budget = batch_tokens or self.options.batch_tokens
        return embed(
            self.model, self.tokenized, projected=False, dtype=self.options.dtype, batch_tokens=budget
        )

    @property
    def mean_tokens(self) -> float:
        """Tokens of a sequence."""
        return statistics.mean(map(len, self.sequences))


def compare(options: argparse.Namespace) -> dict[str, object]:
    """The main comparison."""
    work = Workload(options, options.notes)
    encode = sentence_transformer(work.folder, work.baseline, options.dtype)
    with_transformers = fastest(work.baseline.embed, options.batches)
    with_sentences = fastest(encode, options.batches)
    report_of = work.ours()
    expected = work.baseline.embed(with_transformers)
    apart = float((report_of.vectors - expected).norm(dim=1).max())
    assert apart < TOLERANCE[options.dtype], f"vectors must be the same, but are up to {apart} apart"
    assert float((encode(with_sentences) - expected).norm(dim=1).max()) < TOLERANCE[options.dtype]
    passes = max(1, round(report_of.computed_tokens / options.batch_tokens))
    shapes = backbone_products(
        work.model.model.config, report_of.computed_tokens // passes, options.notes // passes
    )
    products = bare_products(shapes, DTYPES[options.dtype], work.model.device)
    calls = {
        "notellm": work.ours,
        "transformers": lambda: work.baseline.embed(with_transformers),
        "sentence_transformers": lambda: encode(with_sentences),
        "bare_products": lambda: [products() for _ in range(passes)],
    }
    seconds = median_seconds(calls, options.rounds)
    baseline = min(seconds["transformers"], seconds["sentence_transformers"])
    return {
        "notes": options.notes,
        "tokens_per_note": round(work.mean_tokens, 1),
        "tokens_saved_by_sharing": round(report_of.saved_share, 4),
        "batch_size_of_transformers": with_transformers,
        "batch_size_of_sentence_transformers": with_sentences,
        "largest_distance": apart,
        "seconds": seconds,
        "notes_per_second": {
            name: round(options.notes / taken, 1)
            for name, taken in seconds.items()
            if name != "bare_products"
        },
        "ratio_to_best_baseline": round(baseline / seconds["notellm"], 2),
        "share_of_bare_products": round(seconds["bare_products"] / seconds["notellm"], 3),
    }


def growth(options: argparse.Namespace) -> dict[str, object]:
    """Notes per second of ours and of transformers as one size grows; each point is timed ``rounds`` times."""

    def point(work: Workload, batch_tokens: int | None = None) -> dict[str, float]:
        batch = options.batches[len(options.batches) // 2]
        calls = {
            "notellm": lambda: work.ours(batch_tokens),
            "transformers": lambda: work.baseline.embed(batch),
        }
        seconds = median_seconds(calls, options.rounds)
        return {name: round(len(work.sequences) / taken, 1) for name, taken in seconds.items()}

    pools = {size: point(Workload(options, size)) for size in options.pools}
    if options.growth_notes == 0:
        return {"by_pool": pools}
    count = options.growth_notes
    base = Workload(options, count)
    lengths = {}
    for content in (1, 40, 160, 450):
        work = Workload(options, count // 2 if content > 80 else count, content)
        lengths[round(work.mean_tokens)] = point(work)
    batches = {}
    for budget in (256, 512, 1024, 2048, 4096, 8192):
        seconds = median_seconds({"notellm": lambda budget=budget: base.ours(budget)}, options.rounds)
        batches[budget] = round(count / seconds["notellm"], 1)
    return {"by_tokens_per_note": lengths, "by_batch_tokens": batches, "by_pool": pools}


def main() -> None:
    """Checks, measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=Path, help="a table of notes; default: the Debian catalogue")
    parser.add_argument("--notes", type=int, default=512)
    parser.add_argument("--dtype", choices=DTYPES, default="fp32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batches", type=int, nargs="+", default=[4, 8, 16, 32])
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--growth", action="store_true", help="measure growth instead of the comparison")
    parser.add_argument("--growth-notes", type=int, default=128, help="0: by pool only")
    parser.add_argument("--pools", type=int, nargs="*", default=[128, 1024])
    parser.add_argument("--layers", type=int, help="of the backbone, the first ones; default: all")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()

    measured = growth(options) if options.growth else compare(options)
    numbers = {
        "benchmark": "embedding_growth" if options.growth else "embedding",
        "dtype": options.dtype,
        "device": options.device,
        "threads": torch.get_num_threads(),
        "layers": options.layers or "all",
        "batch_tokens": options.batch_tokens,
        **measured,
    }
    report(numbers, options.output)


if __name__ == "__main__":
    main()
