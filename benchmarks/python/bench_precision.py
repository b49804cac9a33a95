"""What the fast paths do to vectors, against transformers in fp32 on the same tokens.

Works on a pool of held-out Debian notes as a run draws it. Every path is compared with the reference by the cosines of
its vectors, by the ten nearest notes of each note, and by Recall@100; cosines and neighbours also with the reference's
mean taken off both, since raw states of a language model all point much the same way. Vectors are raw states, or those
of the projection where --model names a trained model.

    python benchmarks/python/bench_precision.py --output benchmarks/results/precision.json
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from harness import report
from torch import Tensor
from torch.nn.functional import normalize

import notellm
from notellm import NoteLLM
from notellm._core import prompts as core
from notellm.cache import cache_folder
from notellm.config import compose
from notellm.data import Notes
from notellm.embedding import embed
from notellm.metrics import recall_at
from notellm.models import smollm2
from notellm.pipeline.data import Queries, load_data, mine, select_queries
from notellm.retrieval import neighbours, target_ranks

NEIGHBOURS, CUT = 10, 100
OURS = {
    "notellm fp32": {"dtype": "fp32"},
    "notellm bf16": {"dtype": "bf16"},
    "notellm bf16, int8 weights": {"dtype": "bf16", "weights": "int8"},
    "notellm fp32, int8 weights": {"dtype": "fp32", "weights": "int8"},
}
COMPOSED = "notellm fp32, LibTorch's operations"


def held_out_notes(notes: int, queries: int) -> tuple[Notes, Queries]:
    """The pool of a run on the Debian catalogue, and its queries."""
    config = compose([f"data.pool={notes}", f"data.queries={queries}"])
    dataset = load_data(config)
    pairs = mine(config, dataset.interactions)
    drawn = select_queries(config, dataset, pairs.source, pairs.target)
    return dataset.notes.take(drawn.pool), drawn


def token_lists(model: NoteLLM, tokenized: core.TokenizedNotes) -> list[Tensor]:
    """The tokens of each note's category prompt, up to the compressed one."""
    rows = [core.NotePrompt(i, core.Task.category) for i in range(len(tokenized))]
    lists = core.lay_out(model.prompt.core, tokenized, rows, core.PackMode.embed)
    return [torch.from_numpy(ids.astype(np.int64)) for ids in np.split(lists.ids, lists.offsets[1:-1])]


@torch.no_grad()
def reference_states(backbone: Any, tokens: list[Tensor], batch: int) -> Tensor:
    """(n, D) fp32: the last state of each sequence by transformers; what is padded on the right changes none."""
    states = torch.empty(len(tokens), backbone.config.hidden_size)
    order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
    for begin in range(0, len(order), batch):
        chosen = order[begin : begin + batch]
        lengths = torch.tensor([len(tokens[i]) for i in chosen])
        ids = torch.nn.utils.rnn.pad_sequence([tokens[i] for i in chosen], batch_first=True)
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        hidden = backbone(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        states[chosen] = hidden[torch.arange(len(chosen)), lengths - 1].float()
    return states


def vectors_of_all(
    folder: Path, trained: bool, notes: Notes, batch: int
) -> tuple[dict[str, Tensor], dict[str, int]]:
    """Unit vectors of every path, the reference first, and the bytes of our matrices."""
    model = NoteLLM.from_pretrained(folder, **({} if trained else {"prompt": "paper"}))
    tokenized = model.prompt.tokenize(notes)
    tokens = token_lists(model, tokenized)
    projection = model.projection_weight.detach() if trained else torch.eye(model.model.config.width)
    vectors = {}
    for name, dtype in (("transformers fp32", torch.float32), ("transformers bf16", torch.bfloat16)):
        # loaded in its dtype: model.to(bfloat16) would round the rotary frequencies too
        backbone = transformers.AutoModel.from_pretrained(folder, dtype=dtype).eval()
        states = reference_states(backbone, tokens, batch)
        vectors[name] = normalize(states @ projection.T, dim=1)
    sizes = {}
    for name, options in OURS.items():
        result = embed(model, tokenized, projected=trained, **options)
        vectors[name], sizes[name] = result.vectors, result.weight_bytes
    loops = notellm.instruction_set()
    notellm.set_instruction_set("none")
    vectors[COMPOSED] = embed(model, tokenized, projected=trained).vectors
    notellm.set_instruction_set(loops)
    return vectors, sizes


def overlap(rows: Tensor, reference: Tensor) -> float:
    """Mean share of a note's nearest notes by cosine that are its nearest by the reference too."""
    own = torch.arange(len(rows))[:, None]
    k = min(NEIGHBOURS, len(rows) - 1)
    found, expected = (
        neighbours(unit, unit, k, exclude=own).indices
        for unit in (normalize(rows, dim=1), normalize(reference, dim=1))
    )
    return (found[:, :, None] == expected[:, None, :]).any(2).double().mean().item()


def cosines(rows: Tensor, reference: Tensor) -> dict[str, float]:
    """Smallest and mean cosine of rows to those of the reference."""
    cosine = torch.nn.functional.cosine_similarity(rows, reference, dim=1)
    return {"smallest_cosine": cosine.min().item(), "mean_cosine": cosine.mean().item()}


def recall(rows: Tensor, queries: Queries) -> float:
    """Recall@100 in percent."""
    source, target = torch.from_numpy(queries.source), torch.from_numpy(queries.target)
    return 100 * float(recall_at(target_ranks(rows[source], rows, target, exclude=source), [CUT])[0])


def compared(rows: Tensor, reference: Tensor, queries: Queries) -> dict[str, Any]:
    """One path against the reference."""
    rows, reference = rows.double(), reference.double()
    mean = reference.mean(0)
    centred = rows - mean, reference - mean
    found = recall(rows, queries)
    return {
        **cosines(rows, reference),
        "centred": {**cosines(*centred), "top10_overlap": overlap(*centred)},
        "top10_overlap": overlap(rows, reference),
        "recall_at_100": found,
        "recall_change_points": found - recall(reference, queries),
    }


def main() -> None:
    """Embeds by every path, compares and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--notes", type=int, default=1_500, help="of the pool")
    parser.add_argument("--queries", type=int, default=300, help="a fifth of the notes at most")
    parser.add_argument(
        "--model", type=Path, metavar="FOLDER", help="a trained model instead of SmolLM2-135M"
    )
    parser.add_argument("--batch", type=int, default=16, help="notes that transformers computes at a time")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()

    notes, queries = held_out_notes(options.notes, min(options.queries, options.notes // 5))
    folder = options.model or smollm2.prepare(cache_folder("smollm2-135m"))
    vectors, sizes = vectors_of_all(folder, options.model is not None, notes, options.batch)
    reference = vectors["transformers fp32"]
    numbers = {
        "benchmark": "precision",
        "model": folder.name,
        "notes": len(notes),
        "queries": len(queries.source),
        "transformers": transformers.__version__,
        "instruction_set": notellm.instruction_set(),
        "matrix_mib": {name: round(size / 2**20, 1) for name, size in sizes.items()},
        "against_transformers_fp32": {
            name: compared(rows, reference, queries) for name, rows in vectors.items()
        },
    }
    report(numbers, options.output)


if __name__ == "__main__":
    main()
