"""Greedy hashtags and closed-set categories against transformers: same weights, same token ids, same outputs.

Hashtags: ``generate`` with its key-value cache on left-padded batches, sorted by length, at the batch size that is
fastest here. Categories: log p of every category, the note computed once and its cache repeated for a batch of all
categories, padded; this too is first checked to give our numbers. Ours and the baselines alternate.

    python benchmarks/python/bench_generation.py --output benchmarks/results/generation.json
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from harness import DTYPES, fastest, median_seconds, report
from torch import Tensor
from transformers import AutoModelForCausalLM
from workloads import related_notes

from notellm import NoteLLM, _core
from notellm._core import prompts as core
from notellm.data import Notes
from notellm.generation import score_categories


class Workload:
    """Our model on some notes, and the same weights in transformers."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        self.model = NoteLLM.from_pretrained(options.model).to(options.device)
        self.model.save_pretrained(folder)
        theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=DTYPES[options.dtype])
        self.theirs = theirs.eval().to(options.device)
        count = max(options.notes, options.scored_notes)
        self.notes, _, _ = related_notes(options.table, notes=count)

    def some(self, count: int) -> Notes:
        """The first notes."""
        return self.notes.take(range(count))

    def prompts(self, count: int, task: str) -> list[Tensor]:
        """Token ids of the first notes' prompts, up to where the output begins."""
        tokenized = self.model.prompt.tokenize(self.some(count))
        rows = self.model.prompt.rows(tokenized, range(count), task=task, mode="generate", count=5)
        lists = core.lay_out(self.model.prompt.core, tokenized, rows, core.PackMode.generate)
        return [torch.from_numpy(ids.astype(np.int64)) for ids in np.split(lists.ids, lists.offsets[1:-1])]

    def our_hashtags(self) -> list[list[int]]:
        """Ids that we write."""
        tokenized = self.model.prompt.tokenize(self.some(self.options.notes))
        rows = self.model.prompt.rows(
            tokenized, range(self.options.notes), task="hashtags", mode="generate", count=5
        )
        return _core.generation.generate(
            self.model.model.weights(),
            self.model.head_weight,
            self.model.model.config,
            self.model.prompt.core,
            tokenized,
            rows,
            _core.generation.DecodeOptions(
                search=_core.generation.SearchOptions(max_new_tokens=self.options.new_tokens),
                compute=DTYPES[self.options.dtype],
                batch_tokens=self.options.batch_tokens,
            ),
        )

    @torch.inference_mode()
    def their_hashtags(self, prompts: Sequence[Tensor], batch_size: int) -> list[list[int]]:
        """Ids that transformers writes."""
        end = self.model.eos_token_id
        order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
        written: list[list[int]] = [[] for _ in prompts]
        for begin in range(0, len(order), batch_size):
            chosen = order[begin : begin + batch_size]
            longest = len(prompts[chosen[0]])
            ids = torch.full((len(chosen), longest), end)
            mask = torch.zeros_like(ids)
            for row, i in enumerate(chosen):
                ids[row, longest - len(prompts[i]) :] = prompts[i]
                mask[row, longest - len(prompts[i]) :] = 1
            outputs = self.theirs.generate(
                input_ids=ids.to(self.options.device),
                attention_mask=mask.to(self.options.device),
                max_new_tokens=self.options.new_tokens,
                do_sample=False,
                eos_token_id=end,
                pad_token_id=end,
            )
            for i, row in zip(chosen, outputs[:, longest:].tolist(), strict=True):
                written[i] = row[: row.index(end)] if end in row else row
        return written

    def our_scores(self, categories: Sequence[str]) -> Tensor:
        """(n, C) log-probabilities by us."""
        some = self.some(self.options.scored_notes)
        return score_categories(self.model, some, categories, dtype=self.options.dtype).log_probs

    @torch.inference_mode()
    def their_scores(self, prompts: Sequence[Tensor], labels: Sequence[Sequence[int]]) -> Tensor:
        """(n, C) log-probabilities by transformers; each candidate is its labels, the end included."""
        device = self.options.device
        lengths = torch.tensor([len(one) for one in labels], device=device)
        padded = torch.nn.utils.rnn.pad_sequence([torch.tensor(one) for one in labels], batch_first=True)
        padded = padded.to(device)  # (C, longest)
        counts = torch.arange(padded.size(1), device=device) < lengths[:, None]
        scores = []
        for prompt in prompts:
            first = self.theirs(prompt[None].to(device), use_cache=True, logits_to_keep=1)
            cache = first.past_key_values
            cache.batch_repeat_interleave(len(labels))
            rest = self.theirs(padded[:, :-1], past_key_values=cache, use_cache=True).logits
            logits = torch.cat([first.logits.expand(len(labels), 1, -1), rest], 1).float()
            log_probs = logits.log_softmax(-1).gather(2, padded[:, :, None]).squeeze(2)
            scores.append((log_probs * counts).sum(1))
        return torch.stack(scores).double().cpu()


def candidate_labels(model: NoteLLM, categories: Sequence[str]) -> list[list[int]]:
    """What each category is written as, the end included."""
    count = len(categories)
    blank = Notes([str(i) for i in range(count)], [""] * count, [""] * count, [[]] * count, list(categories))
    batch = [
        model.prompt.pack(model.prompt.tokenize(blank), [i], mode="train") for i in range(len(categories))
    ]
    return [one.labels.tolist() for one in batch]


def hashtags(work: Workload, options: argparse.Namespace) -> dict[str, object]:
    """The comparison of greedy decoding."""
    prompts = work.prompts(options.notes, "hashtags")
    sample = prompts[: max(options.batches)]
    batch = fastest(lambda size: work.their_hashtags(sample, size), options.batches)
    work.our_hashtags()  # theirs are warm from the search
    written: dict[str, list[list[int]]] = {}
    calls = {
        "notellm": lambda: written.update(ours=work.our_hashtags()),
        "transformers": lambda: written.update(theirs=work.their_hashtags(prompts, batch)),
    }
    seconds = median_seconds(calls, options.rounds, is_warm=True)
    ours, theirs = written["ours"], written["theirs"]
    equal = sum(a == b for a, b in zip(ours, theirs, strict=True))
    if options.dtype == "fp32":
        assert equal >= 0.98 * len(ours), f"outputs must be equal, but {equal} of {len(ours)} are"
    return {
        "notes": options.notes,
        "tokens_per_prompt": round(sum(map(len, prompts)) / len(prompts), 1),
        "tokens_written_per_note": round(sum(map(len, ours)) / len(ours), 1),
        "batch_size_of_transformers": batch,
        "equal_outputs": equal,
        "seconds": seconds,
        "ratio": round(seconds["transformers"] / seconds["notellm"], 2),
    }


def categories(work: Workload, options: argparse.Namespace) -> dict[str, object]:
    """The comparison of closed-set scores."""
    names = sorted({name for name in work.notes.categories if name})
    # a catalogue may have fewer: two of them together are a new name
    names += [f"{first} {second}" for first in names for second in names if first != second]
    names = names[: options.categories]
    prompts = work.prompts(options.scored_notes, "category")
    labels = candidate_labels(work.model, names)
    ours, theirs = work.our_scores(names), work.their_scores(prompts[:32], labels)
    apart = float((ours[:32] - theirs).abs().max())
    assert apart < (1e-2 if options.dtype == "fp32" else 2), f"scores must be equal, but are {apart} apart"
    calls = {
        "notellm": lambda: work.our_scores(names),
        "transformers": lambda: work.their_scores(prompts, labels),
    }
    seconds = median_seconds(calls, options.rounds, is_warm=True)
    return {
        "notes": options.scored_notes,
        "categories": len(names),
        "largest_difference": apart,
        "seconds": seconds,
        "ratio": round(seconds["transformers"] / seconds["notellm"], 2),
    }


def main() -> None:
    """Checks, measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--table", type=Path, help="a table of notes; default: the Debian catalogue")
    parser.add_argument("--notes", type=int, default=512, help="that get hashtags")
    parser.add_argument("--new-tokens", type=int, default=24)
    parser.add_argument("--scored-notes", type=int, default=1000)
    parser.add_argument("--categories", type=int, default=60)
    parser.add_argument("--dtype", choices=DTYPES, default="fp32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--batch-tokens", type=int, default=16384)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Workload(options, Path(folder))
    numbers = {
        "benchmark": "generation",
        "model": options.model,
        "dtype": options.dtype,
        "device": options.device,
        "threads": torch.get_num_threads(),
        "hashtags": hashtags(work, options),
        "categories": categories(work, options),
    }
    report(numbers, options.output)


if __name__ == "__main__":
    main()
