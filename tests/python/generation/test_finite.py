"""Weights that are finite may still overflow on the way: vectors, logits and scores say so, and of which note."""

import pytest
import torch

from notellm import TransformersNoteLLM, _core
from notellm.embedding import embed
from notellm.errors import DataError
from notellm.generation import score_categories
from notellm.pools import making
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


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_vectors_of_a_pooling_function(wrong, tiny, notes):
    tiny.pooling = lambda states, lengths: torch.full((len(lengths), states.shape[1]), wrong)
    with pytest.raises(
        DataError, match=f"embed: vectors must be finite, but that of note '{notes.ids[2]}' is"
    ):
        tiny.embed(notes.take([2]))


def test_vectors_of_a_family_of_transformers(tiny_folder, notes):
    model = TransformersNoteLLM.from_pretrained(tiny_folder, dim=4)
    model.projection.weight.data.fill_(3e38)
    tokenized = model.prompt.tokenize(notes)
    with pytest.raises(DataError, match="embed: vectors must be finite, but that of note 5 is not"):
        embed(model, tokenized, [5])


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


def test_a_note_is_named_where_its_id_is_known(overflowing, notes, tmp_path):
    some = notes.take([4, 2])
    first = f"of note '{some.ids[0]}'"
    with pytest.raises(DataError, match=f"embed: vectors must be finite, but that {first}"):
        overflowing.embed(some.take([0]), dtype="fp32")
    with pytest.raises(DataError, match=f"logits must be finite, but those {first}"):
        overflowing.generate_category(some.take([0]), dtype="fp32")
    with pytest.raises(DataError, match=f"logits must be finite, but those {first}"):
        overflowing.generate_hashtags(some.take([0]), 1, dtype="fp32")
    with pytest.raises(DataError, match=f"log-probabilities must be finite, but one {first}"):
        score_categories(overflowing, some.take([0]), ["a"], dtype="fp32")
    shards = making.begin(tmp_path / "out", "embeddings", some, made_by={})
    with pytest.raises(DataError, match="vectors must be finite, but that of note '"):
        making.make_all(shards, some, making.embedder(overflowing, dtype="fp32"))


def test_scores_of_categories(overflowing, notes):
    call, right, _ = models.score_categories(overflowing, overflowing.prompt.tokenize(notes))
    with pytest.raises(DataError, match="log-probabilities must be finite, but one of note 4 is not"):
        call(**(right | {"indices": [4]}))
