"""Notes a second of ours and of transformers as one size grows: tokens of a note, notes of the pool, tokens of a batch.

transformers keeps the instruction's keys and values, as the strongest of its ways in `bench_embedding.py` does.

    python benchmarks/python/bench_growth.py --dtype bf16 --output benchmarks/results
"""

import argparse
from pathlib import Path
from typing import Any

from embedders import PrefixedBackbone, Sequences, prefixed_transformers
from harness import DTYPES, add_dtype, time_in_turns
from records import Run
from workloads import MODEL, EmbeddingWork, backbone, first_layers, related_notes

from notellm import resolve_dtype
from notellm.data import Notes

CONTENT_TOKENS = (1, 40, 160, 450)


def with_long_contents(notes: Notes) -> Notes:
    """The same notes, each content followed by those of the next seven notes: few real ones are long enough."""
    contents = [" ".join([*notes.contents[i : i + 8], *notes.contents[:8]][:8]) for i in range(len(notes))]
    return Notes(notes.ids, notes.titles, contents, notes.topics, notes.categories)


class Growth:
    """Makes the points of each series."""

    def __init__(self, folder: Path, dtype: str, options: argparse.Namespace) -> None:
        self.folder, self.dtype, self.options = folder, dtype, options

    def work(self, notes: Notes, content_tokens: int | None = None) -> EmbeddingWork:
        """Those notes, to be embedded."""
        options = self.options
        return EmbeddingWork(
            self.folder, notes, dtype=self.dtype, device=options.device, content_tokens=content_tokens
        )

    def point(self, work: EmbeddingWork) -> dict[str, Any]:
        """Both, in turns."""
        sequences = Sequences(work.token_ids(), self.options.device)
        model = PrefixedBackbone(self.folder, sequences, DTYPES[self.dtype])
        theirs = prefixed_transformers(model, sequences)
        calls = {
            "notellm": work.embed,
            "transformers_prefix": lambda: theirs(range(len(sequences)), self.options.batch),
        }
        tokens = sum(map(len, sequences.ids)) / len(sequences)
        rounds = time_in_turns(calls, self.options.rounds, device=self.options.device)
        return {"notes": len(sequences), "tokens_per_note": round(tokens), "rounds": rounds}

    def by_length(self, count: int) -> list[dict[str, Any]]:
        """Notes of some tokens each; fewer of the long ones."""
        notes, _, _ = related_notes(self.options.table, notes=count)
        long = with_long_contents(notes)
        sizes = [(content, count // 2 if content > 80 else count) for content in CONTENT_TOKENS]
        return [self.point(self.work(long.take(range(size)), content)) for content, size in sizes]

    def by_batch(self, count: int) -> list[dict[str, Any]]:
        """Ours alone, by what one pass computes."""
        work = self.work(related_notes(self.options.table, notes=count)[0])
        budgets = (256, 512, 1024, 2048, 4096, 8192)
        calls = {str(budget): lambda budget=budget: work.embed(budget) for budget in budgets}
        rounds = time_in_turns(calls, self.options.rounds, device=self.options.device)
        return [
            {"notes": count, "batch_tokens": budget, "rounds": {"notellm": rounds[str(budget)]}}
            for budget in budgets
        ]

    def by_pool(self) -> list[dict[str, Any]]:
        """Pools of several sizes."""
        pools = (related_notes(self.options.table, notes=size)[0] for size in self.options.pools)
        return [self.point(self.work(notes)) for notes in pools]


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=Path, help="a table of notes; default: the Debian catalogue")
    parser.add_argument("--notes", type=int, default=64, help="by length and by batch; 0: by pool only")
    parser.add_argument("--pools", type=int, nargs="*", default=[])
    parser.add_argument("--layers", type=int, help="of the backbone, the first ones; default: all")
    parser.add_argument("--batch", type=int, default=16, help="notes that transformers computes at a time")
    add_dtype(parser)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    run = Run(parser)
    options, dtype = run.options, resolve_dtype(run.options.dtype, run.options.device)
    with first_layers(backbone(), options.layers) as folder:
        growth = Growth(folder, dtype, options)
        series = {"by_pool": growth.by_pool()}
        if options.notes:
            series["by_length"] = growth.by_length(options.notes)
            series["by_batch"] = growth.by_batch(options.notes)
    numbers = {"model": MODEL, "layers": options.layers or "all", "dtype": dtype, "device": options.device}
    run.report("growth" if options.notes else "pools", numbers | series)


if __name__ == "__main__":
    main()
