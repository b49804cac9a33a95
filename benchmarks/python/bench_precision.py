"""What the fast paths do to vectors, ours and others', against transformers in fp32 on the same tokens.

Works on a pool of held-out Debian notes as a run draws it. Every path is compared with the reference by the cosines of
its vectors, by the ten nearest notes of each note, and by Recall@100; cosines and neighbours also with the reference's
mean taken off both, since raw states of a language model all point much the same way. Vectors are raw states, or those
of the projection where --model names a trained model.

    python benchmarks/python/bench_precision.py --output benchmarks/results
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from embedders import PrefixedBackbone, Sequences, padded_transformers
from fidelity import centred, cosines, neighbours_kept
from harness import DTYPES
from openvino_embedder import missing, openvino
from records import Run
from torch import Tensor
from torch.nn.functional import normalize
from workloads import MODEL, backbone

import notellm
from notellm import NoteLLM
from notellm._core import prompts as core
from notellm.app.config import compose
from notellm.app.pipeline.data import Queries, load_data, mine, select_queries
from notellm.data import Notes
from notellm.embedding import embed
from notellm.metrics import recall_at
from notellm.retrieval import target_ranks

CUT = 100
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


def token_lists(model: NoteLLM, tokenized: core.TokenizedNotes) -> list[list[int]]:
    """The tokens of each note's category prompt, up to the compressed one."""
    rows = [core.NotePrompt(i, core.Task.category) for i in range(len(tokenized))]
    lists = core.lay_out(model.prompt.core, tokenized, rows, core.PackMode.embed)
    return [ids.tolist() for ids in np.split(lists.ids, lists.offsets[1:-1])]


def others(folder: Path, sequences: Sequences, batch: int) -> dict[str, Tensor]:
    """Unit states by the others, the reference first."""
    rows = range(len(sequences))
    vectors = {
        f"transformers {name}": padded_transformers(folder, sequences, DTYPES[name])(rows, batch)
        for name in ("fp32", "bf16")
    }
    if absent := missing("int8"):
        print(f"bench_precision: without OpenVINO, since {absent} is not installed", file=sys.stderr)
        return vectors
    prefixed = PrefixedBackbone(folder, sequences, torch.float32)
    vectors["OpenVINO fp32, int8 weights"] = openvino(prefixed, sequences, "int8")(rows, batch)
    return vectors


def vectors_of_all(
    folder: Path, trained: bool, notes: Notes, batch: int
) -> tuple[dict[str, Tensor], dict[str, int]]:
    """Unit vectors of every path, the reference first, and the bytes of our matrices."""
    model = NoteLLM.from_pretrained(folder, **({} if trained else {"prompt": "paper"}))
    tokenized = model.prompt.tokenize(notes)
    vectors = others(folder, Sequences(token_lists(model, tokenized)), batch)
    if trained:  # the direction of a projected state does not ask for its length
        weight = model.projection_weight.detach()
        vectors = {name: normalize(states @ weight.T, dim=1) for name, states in vectors.items()}
    sizes = {}
    for name, options in OURS.items():
        result = embed(model, tokenized, projected=trained, **options)
        vectors[name], sizes[name] = result.vectors, result.weight_bytes
    used = notellm.instruction_set()
    notellm.set_instruction_set("none")
    vectors[COMPOSED] = embed(model, tokenized, projected=trained, dtype="fp32").vectors
    notellm.set_instruction_set(used)
    return vectors, sizes


def recall(rows: Tensor, queries: Queries) -> float:
    """Recall@100 in percent."""
    source, target = torch.from_numpy(queries.source), torch.from_numpy(queries.target)
    return 100 * float(recall_at(target_ranks(rows[source], rows, target, exclude=source), [CUT])[0])


def compared(rows: Tensor, reference: Tensor, queries: Queries) -> dict[str, Any]:
    """One path against the reference."""
    rows, reference = rows.double(), reference.double()
    around_mean = centred(rows, reference)
    found = recall(rows, queries)
    return {
        **cosines(rows, reference),
        "centred": {**cosines(*around_mean), "top10_overlap": neighbours_kept(*around_mean)},
        "top10_overlap": neighbours_kept(rows, reference),
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
    run = Run(parser)
    options = run.options

    notes, queries = held_out_notes(options.notes, min(options.queries, options.notes // 5))
    folder = options.model or backbone()
    vectors, sizes = vectors_of_all(folder, options.model is not None, notes, options.batch)
    reference = vectors["transformers fp32"]
    numbers = {
        "model": MODEL if options.model is None else folder.name,
        "notes": len(notes),
        "queries": len(queries.source),
        "matrix_mib": {name: round(size / 2**20, 1) for name, size in sizes.items()},
        "against_transformers_fp32": {
            name: compared(rows, reference, queries) for name, rows in vectors.items()
        },
    }
    run.report("precision", numbers)


if __name__ == "__main__":
    main()
