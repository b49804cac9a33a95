"""How many tokens shared prefixes save on the Debian catalogue, and what finding them costs.

The table gives the share of the category prompts' tokens that need not be computed: with nothing shared but the
instruction (notes batched by length, the baseline), the same with equal prompts computed once, and with prefixes of any
depth, for orders of the notes, token budgets and shortest shared segments; and how many segments a distinct prompt
costs, each of which is one more call of attention.

    python benchmarks/python/bench_sharing.py --output benchmarks/results/sharing.json
"""

import argparse
from collections.abc import Callable, Sequence

import numpy as np
from harness import medians, time_plainly
from numpy.typing import NDArray
from records import Run

from notellm._core import prompts as core
from notellm.data import debian
from notellm.io.cache import cache_folder
from notellm.models.notellm import NoteLLM

BUDGETS, MIN_SHARED = (2048, 4096), (1, 2, 4, 8, 16)
Sequences = Sequence[NDArray[np.int32]]


def as_lists(sequences: Sequences) -> core.TokenLists:
    """Sequences as the core takes them."""
    return core.TokenLists(np.concatenate(sequences), np.cumsum([0, *map(len, sequences)]))


def share_instruction(lengths: NDArray[np.int64], root: int, budget: int) -> tuple[int, int]:
    """Tokens and segments of batches by length that share `root` tokens, which the budget leaves aside."""
    computed = filled = batches = 0
    for own in np.sort(lengths)[::-1] - root:
        if filled == 0 or filled + own > budget:
            computed, filled, batches = computed + root, 0, batches + 1
        computed, filled = computed + own, filled + own
    return int(computed), len(lengths) + batches


def share_prefixes(sequences: Sequences, budget: int, min_shared: int) -> tuple[int, int]:
    """Tokens and segments of consecutive batches, each as large as the budget allows."""
    tokens = segments = begin = 0
    while begin < len(sequences):
        low, high = begin + 1, len(sequences) + 1  # a batch of low fits, one of high does not
        best, step = (len(sequences[begin]), 1), 32
        while high - low > 1:
            middle = min((low + high) // 2, low + step)
            forest = core.prefix_forest(as_lists(sequences[begin:middle]), min_shared=min_shared)
            if len(forest.tokens) <= budget:
                low, best = middle, (len(forest.tokens), len(forest.segment_parents))
            else:
                high, step = middle, len(sequences)
        tokens, segments, begin = tokens + best[0], segments + best[1], low
    return tokens, segments


def saved(sequences: Sequences, root: int) -> dict[str, dict[str, float]]:
    """The table: share saved and segments by distinct prompt, by budget, shortest segment and order."""
    distinct = list({sequence.tobytes(): sequence for sequence in sequences}.values())
    total = sum(map(len, sequences))
    orders: dict[str, Callable[[NDArray[np.int32]], object]] = {
        "by length": lambda sequence: (-len(sequence), sequence.tolist()),
        "by tokens": lambda sequence: sequence.tolist(),
    }
    table = {}

    def note(name: str, computed: tuple[int, int]) -> None:
        share, segments = 1 - computed[0] / total, computed[1] / len(distinct)
        table[name] = {"saved": round(share, 4), "segments": round(segments, 3)}

    for budget in BUDGETS:
        for name, notes in (("instruction", sequences), ("instruction, equal notes once", distinct)):
            note(f"{name}, {budget}", share_instruction(np.array([*map(len, notes)]), root, budget))
        for order, key in orders.items():
            ordered = sorted(distinct, key=key)
            for least in MIN_SHARED:
                note(
                    f"prefixes of {least} or more, {order}, {budget}", share_prefixes(ordered, budget, least)
                )
    return table


def main() -> None:
    """Counts, measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    run = Run(parser)

    notes = debian.fetch(cache_folder("debian"), None).notes
    prompt = NoteLLM.from_pretrained("smollm2-135m").prompt
    tokenized = prompt.tokenize(notes)
    rows = prompt.rows(tokenized, range(len(notes)), mode="embed")
    lists = core.lay_out(prompt.core, tokenized, rows, core.PackMode.embed)
    sequences = np.split(lists.ids, lists.offsets[1:-1])
    calls = {
        "lay_out": lambda: core.lay_out(prompt.core, tokenized, rows, core.PackMode.embed),
        "prefix_batches": lambda: core.prefix_batches(lists, budget=4096),
        "prefix_forest_of_all": lambda: core.prefix_forest(lists),
    }
    root = int(prompt.pack_rows(tokenized, rows[:1], mode="embed").root_tokens[0])
    numbers = {
        "notes": len(notes),
        "distinct": len({sequence.tobytes() for sequence in sequences}),
        "tokens": len(lists.ids),
        "instruction_tokens": root,
        "seconds": medians(time_plainly(calls, run.options.rounds)),
        "table": saved(sequences, root),
    }
    run.report("sharing", numbers)


if __name__ == "__main__":
    main()
