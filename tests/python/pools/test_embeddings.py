"""Embeddings in a folder of shards: mapped, not copied, and refused where they are damaged."""

import json

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
import torch

from notellm import DataError, Embeddings, load_embeddings, save_embeddings
from notellm.int8 import from_int8, to_int8
from notellm.pools import embeddings
from notellm.pools.columns import write_shard
from notellm.pools.shards import MANIFEST, Plan, Shards

IDS = ["a", "tab\there", "", "line\nbreak", "ü\ufeff", "f", "g"]


def save(folder, vectors, ids=IDS, rows_per_shard=3, storage="fp32"):
    shards = Shards.begin(folder, Plan("embeddings", {"model": "m"}, "", len(ids), rows_per_shard))
    for index in range(len(shards.plan)):
        span = shards.plan.span(index)
        own = slice(span.start, span.stop)
        shards.make(index, lambda path, own=own: write_shard(path, ids[own], vectors[own], storage=storage))
    assert shards.finish()
    return folder


@pytest.fixture
def vectors():
    torch.manual_seed(0)
    return torch.randn(7, 5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_gives_back_what_was_saved(tmp_path, vectors, dtype):
    vectors = vectors.to(dtype)
    found = Embeddings.open(save(tmp_path / "v", vectors))
    assert (len(found), found.width, found.dtype, found.made_by) == (7, 5, dtype, {"model": "m"})
    assert [(len(shard), shard.first) for shard in found.shards] == [(3, 0), (3, 3), (1, 6)]
    assert list(found.ids) == [found.ids[row] for row in range(7)] == IDS
    assert (found.ids[-1], found.ids[1:3], len(found.ids)) == ("g", IDS[1:3], 7)
    for begin in range(8):
        for end in range(begin, 8):
            assert torch.equal(found.rows(begin, end), vectors[begin:end])
    assert torch.equal(found.take([6, 0, 0, 4]), vectors[[6, 0, 0, 4]])
    assert found.find(["g", "", "a"]) == [6, 2, 0]
    names, rows = zip(*found, strict=True)
    assert list(names) == IDS
    assert torch.equal(torch.stack(rows), vectors)
    found.verify()


def test_int8_gives_back_what_rounding_leaves(tmp_path, vectors, monkeypatch):
    rounded = from_int8(*to_int8(vectors))
    assert ((rounded - vectors).abs() <= vectors.abs().amax(1, keepdim=True) / 254 * (1 + 1e-5)).all()
    monkeypatch.setattr(embeddings, "_BLOCK", 2)  # so that a shard is several blocks
    found = Embeddings.open(save(tmp_path / "v", vectors, storage="int8"))
    assert (len(found), found.width, found.dtype, found.storage) == (7, 5, torch.float32, "int8")
    for begin in range(8):
        for end in range(begin, 8):
            assert torch.equal(found.rows(begin, end), rounded[begin:end])
    assert torch.equal(found.take([6, 0, 0, 4]), rounded[[6, 0, 0, 4]])
    for _ in range(2):  # each time anew
        names, blocks = zip(*found.blocks, strict=True)
        assert [len(rows) for rows in blocks] == [2, 1, 2, 1, 1]
        assert torch.equal(torch.cat(blocks), rounded)
        assert [name.as_py() for part in names for name in part] == IDS
    assert torch.equal(torch.stack([row for _, row in found]), rounded)
    found.verify()


def test_int8_takes_a_byte_a_number(tmp_path):
    pool, ids = torch.nn.functional.normalize(torch.randn(4096, 64), dim=1), [""] * 4096
    sizes = [
        next(save(tmp_path / kind, pool, ids, 4096, storage=kind).glob("*.arrow")).stat().st_size
        for kind in ("fp32", "int8")
    ]
    assert sizes[0] - sizes[1] == pytest.approx(4096 * (64 * 3 - 4), abs=2000)


def test_an_empty_pool_in_int8(tmp_path, vectors):
    found = Embeddings.open(save(tmp_path / "v", vectors[:0], ids=[], storage="int8"))
    assert found.vectors.shape == found.rows(0, 0).shape == (0, 5)
    assert [len(rows) for _, rows in found.blocks] == [0]


def test_a_tilde_is_the_home_folder(tmp_path, vectors, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    save("~/folder", vectors)
    save_embeddings("~/one.npy", ["a"], vectors[:1])
    assert len(load_embeddings("~/one.npy")[0]) == 1
    assert Embeddings.open("~/folder").path == tmp_path / "folder"
    assert {path.name for path in tmp_path.iterdir()} >= {"folder", "one.npy", "one.ids.txt"}
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize("storage", ["fp32", "int8"])
def test_what_is_not_finite_is_not_kept(tmp_path, storage):
    with pytest.raises(ValueError, match=r"vectors must be finite, but that of 'b' \(row 1\) is not"):
        write_shard(
            tmp_path / "s.arrow", ["a", "b"], torch.tensor([[1.0, 2], [1, torch.nan]]), storage=storage
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scale", [-1.0, float("nan"), float("inf"), None])
def test_a_scale_that_is_none_is_refused(tmp_path, scale):
    columns = {
        "id": pa.array(["a", "b"], pa.large_string()),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array([1] * 10, pa.int8()), 5),
        "scale": pa.array([0.5, scale], pa.float32()),
    }
    shards = Shards.begin(tmp_path / "v", Plan("embeddings", {}, "", 2, 2))
    shards.make(0, lambda path: _table(columns)(path) or {"width": 5, "dtype": "int8"})
    assert shards.finish()
    with pytest.raises(DataError, match="a scale is missing, negative or not finite"):
        _ = Embeddings.open(tmp_path / "v").vectors


def test_one_shard_is_one_tensor(tmp_path, vectors):
    found = Embeddings.open(save(tmp_path / "v", vectors, rows_per_shard=7))
    assert torch.equal(found.vectors, vectors)
    several = Embeddings.open(save(tmp_path / "w", vectors))
    with pytest.raises(ValueError, match="there must be one shard, but are 3; try .shards"):
        _ = several.vectors


def test_an_empty_pool_has_an_empty_shard(tmp_path, vectors):
    found = Embeddings.open(save(tmp_path / "v", vectors[:0], ids=[]))
    assert (len(found), found.width, list(found.ids), list(found)) == (0, 5, [], [])
    assert found.vectors.shape == found.rows(0, 0).shape == (0, 5)


def test_is_mapped_and_not_copied(tmp_path):
    vectors = torch.randn(1 << 16, 64)  # 16 MiB
    folder = save(tmp_path / "v", vectors, [str(row) for row in range(1 << 16)], rows_per_shard=1 << 16)
    before, had = pa.total_allocated_bytes(), _own_kib()
    found = Embeddings.open(folder, verify=False)
    assert torch.equal(found.rows(5, 9), vectors[5:9])
    assert found.ids[1000] == "1000"
    assert pa.total_allocated_bytes() - before < 1 << 20
    assert _own_kib() - had < 8 << 10  # KiB; a copy would be 16 MiB


def _own_kib():
    """Memory of this process that is not of files."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon"))


def test_writing_into_a_tensor_never_reaches_the_file(tmp_path, vectors):
    folder = save(tmp_path / "v", vectors, rows_per_shard=7)
    Embeddings.open(folder).vectors.zero_()
    assert torch.equal(Embeddings.open(folder).vectors, vectors)


def test_other_programs_read_a_shard(tmp_path, vectors):
    folder = save(tmp_path / "v", vectors)
    table = pyarrow.feather.read_table(folder / "embeddings-00000-of-00003.arrow")
    assert table.column("id").to_pylist() == IDS[:3]
    assert table.schema.field("vector").type == pa.list_(pa.float32(), 5)
    assert torch.equal(torch.tensor(table.column("vector").to_pylist()), vectors[:3])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: e.rows(-1, 2), "must have 0 <= begin <= end <= 7, but are -1 and 2"),
        (lambda e: e.rows(3, 2), "but are 3 and 2"),
        (lambda e: e.rows(3, 8), "but are 3 and 8"),
        (lambda e: e.take([0, 7]), r"rows must be in \[0, 7\), but one is 7"),
        (lambda e: e.take([-1]), "but one is -1"),
        (lambda e: e.ids[7], "out of range"),
    ],
)
def test_rows_that_are_not_there(tmp_path, vectors, call, message):
    with pytest.raises(IndexError, match=message):
        call(Embeddings.open(save(tmp_path / "v", vectors)))


def test_an_unknown_id_is_named(tmp_path, vectors):
    with pytest.raises(DataError, match="v: must hold the note 'x', but does not"):
        Embeddings.open(save(tmp_path / "v", vectors)).find(["a", "x"])


def test_an_id_that_is_no_text_is_refused(tmp_path, vectors):
    with pytest.raises(ValueError, match="ids must be Unicode text"):
        write_shard(tmp_path / "s.arrow", ["\ud800"], vectors[:1])
    assert list(tmp_path.iterdir()) == []


def _cut(path):
    path.write_bytes(path.read_bytes()[:-8])


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_flip, "must have the checksum [0-9a-f]{64}, but has [0-9a-f]{64}: it is damaged"),
        (_cut, "must have [0-9,]+ bytes, but has"),
        (lambda path: path.unlink(), "must have [0-9,]+ bytes, but is not there"),
    ],
)
def test_a_damaged_shard_is_named_when_it_is_used(tmp_path, vectors, damage, message):
    found = Embeddings.open(save(tmp_path / "v", vectors))
    damage(found.shards[1].path)
    assert torch.equal(found.rows(0, 3), vectors[:3])  # another shard
    for use in (lambda: found.rows(2, 4), lambda: found.ids[3], found.verify, lambda: found.find(["g"])):
        with pytest.raises(DataError, match=rf"embeddings-00001-of-00003\.arrow: {message}"):
            use()


def _parquet(path):
    pyarrow.parquet.write_table(pa.table({"id": ["a"]}), path)


def _table(columns, **options):
    def write(path):
        table = pa.table(columns)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema, **options) as file:
            file.write_table(table)

    return write


_RIGHT = {
    "id": pa.array(["n"] * 999, pa.large_string()),
    "vector": pa.FixedSizeListArray.from_arrays(pa.array([0.5] * 4995, pa.float32()), 5),
}
_GAPS = pa.array([None] * 999, pa.list_(pa.float32(), 5))


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (_parquet, "Not an Arrow file"),
        (_table({"id": pa.array(["n"], pa.large_string())}), "id: large_string"),
        (_table(_RIGHT | {"vector": _GAPS}), "or empty ones"),
        (_table({name: column[:9] for name, column in _RIGHT.items()}), "it has 9 rows"),
        (
            _table(_RIGHT, options=pa.ipc.IpcWriteOptions(compression="zstd")),
            "its vectors are compressed",
        ),
        (
            lambda path: path.write_bytes(b""),
            "of 999 ids and vectors of 5 float32, but: cannot mmap an empty",
        ),
    ],
)
def test_a_shard_of_another_form_is_named(tmp_path, write, message):
    shards = Shards.begin(tmp_path / "v", Plan("embeddings", {}, "", 999, 999))
    shards.make(0, lambda path: write(path) or {"width": 5, "dtype": "float32"})
    assert shards.finish()
    with pytest.raises(
        DataError, match=rf"embeddings-00000-of-00001\.arrow: must be an Arrow file.*{message}"
    ):
        _ = Embeddings.open(tmp_path / "v").vectors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 0}, "width: must be at least 1, but is 0"),
        ({"width": 2**31}, "width: must"),
        ({"dtype": "int4"}, "dtype: must be one of float16, float32, float64, int8, but is 'int4'"),
        ({"dtype": "int8"}, "must be an Arrow file of 3 ids and vectors of 5 int8"),
        ({"dtype": "float64"}, "must be an Arrow file"),
        ({"width": 4}, "must be an Arrow file"),
    ],
)
def test_a_manifest_that_does_not_fit_is_one_message(tmp_path, vectors, change, message):
    path = save(tmp_path / "v", vectors) / MANIFEST
    whole = json.loads(path.read_text())
    path.write_text(json.dumps(whole | {"about": whole["about"] | change}))
    with pytest.raises(DataError, match=message):
        Embeddings.open(tmp_path / "v").rows(0, 7)


def test_an_absent_folder_is_one_message(tmp_path):
    with pytest.raises(DataError, match=r"manifest\.json: must be a JSON file, but is not there"):
        Embeddings.open(tmp_path / "v")
