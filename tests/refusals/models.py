"""Calls over a whole model and its prompts."""

import numpy as np
import torch

from notellm import _core
from refusals import BEYOND, floats

models, prompts, generation = _core.models, _core.prompts, _core.generation
TASK = prompts.Task.category
KNOWN = prompts.TokenLists(np.array([5, 6, 7], np.int32), np.array([0, 1, 3]))


def one_value(token):
    return prompts.TokenLists(np.array([token], np.int32), np.array([0, 1]))


def wrong_models(tiny):
    """Of a wrong head, table, number of blocks or configuration; then of a wrong projection."""
    head, weights, config = tiny.head_weight.detach(), tiny.model.weights(), tiny.model.config
    norm = tiny.model.norm.weight
    of_head = [
        models.ModelWeights(config, weights, head[:, :-1], None),
        models.ModelWeights(config, weights, head.to("meta"), None),
        models.ModelWeights(config, models.DecoderWeights(head[:50], [], norm), head, None),
        models.ModelWeights(models.DecoderConfig(), weights, head, None),
    ]
    of_projection = [
        models.ModelWeights(config, weights, head, floats(6, 31)),
        models.ModelWeights(config, weights, head, floats(6, 32).long()),
    ]
    return of_head, of_projection


def wrong_rows(count):
    """Prompts of notes and hashtags that there are not."""
    of_notes = [prompts.NotePrompt(note, TASK) for note in (-1, count, BEYOND)]
    hashtags = prompts.Task.hashtags
    of_counts = [prompts.NotePrompt(0, hashtags, number) for number in (0, -1, 2**31 - 1)]
    of_choices = [prompts.NotePrompt(0, hashtags, 1, [number]) for number in (999, -1)]
    return of_notes + of_counts + of_choices


def embed_notes(tiny, tokenized):
    of_head, of_projection = wrong_models(tiny)
    right = {
        "model": tiny.core_weights(),
        "prompts": tiny.prompt.core,
        "notes": tokenized,
        "indices": [0, 1],
        "options": _core.options.EmbedOptions(),
        "pooling": "compression",
        "compute": torch.float32,
    }
    indices = [[len(tokenized)], [-1], [BEYOND], [-BEYOND], [0.5]]
    wrong = {
        "model": of_head + of_projection,
        "indices": indices,
        "options": [_core.options.EmbedOptions(dim=7)],
        "compute": [torch.float16],
        "pooling": ["x"],
    }
    return _core.embedding.embed_notes, right, wrong


def score_categories(tiny, tokenized):
    core = tiny.prompt.core
    right = {
        "model": tiny.core_weights(),
        "prompts": core,
        "notes": tokenized,
        "indices": [0],
        "candidates": generation.category_tokens(core, KNOWN),
        "compute": torch.float32,
        "batch_tokens": 64,
        "max_logits": 4096,
    }
    wrong = {
        "model": wrong_models(tiny)[0],
        "indices": [[len(tokenized)], [-1], [BEYOND]],
        "candidates": [generation.category_tokens(core, one_value(token)) for token in (10_000, -1)],
        "batch_tokens": [0, -1],
        "max_logits": [0, -1],
        "compute": [torch.float16],
    }
    return generation.score_categories, right, wrong


def generate(tiny, tokenized):
    core = tiny.prompt.core
    right = {
        "model": tiny.core_weights(),
        "prompts": core,
        "notes": tokenized,
        "requests": [prompts.NotePrompt(0, TASK)],
        "options": _core.options.DecodingOptions(max_new_tokens=32),
        "grammar": generation.OutputGrammar(core, KNOWN, TASK, 1),
        "banned": [[0]],
        "stop_tokens": [5],
        "compute": torch.float32,
    }
    wrong = {
        "model": wrong_models(tiny)[0],
        "requests": [[row] for row in wrong_rows(len(tokenized))],
        "grammar": [generation.OutputGrammar(core, one_value(token), TASK, 1) for token in (10_000, -1)],
        "banned": [[[2]], [[-1]], [[BEYOND]], [[0], [0]]],
        "stop_tokens": [[10_000], [-1]],
        "compute": [torch.float16],
    }
    return generation.generate, right, wrong


def OutputGrammar(tiny, tokenized):
    right = {"prompts": tiny.prompt.core, "values": KNOWN, "task": TASK, "max_values": 1}
    empty = prompts.TokenLists(np.zeros(0, np.int32), np.array([0]))
    wrong = {"max_values": [0, -1, 2, 2**32 + 1, BEYOND], "values": [empty]}
    return generation.OutputGrammar, right, wrong


def lay_out(tiny, tokenized):
    right = {
        "prompts": tiny.prompt.core,
        "notes": tokenized,
        "rows": [prompts.NotePrompt(0, TASK)],
        "mode": prompts.PackMode.embed,
    }
    return prompts.lay_out, right, {"rows": [[row] for row in wrong_rows(len(tokenized))]}


def pack(tiny, tokenized):
    _, right, wrong = lay_out(tiny, tokenized)
    return prompts.pack, right, wrong


def piece_spans(tiny, tokenized):
    right = {"prompts": tiny.prompt.core, "notes": tokenized, "row": prompts.NotePrompt(0, TASK)}
    return prompts.piece_spans, right, {"row": wrong_rows(len(tokenized))}


CALLS = [embed_notes, score_categories, generate, OutputGrammar, lay_out, pack, piece_spans]
