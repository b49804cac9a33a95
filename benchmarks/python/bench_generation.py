"""Greedy hashtags and closed-set categories against others: same weights, same token ids, same outputs.

Hashtags: transformers' ``generate`` on left-padded batches, without and with the instruction's keys and values kept,
and CTranslate2 in fp32 and int8, the instruction as its static prompt; each sorts by length and has the batch size that
is fastest for it on a few notes. Categories: log p of every category; the baseline computes the note once, behind the
kept instruction, and repeats its cache for a padded batch of all categories. Outputs and scores are compared with ours.
All alternate within one run.

    python benchmarks/python/bench_generation.py --output benchmarks/results
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from embedders import Sequences, States, prefix_states, shared_cache
from generators import (
    Greedy,
    Writer,
    ctranslate2_missing,
    ctranslate2_writer,
    load_transformers,
    transformers_writer,
)
from harness import DTYPES, add_dtype, fastest, time_in_turns
from records import Run
from torch import Tensor
from workloads import MODEL, related_notes

from notellm import NoteLLM, _core, resolve_dtype
from notellm._core import prompts as core
from notellm.data import Notes
from notellm.generation import DecodingOptions, score_categories

EQUAL_AT_LEAST = 0.95
"""Share of outputs that two ways to the same numbers must have in common; near ties are decided by rounding."""


class Workload:
    """Our model on some notes, and the same weights in a folder for the others."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.model = NoteLLM.from_pretrained(options.model).to(options.device)
        self.model.save_pretrained(folder)
        count = max(options.notes, options.scored_notes)
        self.notes, _, _ = related_notes(options.table, notes=count)

    def prompts(self, count: int, task: str) -> Sequences:
        """Token ids of the first notes' prompts, up to where the output begins."""
        tokenized = self.model.prompt.tokenize(self.notes.take(range(count)))
        rows = self.model.prompt.rows(tokenized, range(count), task=task, mode="generate", count=5)
        lists = core.lay_out(self.model.prompt.core, tokenized, rows, core.PackMode.generate)
        ids = [one.tolist() for one in np.split(lists.ids, lists.offsets[1:-1])]
        return Sequences(ids, self.options.device)

    def hashtags(self) -> list[list[int]]:
        """Ids that we write."""
        count = self.options.notes
        tokenized = self.model.prompt.tokenize(self.notes.take(range(count)))
        rows = self.model.prompt.rows(tokenized, range(count), task="hashtags", mode="generate", count=5)
        return _core.generation.generate(
            self.model.core_weights(),
            self.model.prompt.core,
            tokenized,
            rows,
            DecodingOptions(max_new_tokens=self.options.new_tokens, batch_tokens=self.options.batch_tokens),
            compute=DTYPES[self.options.dtype],
        )

    def scores(self, categories: Sequence[str]) -> Tensor:
        """(n, C) log-probabilities by us."""
        some = self.notes.take(range(self.options.scored_notes))
        return score_categories(self.model, some, categories, dtype=self.options.dtype).log_probs

    def labels(self, categories: Sequence[str]) -> list[list[int]]:
        """What each category is written as, the end included."""
        n = len(categories)
        blank = Notes([str(i) for i in range(n)], [""] * n, [""] * n, [[]] * n, list(categories))
        tokenized = self.model.prompt.tokenize(blank)
        return [self.model.prompt.pack(tokenized, [i], mode="train").labels.tolist() for i in range(n)]


def make_writers(work: Workload, greedy: Greedy) -> tuple[dict[str, Writer], dict[str, str]]:
    """All that are here; of those that are absent, which package."""
    theirs = load_transformers(work.folder, DTYPES[work.options.dtype], work.options.device)
    writers = {
        "transformers": transformers_writer(theirs, greedy, keep_prefix=False),
        "transformers_prefix": transformers_writer(theirs, greedy, keep_prefix=True),
    }
    names = {"ctranslate2_fp32": "float32", "ctranslate2_int8": "int8"}
    if absent := ctranslate2_missing(work.options.device):
        return writers, dict.fromkeys(names, f"{absent} is not installed")
    return writers | {name: ctranslate2_writer(work.folder, greedy, kind) for name, kind in names.items()}, {}


def hashtags(work: Workload) -> dict[str, Any]:
    """The comparison of greedy decoding."""
    options = work.options
    prompts = work.prompts(options.notes, "hashtags")
    greedy = Greedy(prompts, work.model.eos_token_id, options.new_tokens)
    writers, skipped = make_writers(work, greedy)
    rows, sample = range(options.notes), range(min(options.notes, options.sample))
    batches = {
        name: fastest(lambda size, write=write: write(sample, size), options.batches, device=options.device)
        for name, write in writers.items()
    }
    work.hashtags()  # the others are warm from the search
    written: dict[str, list[list[int]]] = {}
    calls = {"notellm": lambda: written.update(notellm=work.hashtags())}
    for name, write in writers.items():
        calls[name] = lambda name=name, write=write: written.update({name: write(rows, batches[name])})
    rounds = time_in_turns(calls, options.rounds, is_warm=True, device=options.device)
    ours = written["notellm"]
    equal = {name: sum(map(list.__eq__, ours, theirs)) for name, theirs in written.items()}
    if options.dtype == "fp32":
        few = {name: n for name, n in equal.items() if n < EQUAL_AT_LEAST * len(ours) and "int8" not in name}
        if few:
            raise RuntimeError(
                f"bench_generation: all must write what we write, but of {len(ours)} only {few} do"
            )
    return {
        "notes": options.notes,
        "tokens_per_prompt": round(sum(map(len, prompts.ids)) / len(prompts), 1),
        "tokens_written_per_note": round(sum(map(len, ours)) / len(ours), 1),
        "batch_sizes": batches,
        "skipped": skipped,
        "equal_outputs": equal,
        "rounds": rounds,
    }


class TheirScores:
    """log p of every category by transformers, each candidate being its labels with the end."""

    def __init__(self, work: Workload, prompts: Sequences, labels: Sequence[Sequence[int]]) -> None:
        self.model = load_transformers(work.folder, DTYPES[work.options.dtype], work.options.device)
        self.prompts, self.instruction = prompts, prefix_states(self.model, prompts)
        lengths = torch.tensor([len(one) for one in labels], device=prompts.device)
        padded = torch.nn.utils.rnn.pad_sequence([torch.tensor(one) for one in labels], batch_first=True)
        self.labels = padded.to(prompts.device)  # (C, longest)
        self.counts = torch.arange(padded.size(1), device=prompts.device) < lengths[:, None]

    @torch.inference_mode()
    def of(self, rows: Sequence[int]) -> Tensor:
        """(n, C) of some notes, one after another."""
        scores = []
        for row in rows:
            rest = self.prompts.ids[row][None, self.prompts.prefix :].to(self.prompts.device)
            cache = shared_cache(self.instruction, 1)
            logits = self.model(rest, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
            scores.append(self._candidates(logits, [(layer.keys, layer.values) for layer in cache.layers]))
        return torch.stack(scores).double().cpu()

    def _candidates(self, first: Tensor, note: States) -> Tensor:
        count = len(self.labels)
        own = shared_cache(note, count)
        rest = self.model(self.labels[:, :-1], past_key_values=own, use_cache=True).logits
        logits = torch.cat([first.expand(count, 1, -1), rest], 1).float()  # (C, longest, V)
        log_probs = logits.log_softmax(-1).gather(2, self.labels[:, :, None]).squeeze(2)
        return (log_probs * self.counts).sum(1)


def categories(work: Workload) -> dict[str, Any]:
    """The comparison of closed-set scores."""
    options = work.options
    names = sorted({name for name in work.notes.categories if name})
    # a catalogue may have fewer: two of them together are a new name
    names += [f"{first} {second}" for first in names for second in names if first != second]
    names = names[: options.categories]
    theirs = TheirScores(work, work.prompts(options.scored_notes, "category"), work.labels(names))
    some = range(min(16, options.scored_notes))
    ours = work.scores(names)
    apart = float((ours[: len(some)] - theirs.of(some)).abs().max())
    if apart >= (1e-2 if options.dtype == "fp32" else 2):
        raise RuntimeError(f"bench_generation: scores must be equal, but are {apart} apart")
    calls = {
        "notellm": lambda: work.scores(names),
        "transformers_prefix": lambda: theirs.of(range(options.scored_notes)),
    }
    return {
        "notes": options.scored_notes,
        "categories": len(names),
        "largest_difference": apart,
        "rounds": time_in_turns(calls, options.rounds, is_warm=True, device=options.device),
    }


def main() -> None:
    """Checks, measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--table", type=Path, help="a table of notes; default: the Debian catalogue")
    parser.add_argument("--notes", type=int, default=512, help="that get hashtags")
    parser.add_argument("--sample", type=int, default=64, help="notes on which batch sizes are tried")
    parser.add_argument("--new-tokens", type=int, default=24)
    parser.add_argument("--scored-notes", type=int, default=128)
    parser.add_argument("--categories", type=int, default=60)
    add_dtype(parser)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--batch-tokens", type=int, default=16384)
    parser.add_argument("--rounds", type=int, default=3)
    run = Run(parser)
    options = run.options
    options.dtype = resolve_dtype(options.dtype, options.device)
    with TemporaryDirectory() as folder:
        work = Workload(options, Path(folder))
        measured = {"hashtags": hashtags(work), "categories": categories(work)}
    model = MODEL if options.model == "smollm2-135m" else options.model
    run.report(f"generation_{options.dtype}", {"model": model, "dtype": options.dtype, **measured})


if __name__ == "__main__":
    main()
