"""Calls of the library: the class of their error, and what it must say."""

import torch

import notellm
from notellm.app.studies import make_study
from notellm.data import Interactions, Notes
from notellm.embedding import embed
from notellm.errors import ConfigError, DataError
from notellm.models.notellm import NoteLLM
from notellm.prompts import load_prompt
from notellm.vector_files import save_embeddings
from samples import make_notes

CALLS = {
    "Notes of columns of different lengths": (
        lambda _: Notes(["a"], [], [], [], []),
        ValueError,
        "Notes: columns must be equally long, but have [1, 0, 0, 0, 0] rows",
    ),
    "notes by an unknown id": (
        lambda _: make_notes(2).index(["x"]),
        DataError,
        "Notes.index: ids must be those of notes, but one is 'x'",
    ),
    "a log with a user out of range": (
        lambda _: Interactions([5], [0], ["u"], ["n"]),
        ValueError,
        "Interactions: users must be in [0, 1), but are in [5, 5]",
    ),
    "a log with fractions as users": (
        lambda _: Interactions([0.5], [0], ["u"], ["n"]),
        ValueError,
        "Interactions: users must be integers (int64), but are float64",
    ),
    "a log of unequal columns": (
        lambda _: Interactions([0], [0, 0], ["u"], ["n"]),
        ValueError,
        "Interactions: notes must have shape (1,), but has (2,)",
    ),
    "mining with crossed bounds": (
        lambda _: notellm.mine_pairs(LOG_OF_ONE, lower=2, upper=1),
        ConfigError,
        "MiningOptions: lower must not be above upper, but are 2 and 1",
    ),
    "mining with a window below 0": (
        lambda _: notellm.mine_pairs(LOG_OF_ONE, max_gap_seconds=-1),
        ConfigError,
        "MiningOptions: max_gap_seconds must be at least 0, but is -1",
    ),
    "an unknown option of mining": (
        lambda _: notellm.mine_pairs(LOG_OF_ONE, lowest=2),
        ConfigError,
        "MiningOptions: unknown key lowest",
    ),
    "a prompt that is not there": (
        lambda _: load_prompt("papr"),
        ConfigError,
        "load_prompt: there must be a prompt or a YAML file 'papr', but there is none; did you mean 'paper'?",
    ),
    "a prompt file with an alias bomb": (
        lambda there: load_prompt(there / "bomb.yaml"),
        ConfigError,
        "bomb.yaml:1: a file must hold at most 100000 values",
    ),
    "a prompt file that is a list": (
        lambda there: load_prompt(there / "list.yaml"),
        ConfigError,
        "list.yaml:1: a configuration must be a group of keys, but is a list",
    ),
    "embedding a note that is not there": (
        lambda there: embedded(there, [7]),
        IndexError,
        "embed: note must be in [0, 2), but is 7",
    ),
    "embedding in an unknown dtype": (
        lambda there: embedded(there, dtype="fp8"),
        ValueError,
        "resolve_dtype: dtype must be auto, fp64, fp32 or bf16, but is 'fp8'",
    ),
    "embedding with an unknown pooling": (
        lambda there: embedded(there, pooling="max"),
        ConfigError,
        "embed: pooling must be one of compression, mean, but is 'max'",
    ),
    "more layers than there are": (
        lambda there: NoteLLM.from_pretrained(there / "model", layers=9),
        DataError,
        "model: layers must be in [0, 2], but 9 are asked for",
    ),
    "another dim than it was trained with": (
        lambda there: NoteLLM.from_pretrained(there / "saved", dim=9),
        DataError,
        "saved: dim must be 4 as it was trained, but 9 is asked for",
    ),
    "as many ids as rows": (
        lambda there: save_embeddings(there / "v.npy", ["a"], torch.eye(2)),
        ValueError,
        "save_embeddings: ids and rows must be as many, but are 1 and 2",
    ),
    "ranks of vectors of other widths": (
        lambda _: notellm.target_ranks(torch.eye(2), torch.eye(3), torch.tensor([0, 1])),
        ValueError,
        "target_ranks: queries and pool must have the same width, but have 2 and 3",
    ),
    "an unknown instruction set": (
        lambda _: notellm.set_instruction_set("sse9"),
        ValueError,
        "set_instruction_set: the instruction set must be none, baseline, avx2, avx512 or avx512_bf16, but is 'sse9'",
    ),
    "an unknown option of generation": (
        lambda _: notellm.DecodingOptions(beam=3),
        ConfigError,
        "DecodingOptions: unknown key beam; did you mean beams?",
    ),
    "a study without rows": (
        lambda _: make_study("s", {}),
        ConfigError,
        "experiment=s: must have rows, but has none",
    ),
    "loss of an odd number of vectors": (
        lambda _: notellm.gcl_loss(torch.ones(3, 2), torch.tensor(3.0)),
        ValueError,
        "gcl_loss: embeddings must be (2B + negatives, d) with an even number of rows in pairs, but are [3, 2]",
    ),
}

LOG_OF_ONE = Interactions([0, 0], [0, 1], ["u"], ["a", "b"])


def embedded(there, indices=None, **how):
    model = NoteLLM.from_pretrained(there / "saved")
    return embed(model, model.prompt.tokenize(make_notes(2)), indices, **({"dtype": "fp32"} | how))
