"""Calls of the library, and what their error must say."""

import torch

import notellm
from notellm.app.studies import make_study
from notellm.data import Interactions, Notes
from notellm.embedding import embed, save_embeddings
from notellm.models.notellm import NoteLLM
from notellm.prompts import load_prompt
from samples import make_notes

CALLS = {
    "Notes of columns of different lengths": (
        lambda _: Notes(["a"], [], [], [], []),
        "columns must be equally long",
    ),
    "notes by an unknown id": (
        lambda _: make_notes(2).index(["x"]),
        "ids must be those of notes, but one is 'x'",
    ),
    "a log with a user out of range": (
        lambda _: Interactions([5], [0], ["u"], ["n"]),
        "users must be in \\[0, 1\\)",
    ),
    "a log with fractions as users": (
        lambda _: Interactions([0.5], [0], ["u"], ["n"]),
        "users must be integers",
    ),
    "a log of unequal columns": (lambda _: Interactions([0], [0, 0], ["u"], ["n"]), "must have shape"),
    "mining with crossed bounds": (lambda _: notellm.mine_pairs(LOG_OF_ONE, lower=2, upper=1), "lower"),
    "mining with a window below 0": (
        lambda _: notellm.mine_pairs(LOG_OF_ONE, max_gap_seconds=-1),
        "max_gap_seconds",
    ),
    "an unknown option of mining": (lambda _: notellm.mine_pairs(LOG_OF_ONE, lowest=2), "lowest"),
    "a prompt that is not there": (lambda _: load_prompt("papr"), "did you mean 'paper'"),
    "a prompt file with an alias bomb": (lambda there: load_prompt(there / "bomb.yaml"), "at most"),
    "a prompt file that is a list": (lambda there: load_prompt(there / "list.yaml"), "must"),
    "embedding a note that is not there": (lambda there: embedded(there, [7]), "7"),
    "embedding in an unknown dtype": (lambda there: embedded(there, dtype="fp8"), "dtype"),
    "embedding with an unknown pooling": (lambda there: embedded(there, pooling="max"), "pooling"),
    "more layers than there are": (
        lambda there: NoteLLM.from_pretrained(there / "model", layers=9),
        "layers must be in",
    ),
    "another dim than it was trained with": (
        lambda there: NoteLLM.from_pretrained(there / "saved", dim=9),
        "dim must be 4",
    ),
    "as many ids as rows": (lambda there: save_embeddings(there / "v.npy", ["a"], torch.eye(2)), "as many"),
    "ranks of vectors of other widths": (
        lambda _: notellm.target_ranks(torch.eye(2), torch.eye(3), torch.tensor([0, 1])),
        "width|columns|shape",
    ),
    "an unknown instruction set": (lambda _: notellm.set_instruction_set("sse9"), "sse9"),
    "an unknown option of generation": (lambda _: notellm.Decoding(beam=3), "beam"),
    "a study without rows": (lambda _: make_study("s", {}), "must have rows"),
    "loss of an odd number of vectors": (
        lambda _: notellm.gcl_loss(torch.ones(3, 2), torch.tensor(3.0)),
        "even|pairs|rows",
    ),
}

LOG_OF_ONE = Interactions([0, 0], [0, 1], ["u"], ["a", "b"])


def embedded(there, indices=None, **how):
    model = NoteLLM.from_pretrained(there / "saved")
    return embed(model, model.prompt.tokenize(make_notes(2)), indices, **({"dtype": "fp32"} | how))
