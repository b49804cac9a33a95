"""Weights that are finite may still overflow on the way: vectors, logits and scores say so, and of which note."""

import pytest
import torch

from notellm import _core
from notellm.errors import DataError
from refusals import models

prompts = _core.prompts


@pytest.fixture
def overflowing(tiny):
    """All of its weights are finite, none of its states is."""
    with torch.no_grad():
        for layer in tiny.model.layers:
            layer.mlp.up_proj.weight.mul_(1e30)
            layer.mlp.down_proj.weight.mul_(1e30)
    return tiny


def test_vectors(overflowing, notes):
    call, right, _ = models.embed_notes(overflowing, overflowing.prompt.tokenize(notes))
    with pytest.raises(DataError, match="embed: vectors must be finite, but that of note 3 is not"):
        call(**(right | {"indices": [3]}))


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 1.0}, {"beams": 2}, {"repetition_penalty": 1.3}], ids=str
)
def test_logits(options, overflowing, notes):
    call, right, _ = models.generate(overflowing, overflowing.prompt.tokenize(notes))
    free = {
        "grammar": None,
        "banned": [],
        "options": _core.options.DecodingOptions(max_new_tokens=4, **options),
    }
    rows = [prompts.NotePrompt(note, prompts.Task.category) for note in (2, 5)]
    with pytest.raises(DataError, match="generate: logits must be finite, but those of note [25] are not"):
        call(**(right | free | {"requests": rows}))


def test_scores_of_categories(overflowing, notes):
    call, right, _ = models.score_categories(overflowing, overflowing.prompt.tokenize(notes))
    with pytest.raises(DataError, match="log-probabilities must be finite, but one of note 4 is not"):
        call(**(right | {"indices": [4]}))
