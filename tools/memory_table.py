"""Writes the table "Memory of training" of docs/gpu.md, or shows it.

python tools/memory_table.py [--write]
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from notellm.models.adapter import LoraOptions
from notellm.training import TrainOptions
from notellm.training.memory import NoteLengths, TrainingMemory, training_memory

PAGE = Path(__file__).parents[1] / "docs/gpu.md"
BEGIN, END = "<!-- memory_table: begin -->\n", "<!-- memory_table: end -->\n"

LLAMA = {"model_type": "llama", "rms_norm_eps": 1e-5, "max_position_embeddings": 4096, "eos_token_id": 2}
MODELS: dict[str, dict[str, Any]] = {
    "1 B": LLAMA
    | {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32}
    | {"num_key_value_heads": 8, "vocab_size": 128256, "tie_word_embeddings": True},
    "7 B": LLAMA
    | {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32}
    | {"num_key_value_heads": 32, "vocab_size": 32000, "tie_word_embeddings": False},
}
"""The shapes of Llama 3.2 1B and of Llama 2 7B."""

PAIRS = (4, 16, 64)
CHECKPOINTED = {"checkpoint_layers": True}
WAYS: list[tuple[str, int, dict[str, Any], LoraOptions | None]] = [
    ("all weights", 1, {}, None),
    ("`checkpoint_layers`", 1, CHECKPOINTED, None),
    ("`checkpoint_layers`, `moments=8bit`", 1, CHECKPOINTED | {"moments": "8bit"}, None),
    ("`checkpoint_layers`, `shard_optimizer`", 8, CHECKPOINTED | {"shard_optimizer": True}, None),
    ("`checkpoint_layers`, `shard_weights`", 8, CHECKPOINTED | {"shard_weights": True}, None),
    ("LoRA", 1, {}, LoraOptions()),
    ("LoRA, `frozen_bf16`, `checkpoint_layers`", 1, CHECKPOINTED, LoraOptions(frozen_bf16=True)),
]


def memories() -> Iterator[tuple[str, str, int, list[TrainingMemory]]]:
    """Model, way of training, processes, and the memory with each number of pairs."""
    for model, hf in MODELS.items():
        for way, processes, changes, lora in WAYS:
            yield (
                model,
                way,
                processes,
                [
                    training_memory(
                        hf,
                        TrainOptions(
                            pairs_per_step=64 * processes, micro_pairs=pairs, dtype="bf16", **changes
                        ),
                        NoteLengths(),
                        lora=lora,
                        processes=processes,
                    )
                    for pairs in PAIRS
                ],
            )


def table() -> str:
    """The table, in Markdown, in GiB."""
    columns = ["model", "way", "GPUs", "weights", "gradients", "moments", "copies"]
    columns += [f"all, {pairs} pairs" for pairs in PAIRS]
    lines = [columns, ["---", "---", *["--:"] * (len(columns) - 2)]]
    for model, way, processes, found in memories():
        first = found[0]
        fixed = (first.weights, first.gradients, first.moments, first.copies)
        numbers = [*fixed, *(memory.total for memory in found)]
        lines.append([model, way, str(processes), *(f"{number / 2**30:.1f}" for number in numbers)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def written(page: str) -> str:
    """A page with the table between its marks."""
    return re.sub(f"{BEGIN}.*?{END}", lambda _: BEGIN + table() + END, page, flags=re.DOTALL)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="into docs/gpu.md")
    if parser.parse_args().write:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(table(), end="")
