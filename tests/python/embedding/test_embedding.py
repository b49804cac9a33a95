import pytest
import torch

from model_folders import changed
from notellm import _core
from notellm.data.notes import Notes
from notellm.embedding import embed, truncated
from notellm.models.notellm import NoteLLM
from notellm.prompts import explain_prompt
from samples import make_notes

pytestmark = pytest.mark.instruction_set

TOLERANCE = {"fp64": 1e-12, "fp32": 1e-5, "bf16": 0.02}
"""Batch invariance: products of another shape round otherwise. Absolute, on unit vectors."""


def vectors(model, notes, **options):
    return embed(model, model.prompt.tokenize(notes), **options).vectors


def test_rows_are_unit_vectors_in_the_order_of_the_notes(tiny, notes):
    whole = vectors(tiny, notes, dtype="fp32")
    assert whole.shape == (12, 6)
    assert whole.dtype == torch.float32
    torch.testing.assert_close(whole.norm(dim=1), torch.ones(12))
    tokenized = tiny.prompt.tokenize(notes)
    picked = embed(tiny, tokenized, [7, 0, 7], dtype="fp32").vectors
    torch.testing.assert_close(picked, whole[[7, 0, 7]], rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("batch_tokens", [1, 150, 10**6])
def test_a_note_alone_equals_the_note_in_any_batch(dtype, batch_tokens, tiny, notes):
    model = tiny.double() if dtype == "fp64" else tiny
    together = vectors(model, notes, dtype=dtype, batch_tokens=batch_tokens)
    for i in range(len(notes)):
        alone = vectors(model, notes.take([i]), dtype=dtype)[0]
        torch.testing.assert_close(together[i], alone, rtol=0, atol=TOLERANCE[dtype])


def test_equals_the_training_forward(tiny, notes):
    tokenized = tiny.prompt.tokenize(notes)
    with torch.no_grad():
        states = tiny(tiny.prompt.pack(tokenized, range(len(notes))))
    expected = torch.nn.functional.normalize(states.embeddings, dim=1)
    torch.testing.assert_close(vectors(tiny, notes, dtype="fp32"), expected, rtol=0, atol=1e-5)


def states_with(model, batch, position, token):
    """Embeddings of a training batch with one token replaced."""
    tokens = torch.tensor(batch.tokens)
    tokens[position] = token
    segments = _core.models.Segments(batch.segment_offsets.tolist(), batch.segment_parents.tolist())
    with torch.no_grad():
        states = model.model(tokens, model.model.plan(segments, torch.float32))
    return states[torch.tensor(batch.compression)]


@pytest.mark.parametrize("task", ["category", "hashtags"])
def test_the_compression_position(task, tiny, notes):
    """[EMB] and whatever follows leave the embedding as it is; the last content token does not."""
    tokenized = tiny.prompt.tokenize(notes)
    note = next(i for i, topics in enumerate(notes.topics) if topics and notes.contents[i])
    batch = tiny.prompt.pack(tokenized, [note], task=task)
    before = states_with(tiny, batch, 0, batch.tokens[0])
    emb = int(batch.compression[0]) + 1
    assert batch.tokens[emb] == tiny.emb_token_id
    for position in range(emb, len(batch.tokens)):
        assert torch.equal(states_with(tiny, batch, position, 5), before), position
    row = tiny.prompt.rows(tokenized, [note], task=task)[0]
    pieces = explain_prompt(tiny.prompt, tokenized, note, row=row).pieces
    last_content = next(piece for piece in pieces if piece.name == "<content>").end - 1
    for position in (last_content, emb - 1):
        other = 5 if batch.tokens[position] != 5 else 6
        assert (states_with(tiny, batch, position, other) - before).abs().max() > 1e-3, position


def test_vectors_are_ordinary_tensors(tiny, notes):
    rows = vectors(tiny, notes)
    rows -= rows.mean(0)  # would fail on a tensor of inference mode
    torch.nn.Linear(6, 2)(rows).sum().backward()


def odd_notes(case):
    notes = make_notes(7)
    if case == "one note":
        return notes.take([3])
    if case == "longest note first":
        return notes.take([6, 0, 1])
    if case == "all the same":
        return notes.take([2] * 5)
    if case == "some the same":
        return notes.take([2, 1, 2, 0, 1, 6, 6])
    if case == "empty fields":
        return Notes(["a", "b", "c"], ["", "", "web"], ["", "", ""], [[], [], []], ["", "web", ""])
    assert case == "prefixes of each other"  # with the bare prompt, but for its full stop
    words = "library for reading audio files in a terminal"
    titles = [words[:end] for end in (7, 11, 19, 19, len(words))]
    return Notes(list("abcde"), titles, [""] * 5, [[]] * 5, [""] * 5)


ODD = [
    "one note",
    "longest note first",
    "all the same",
    "some the same",
    "empty fields",
    "prefixes of each other",
]


def each_alone(model, tokenized, pooling):
    """The definition: every prompt as one sequence, with nobody else."""
    rows = []
    for i in range(len(tokenized)):
        batch = model.prompt.pack(tokenized, [i], mode="embed")
        plan = model.model.plan(_core.models.Segments([0, len(batch.tokens)], [-1]), torch.float64)
        with torch.no_grad():
            states = model.model(torch.tensor(batch.tokens), plan)
            pooled = states[-1] if pooling == "compression" else states[batch.root_tokens[0] :].mean(0)
            rows.append(torch.nn.functional.normalize(model.projection_weight @ pooled, dim=0))
    return torch.stack(rows)


@pytest.mark.parametrize("case", ODD)
@pytest.mark.parametrize("prompt", ["paper", "bare"])
@pytest.mark.parametrize("pooling", ["compression", "mean"])
def test_shared_prefixes_and_copies_change_nothing(pooling, prompt, case, tiny_folder):
    model = NoteLLM.from_pretrained(tiny_folder, dim=6, prompt=prompt).double()
    tokenized = model.prompt.tokenize(odd_notes(case))
    expected = each_alone(model, tokenized, pooling)
    for budget in (1, 70, 8192):
        result = embed(model, tokenized, pooling=pooling, dtype="fp64", batch_tokens=budget)
        torch.testing.assert_close(result.vectors, expected, rtol=0, atol=1e-12)


def test_what_sharing_saves_is_reported(tiny, notes):
    tokenized = tiny.prompt.tokenize(notes)
    alone, together = embed(tiny, tokenized, batch_tokens=1), embed(tiny, tokenized)
    assert alone.saved_fraction == 0
    assert alone.computed_tokens == together.sequence_tokens == alone.sequence_tokens
    batch = tiny.prompt.pack(tokenized, range(len(notes)), mode="embed")
    assert together.computed_tokens == len(batch.tokens) < together.sequence_tokens
    assert together.sequence_tokens == sum(len(batch.path(i)) for i in range(len(notes)))
    assert together.saved_fraction == 1 - together.computed_tokens / together.sequence_tokens
    assert together.duplicate_notes == 0


def test_equal_notes_are_computed_once(tiny, notes):
    tokenized = tiny.prompt.tokenize(notes.take([4, 1, 4, 4, 1]))
    result = embed(tiny, tokenized)
    assert result.duplicate_notes == 3
    assert torch.equal(result.vectors[[0, 0, 1]], result.vectors[[2, 3, 4]])
    twice = embed(tiny, tokenized, [0, 1])
    assert result.computed_tokens == twice.computed_tokens
    assert result.saved_fraction > 0.5
    apart = embed(tiny, tokenized, batch_tokens=1)
    assert apart.computed_tokens == twice.sequence_tokens


@pytest.mark.parametrize("budget", [1, 100, 250])
def test_progress_counts_notes(budget, tiny, notes):
    seen = []
    tokenized = tiny.prompt.tokenize(notes.take([4, 1, 4, 4, 1, 0]))
    embed(tiny, tokenized, batch_tokens=budget, progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 6)
    assert seen[-1] == (6, 6)
    assert sorted(seen) == seen


def test_raw_states_have_the_backbone_s_width(tiny, notes):
    assert vectors(tiny, notes, projected=False).shape == (12, 32)


def test_no_notes_are_no_rows(tiny, notes):
    assert vectors(tiny, notes.take([])).shape == (0, 6)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"pooling": "last"}, ValueError, "pooling must be one of compression, mean, but is 'last'"),
        ({"dtype": "int8"}, ValueError, "dtype must be auto, fp64, fp32 or bf16, but is 'int8'"),
        ({"batch_tokens": 0}, ValueError, "batch_tokens must be at least 1, but is 0"),
        ({"indices": [99]}, IndexError, "99"),
    ],
)
def test_refuses(options, error, message, tiny, notes):
    with pytest.raises(error, match=message):
        vectors(tiny, notes, **options)


def test_a_prompt_longer_than_the_models_context_is_refused(tiny, tiny_folder, tmp_path, notes):
    """Its last positions would be those of no sequence that the model was trained on."""
    tokenized, everything = tiny.prompt.tokenize(notes), range(len(notes))
    lengths = [len(tiny.prompt.pack(tokenized, [i], mode="embed").tokens) for i in everything]
    longest, place = max(lengths), lengths.index(max(lengths))

    def within(context):
        folder = changed(tiny_folder, tmp_path / f"{context}", config={"max_position_embeddings": context})
        return NoteLLM.from_pretrained(folder, dim=6)

    for context in (longest, 0):  # 0: no limit
        assert vectors(within(context), notes).shape == (12, 6)
    shorter = within(longest - 1)
    message = f"context of {longest - 1} tokens, but that of request {place} takes {longest}; try a prompt"
    with pytest.raises(ValueError, match=f"embed: a prompt must fit the model's {message}"):
        vectors(shorter, notes)
    assert vectors(shorter, notes, indices=[lengths.index(min(lengths))]).shape == (1, 6)
    with pytest.raises(ValueError, match="plan_decoder: a sequence must fit the model's context of"):
        shorter(shorter.prompt.pack(tokenized, everything))


UNTRAINED = r"embed: vectors are cut to dim=\d, but were trained for no nested_dims"


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("dim", [1, 4, 6])
def test_dim_is_the_first_numbers_normalised_anew(dim, dtype, tiny, notes):
    model = tiny.double() if dtype == "fp64" else tiny
    model.nested_dims = (1, 4)
    whole = vectors(model, notes, dtype=dtype)
    expected = torch.nn.functional.normalize(whole[:, :dim], dim=1)
    found = vectors(model, notes, dtype=dtype, dim=dim)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(truncated(whole, dim), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(model.embed(notes, dtype=dtype, dim=dim), found, rtol=0, atol=1e-6)


def test_dim_with_a_pooling_function(tiny, notes):
    tiny.nested_dims = (3,)
    tiny.pooling = lambda states, lengths: torch.stack([part[-1] for part in states.split(lengths.tolist())])
    whole = vectors(tiny, notes, dtype="fp32")
    torch.testing.assert_close(vectors(tiny, notes, dtype="fp32", dim=3), truncated(whole, 3))


def test_a_dim_that_was_not_trained_is_allowed_with_a_warning(tiny, notes):
    with pytest.warns(UserWarning, match=UNTRAINED):
        assert vectors(tiny, notes, dim=3).shape == (12, 3)
    tiny.nested_dims = (2,)
    with pytest.warns(
        UserWarning, match="dim=3, but were trained for 2 nested_dims: they may find much less"
    ):
        vectors(tiny, notes, dim=3)
    with pytest.warns(UserWarning, match=UNTRAINED):  # states are not what was nested
        assert vectors(tiny, notes, dim=2, projected=False).shape == (12, 2)


@pytest.mark.filterwarnings("ignore:embed. vectors are cut")
def test_dims_that_are_not_there(tiny, notes):
    with pytest.raises(ValueError, match="embed: dim must be at most 6, the vectors' width, but is 7"):
        vectors(tiny, notes, dim=7)
    with pytest.raises(ValueError, match="dim must be at least 0, but is -1"):
        vectors(tiny, notes, dim=-1)
    for dim in (0, 4, -1):
        with pytest.raises(ValueError, match=rf"truncated: dim must be in \[1, 3\], .* but is {dim}"):
            truncated(torch.ones(2, 3), dim)
    assert truncated(torch.zeros(2, 3), 2).abs().max() == 0
