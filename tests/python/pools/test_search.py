"""Ranks and neighbours in folders of shards, against the same in one tensor."""

import pytest
import torch
from safetensors.torch import save_file

from notellm import DataError, Embeddings, NeighbourIndex, _core, neighbours, target_ranks
from notellm.int8 import from_int8, to_int8
from notellm.pools import embeddings
from notellm.pools.columns import write_shard
from notellm.pools.shards import Plan, Shards
from notellm.processes import Processes
from processes import run_in_processes
from shared_pool import saved as saved_by
from shared_pool import search_and_save


def saved(folder, vectors, rows_per_shard, storage="fp32"):
    """The vectors as a folder of shards."""
    shards = Shards.begin(folder, Plan("embeddings", {}, "", len(vectors), rows_per_shard))
    for index in range(len(shards.plan)):
        span = shards.plan.span(index)
        names = [f"n{row}" for row in span]
        rows = vectors[span.start : span.stop]
        shards.make(index, lambda path, r=rows, n=names: write_shard(path, n, r, storage=storage))
    assert shards.finish()
    return Embeddings.open(folder)


def problem(seed, dtype=torch.float32, rows=41, queries=7):
    """Vectors of few distinct rows, so that ties between shards are the rule."""
    torch.manual_seed(seed)
    kinds = torch.randn(6, 5).to(dtype)
    pool = kinds[torch.randint(6, (rows,))]
    pool[::3] = torch.randn(len(pool[::3]), 5).to(dtype)
    own = torch.randint(rows, (queries,))
    targets = (own + 1 + torch.randint(rows - 1, (queries,))) % rows
    return pool, own, targets


@pytest.mark.parametrize("rows_per_shard", [1, 7, 41, 100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_equals_one_tensor(tmp_path, dtype, rows_per_shard):
    pool, own, targets = problem(rows_per_shard, dtype)
    shards = saved(tmp_path / "pool", pool, rows_per_shard)
    for exclude in (None, own, torch.stack([own, (targets + 1) % 41, torch.full_like(own, -1)], 1)):
        for k in (1, 5, 50):
            expected = neighbours(pool[own], pool, k, exclude=exclude)
            found = neighbours(pool[own], shards, k, exclude=exclude)
            assert torch.equal(found.scores, expected.scores)
            assert torch.equal(found.indices, expected.indices)
        expected = target_ranks(pool[own], pool, targets, exclude=exclude)
        found = target_ranks(pool[own], shards, targets, exclude=exclude)
        assert torch.equal(found.greater, expected.greater)
        assert torch.equal(found.equal, expected.equal)


@pytest.mark.parametrize("rows_per_block", [1, 4, 100])
def test_int8_equals_its_vectors_in_one_tensor(tmp_path, rows_per_block, monkeypatch):
    pool, own, targets = problem(rows_per_block)
    monkeypatch.setattr(embeddings, "_BLOCK", rows_per_block)
    shards = saved(tmp_path / "pool", pool, 9, storage="int8")
    rounded = from_int8(*to_int8(pool))
    expected = neighbours(rounded[own], rounded, 5, exclude=own)
    found = neighbours(rounded[own], shards, 5, exclude=own)
    assert torch.equal(found.scores, expected.scores)
    assert torch.equal(found.indices, expected.indices)
    expected = target_ranks(rounded[own], rounded, targets, exclude=own)
    found = target_ranks(rounded[own], shards, targets, exclude=own)
    assert torch.equal(found.greater, expected.greater)
    assert torch.equal(found.equal, expected.equal)
    if _core.retrieval.faiss_version():
        index = NeighbourIndex.from_blocks(shards.blocks, "Flat")
        assert torch.equal(index.stored(torch.arange(41)), rounded)
        assert index.ids_of(torch.tensor([[40]])) == [["n40"]]


def test_progress_counts_all_shards(tmp_path):
    pool, own, targets = problem(3, queries=10)
    shards, told = saved(tmp_path / "pool", pool, 9), []
    found = target_ranks(pool[own], shards, targets, exclude=own, progress=lambda *at: told.append(at))
    expected = target_ranks(pool[own], pool, targets, exclude=own)
    assert torch.equal(found.greater, expected.greater)
    assert torch.equal(found.equal, expected.equal)
    assert told[-1] == (410, 410)
    assert told == sorted(told)


def test_several_targets_are_ranked_as_in_one_tensor(tmp_path):
    pool, own, targets = problem(5)
    several = torch.stack([targets, (targets + 3) % 41, torch.full_like(own, -1)], 1)
    found = target_ranks(pool[own], saved(tmp_path / "pool", pool, 9), several)
    expected = target_ranks(pool[own], pool, several)
    assert torch.equal(found.greater, expected.greater)
    assert torch.equal(found.equal, expected.equal)


@pytest.mark.parametrize("shape", [(0,), (0, 2), (7, 0)])
def test_no_targets_have_no_ranks(tmp_path, shape):
    pool, own, _ = problem(5)
    queries, targets = pool[own][: shape[0]], torch.zeros(shape, dtype=torch.int64)
    for within in (pool, saved(tmp_path / "pool", pool, 9)):
        found = target_ranks(queries, within, targets, exclude=targets)
        assert found.greater.shape == found.equal.shape == shape


@pytest.mark.skipif(not _core.has_faiss, reason="built without FAISS")
def test_an_index_takes_all_shards(tmp_path):
    pool, own, _ = problem(4)
    shards = saved(tmp_path / "pool", pool, 9)
    expected = neighbours(pool[own], pool, 3, index="Flat")
    assert torch.equal(neighbours(pool[own], shards, 3, index="Flat").indices, expected.indices)


SEVERAL = torch.stack([torch.arange(7) - 1, torch.arange(7)], 1)  # of query 0 one is missing


@pytest.mark.parametrize("within", ["pool", "shards"])
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda q, p: neighbours(q, p, 2, exclude=torch.full((7,), 41)),
            r"exclude must be in \[0, 41\) or -1",
        ),
        (
            lambda q, p: neighbours(q, p, 2, exclude=torch.full((7,), -2)),
            r"exclude must be in \[0, 41\) or -1",
        ),
        (lambda q, p: neighbours(q, p, 2, exclude=torch.zeros(7)), "exclude must be int64"),
        (lambda q, p: neighbours(q, p, 0), "k must be"),
        (lambda q, p: neighbours(q[:, :2], p, 2), "same width"),
        (
            lambda q, p: target_ranks(q, p, torch.full((7,), 41)),
            r"targets must be in \[0, 41\), but that of query 0 is 41",
        ),
        (
            lambda q, p: target_ranks(q, p, torch.full((7,), -1)),
            r"targets must be in \[0, 41\), but that of query 0 is -1",
        ),
        (
            lambda q, p: target_ranks(q, p, SEVERAL.masked_fill(SEVERAL == 5, 41)),
            r"targets must be in \[0, 41\) or -1, but that of query 5 in column 1 is 41",
        ),
        (
            lambda q, p: target_ranks(q, p, SEVERAL, exclude=torch.arange(7) - 1),
            r"the target of query 1 in column 0 must not be excluded, but note 0 is",
        ),
        (lambda q, p: target_ranks(q, p, torch.zeros(6, dtype=torch.int64)), "targets must"),
        (lambda q, p: target_ranks(q, p, torch.zeros(7)), "targets must"),
        (
            lambda q, p: target_ranks(q, p, torch.arange(7), exclude=torch.arange(7)),
            "target of query 0 must not be excluded, but note 0 is",
        ),
        (
            lambda q, p: target_ranks(q, p, torch.arange(7), exclude=torch.zeros(3, dtype=torch.int64)),
            "exclude must be int64 of shape",
        ),
    ],
)
def test_refuses_what_one_tensor_refuses(tmp_path, call, message, within):
    pool, own, _ = problem(5)
    shards = saved(tmp_path / "pool", pool, 9)
    with pytest.raises(ValueError, match=message):
        call(pool[own], pool if within == "pool" else shards)


def test_a_damaged_shard_is_named(tmp_path):
    pool, own, _ = problem(6)
    shards = saved(tmp_path / "pool", pool, 9)
    path = shards.shards[2].path
    content = bytearray(path.read_bytes())
    content[-400] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"embeddings-00002-of-00005\.arrow: must have the checksum"):
        neighbours(pool[own], shards, 2)


@pytest.mark.parametrize("rows_per_shard", [10, 21])  # five shards, or fewer than processes
def test_processes_share_the_shards_and_find_what_one_finds(tmp_path, rows_per_shard):
    pool, own, targets = problem(3)
    shards = saved(tmp_path / "pool", pool, rows_per_shard)
    several = torch.stack([targets, torch.where(own > 20, (targets + 1) % 41, -1)], 1)
    inputs = {"queries": pool[own], "own": own, "targets": targets, "several": several}
    save_file(inputs, tmp_path / "inputs.safetensors")
    folders = (str(path) for path in (shards.path, tmp_path / "inputs.safetensors", tmp_path))
    run_in_processes(3, tmp_path, search_and_save, *folders)
    ranks = target_ranks(pool[own], pool, targets, exclude=own)
    nearest = neighbours(pool[own], pool, 9, exclude=own)
    of_several = target_ranks(pool[own], pool, several).greater
    expected = ranks._asdict() | nearest._asdict() | {"of_several": of_several}
    for rank in range(3):
        found = saved_by(tmp_path, rank)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert torch.equal(found[name], value), (rank, name)


def test_processes_cannot_share_a_tensor():
    pool, own, targets = problem(3)
    for call in (
        lambda: target_ranks(pool[own], pool, targets, processes=Processes(0, 2)),
        lambda: neighbours(pool[own], pool, 3, processes=Processes(0, 2)),
    ):
        with pytest.raises(
            ValueError, match="must share a pool of Embeddings in an exact search, but there are 2"
        ):
            call()
