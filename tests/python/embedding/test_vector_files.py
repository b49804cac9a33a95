import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from notellm.errors import DataError
from notellm.int8 import from_int8, to_int8
from notellm.vector_files import check_ids, load_embeddings, save_embeddings


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
