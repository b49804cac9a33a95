import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from notellm import _core
from notellm.data.notes import Notes
from notellm.embedding import embed, truncated
from notellm.errors import DataError
from notellm.int8 import from_int8, to_int8
from notellm.models.notellm import NoteLLM
from notellm.prompts import explain_prompt
from notellm.vector_files import check_ids, load_embeddings, save_embeddings
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


@pytest.mark.parametrize("name", ["e.safetensors", "e.npy"])
def test_files_hold_ids_and_rows(name, tmp_path):
    save_embeddings(tmp_path / name, ["a", "b b", "ü"], torch.arange(6.0).view(3, 2))
    ids, rows = load_embeddings(tmp_path / name)
    assert ids == ["a", "b b", "ü"]
    np.testing.assert_array_equal(rows.numpy(), np.arange(6.0).reshape(3, 2))


ODD_IDS = ["a", "", " a ", "a\rb", "b\r", "u\u2028l\x85", "\ufeff", "\U0001f375", "-1", "a\tb", "x" * 5000]


@pytest.mark.parametrize("ids", [ODD_IDS, ODD_IDS[::-1], ["\ufeffa", "b"], [""], []])
@pytest.mark.parametrize("name", ["e.safetensors", "e.npy"])
def test_ids_of_any_form_come_back(name, ids, tmp_path):
    if name == "e.safetensors":
        ids = [*ids, "line\nbreak", "\n", "nul\0"]
    save_embeddings(tmp_path / name, ids, torch.zeros(len(ids), 2))
    assert load_embeddings(tmp_path / name)[0] == ids


def test_ids_are_no_part_of_the_header(tmp_path):
    """A header has room for 100 MB at most; that of a million ids of 100 characters had too many."""
    ids = [f"{i:0100d}" for i in range(1_000_000)]
    save_embeddings(tmp_path / "e.safetensors", ids, torch.zeros(len(ids), 1))
    with (tmp_path / "e.safetensors").open("rb") as file:
        assert int.from_bytes(file.read(8), "little") < 1000
    assert load_embeddings(tmp_path / "e.safetensors")[0] == ids


def test_an_editor_s_mark_is_no_part_of_an_id(tmp_path):
    save_embeddings(tmp_path / "e.npy", ["a", "b"], torch.zeros(2, 2))
    (tmp_path / "e.ids.txt").write_bytes(b"\xef\xbb\xbfa\nb")
    assert load_embeddings(tmp_path / "e.npy")[0] == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        (
            "e.npy",
            "a\nz",
            r"ids in a text file must be without line breaks, but number 1 is 'a\\nz'; try .safetensors",
        ),
        ("e.npy", "\udc80", "ids must be Unicode text, but number 1 is"),
        ("e.safetensors", "\udc80", "ids must be Unicode text, but number 1 is"),
        ("e.txt", "a", "must end in .safetensors or .npy, but is e.txt"),
    ],
)
def test_ids_that_cannot_be_written_are_refused_before_anything_is(name, row, message, tmp_path):
    for check in (check_ids, lambda path, ids: save_embeddings(path, ids, torch.zeros(2, 2))):
        with pytest.raises(ValueError, match=message):
            check(tmp_path / name, ["b", row])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["e.safetensors", "e.npy"])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (torch.tensor([[1.0, float("nan")]]), "vectors must be finite, but that of row 0 is not"),
        (torch.tensor([[float("inf"), 1.0]]), "vectors must be finite, but that of row 0 is not"),
        (torch.ones(1), r"vectors must be a matrix of floating-point numbers, but are \(1,\) float32"),
        (torch.ones(1, 2, 2), "vectors must be a matrix of floating-point numbers"),
        (torch.ones(1, 2, dtype=torch.int64), "vectors must be a matrix of floating-point numbers"),
    ],
)
def test_vectors_that_nobody_could_read_are_refused_and_the_old_file_stays(name, wrong, message, tmp_path):
    save_embeddings(tmp_path / name, ["old"], torch.ones(1, 3))
    with pytest.raises(ValueError, match=f"save_embeddings: {message}"):
        save_embeddings(tmp_path / name, ["new"], wrong)
    assert load_embeddings(tmp_path / name)[0] == ["old"]


@pytest.mark.parametrize("name", ["e.safetensors", "e.npy"])
@pytest.mark.parametrize(
    "given", [torch.eye(2).bfloat16(), torch.eye(2, requires_grad=True), np.eye(2), torch.eye(4)[:2, ::3]]
)
def test_vectors_of_any_dtype_or_with_a_graph_are_saved(name, given, tmp_path):
    save_embeddings(tmp_path / name, ["a", "b"], given)
    np.testing.assert_array_equal(
        load_embeddings(tmp_path / name)[1].float().numpy(), torch.as_tensor(given).detach().float().numpy()
    )


@pytest.mark.parametrize("rows", [300, 5000])
def test_a_full_disk_leaves_the_old_vectors_with_their_ids(rows, tmp_path, file_size_limit):
    """The ids of the fewer rows fit, those of the more do not."""
    path = tmp_path / "e.npy"
    save_embeddings(path, ["old"], torch.ones(1, 2))
    with (
        file_size_limit(5000),
        pytest.raises(OSError, match=r"e\.npy: must be written, but: .*; nothing is half-written; free some"),
    ):
        save_embeddings(path, [f"n{row}" for row in range(rows)], torch.ones(rows, 15))
    assert load_embeddings(path)[0] == ["old"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["e.ids.txt", "e.npy"]


def test_of_links_to_vectors_what_they_lead_to_is_written(tmp_path):
    (tmp_path / "far").mkdir()
    for name in ("e.npy", "e.ids.txt"):
        (tmp_path / name).symlink_to(f"far/{name}")
    for ids in (["a"], ["b"]):
        save_embeddings(tmp_path / "e.npy", ids, torch.ones(1, 2))
        assert load_embeddings(tmp_path / "e.npy")[0] == ids
    assert load_embeddings(tmp_path / "far" / "e.npy")[0] == ["b"]
    assert all((tmp_path / name).is_symlink() for name in ("e.npy", "e.ids.txt"))


def test_vectors_stay_where_their_ids_have_no_place(tmp_path):
    save_embeddings(tmp_path / "e.npy", ["a"], torch.ones(1, 2))
    (tmp_path / "e.ids.txt").unlink()
    (tmp_path / "e.ids.txt").mkdir()
    before = (tmp_path / "e.npy").read_bytes()
    with pytest.raises(ValueError, match=r"e\.ids\.txt: must be a file, but is a folder; try another name"):
        save_embeddings(tmp_path / "e.npy", ["b"], torch.zeros(1, 2))
    assert (tmp_path / "e.npy").read_bytes() == before


def test_ids_that_are_no_text_are_a_type_error(tmp_path):
    with pytest.raises(TypeError, match="save_embeddings: ids must be text, but number 1 is 5"):
        save_embeddings(tmp_path / "e.npy", ["a", 5], torch.eye(2))


@pytest.mark.parametrize(
    "tensors",
    [
        {"ids": torch.tensor([97, 98], dtype=torch.uint8)},
        {"ids": torch.tensor([97, 98], dtype=torch.uint8), "id_offsets": torch.tensor([0, 1, 3])},
        {"ids": torch.tensor([97, 98], dtype=torch.uint8), "id_offsets": torch.tensor([0, 2, 1, 2])},
        {"ids": torch.tensor([97, 255], dtype=torch.uint8), "id_offsets": torch.tensor([0, 1, 2])},
        {"ids": torch.tensor([97, 98]), "id_offsets": torch.tensor([0, 1, 2])},
    ],
)
def test_damaged_ids_are_refused(tensors, tmp_path):
    save_file({"embeddings": torch.ones(2, 3)} | tensors, tmp_path / "e.safetensors")
    with pytest.raises(DataError, match="must be a file of save_embeddings"):
        load_embeddings(tmp_path / "e.safetensors")


def test_bad_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="must end in .safetensors or .npy"):
        save_embeddings(tmp_path / "e.txt", [], torch.zeros(0, 2))
    with pytest.raises(ValueError, match="as many, but are 1 and 2"):
        save_embeddings(tmp_path / "e.npy", ["a"], torch.zeros(2, 2))
    (tmp_path / "e.safetensors").write_bytes(b"junk")
    with pytest.raises(DataError, match="must be a file of save_embeddings"):
        load_embeddings(tmp_path / "e.safetensors")


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


def test_int8_files(tmp_path):
    torch.manual_seed(0)
    rows = torch.randn(100, 7)
    rows[3] = 0
    save_embeddings(tmp_path / "e.safetensors", [f"n{i}" for i in range(100)], rows, storage="int8")
    ids, found = load_embeddings(tmp_path / "e.safetensors")
    assert ids[99] == "n99"
    assert found.dtype == torch.float32
    assert torch.equal(found, from_int8(*to_int8(rows)))
    assert ((found - rows).abs() <= rows.abs().amax(1, keepdim=True) / 254 * (1 + 1e-5)).all()
    values, scales = to_int8(torch.tensor([[127.0, 0.5, 1.5, 2.5, -0.5]]))
    assert (values.tolist(), scales.tolist()) == ([[127, 0, 2, 2, 0]], [1.0])  # the even one of two
    save_embeddings(tmp_path / "none.safetensors", [], rows[:0], storage="int8")
    assert load_embeddings(tmp_path / "none.safetensors")[1].shape == (0, 7)


def test_int8_files_that_cannot_be(tmp_path):
    with pytest.raises(ValueError, match="int8 must go to a .safetensors file, but this is e.npy"):
        save_embeddings(tmp_path / "e.npy", ["a"], torch.ones(1, 2), storage="int8")
    with pytest.raises(ValueError, match="storage must be fp32 or int8, but is 'int4'"):
        save_embeddings(tmp_path / "e.safetensors", ["a"], torch.ones(1, 2), storage="int4")
    path = tmp_path / "e.safetensors"
    for scales in (None, torch.ones(2), torch.tensor([float("nan")]), torch.ones(1).double()):
        save_embeddings(path, ["a"], torch.ones(1, 2), storage="int8")
        tensors = {name: value for name, value in load_file(path).items() if name != "scales"}
        save_file(tensors | ({} if scales is None else {"scales": scales}), path)
        with pytest.raises(DataError, match="e.safetensors: "):
            load_embeddings(path)
