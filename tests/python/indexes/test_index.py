"""FAISS indexes that are filled in blocks and kept in files."""

import math
import threading

import numpy as np
import pytest
import torch

from notellm import DataError, _core
from notellm.indexes.blocks import draw
from notellm.indexes.index import NeighbourIndex
from notellm.retrieval import neighbours

needs_faiss = pytest.mark.skipif(not _core.has_faiss, reason="built without FAISS")
pytestmark = needs_faiss

FACTORIES = [
    "Flat",
    "SQ8",
    "PQ4x4",
    "HNSW8",
    "IVF8,Flat",
    "IVF8,SQ8",
    "IVF8_HNSW8,PQ4x4",
    "OPQ4,PQ4",
    "PCA8,SQ8",
]
FACTORIES += ["RR16,PQ4x4fs", "L2norm,IVF8,PQ4x4,RFlat"]
"""One of every kind."""

IDS = ["", "vim", "a\nb\t\r", "名前", "\ufeffx", "\0", "🎈" * 50, *(f"n{i}" for i in range(693))]
"""Of any text."""


@pytest.fixture(scope="module")
def pool():
    return torch.randn(700, 16, generator=torch.Generator().manual_seed(0))


def made(pool, factory, size=700):
    """An index whose rows come in blocks of a size."""
    index = NeighbourIndex.build(16, factory, pool[:500], seed=7)
    for first in range(0, 700, size):
        index.add(pool[first : first + size], IDS[first : first + size])
    return index


def test_flat_equals_the_exact_search(pool):
    index = made(pool, "Flat")
    own = torch.arange(60)
    found, exact = index.search(pool[:60], 9, exclude=own), neighbours(pool[:60], pool, 9, exclude=own)
    assert found.indices.equal(exact.indices)
    assert torch.allclose(found.scores, exact.scores, atol=1e-5)
    assert found.scores.dtype == torch.float64
    again = index.search(pool[:60], 9, exclude=own, rescore=pool, candidates=20)
    assert again.indices.equal(exact.indices)
    assert again.scores.equal(exact.scores)


@pytest.mark.parametrize("factory", FACTORIES)
def test_a_file_keeps_everything(pool, factory, tmp_path, capfd):
    index = made(pool, factory)
    index.save(tmp_path / "a.index")
    again = NeighbourIndex.load(tmp_path / "a.index")
    again.save(tmp_path / "b.index")
    assert (tmp_path / "a.index").read_bytes() == (tmp_path / "b.index").read_bytes()
    assert (len(again), again.width, again.factory, again.training) == (700, 16, factory, index.training)
    assert again.training[:2] == (500, 7)
    found, before = again.search(pool[:40], 5), index.search(pool[:40], 5)
    assert found.indices.equal(before.indices)
    assert found.scores.equal(before.scores)
    assert again.ids_of(torch.arange(700)[None])[0] == IDS
    assert capfd.readouterr() == ("", "")  # FAISS likes to warn on its own


@pytest.fixture
def one_thread():
    """Several threads put HNSW's links in the order in which they come."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("factory", FACTORIES)
def test_blocks_of_any_size_make_the_same_index(pool, factory, one_thread):
    whole, pieces = made(pool, factory), made(pool, factory, size=9)
    found, expected = pieces.search(pool[:40], 5), whole.search(pool[:40], 5)
    assert found.indices.equal(expected.indices)
    assert found.scores.equal(expected.scores)


def test_many_rows_come_to_faiss_in_the_same_blocks():
    """More rows than FAISS gets at a time, with the first search only when all are there."""
    pool = torch.randn(33_000, 8, generator=torch.Generator().manual_seed(1))
    results = []
    for size in (33_000, 16_384, 5_000, 20_001):
        index = NeighbourIndex.build(8, "IVF16,SQ8", pool[:2000])
        for first in range(0, len(pool), size):
            index.add(pool[first : first + size])
        assert len(index) == 33_000
        results.append(index.search(pool[::100], 4))
    assert all(found.indices.equal(results[0].indices) for found in results)
    assert all(found.scores.equal(results[0].scores) for found in results)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_rows_and_queries_may_be_of_any_floating_dtype(pool, dtype):
    rows = pool.to(dtype)
    index = NeighbourIndex.build(16, "IVF4,Flat", rows)
    index.add(rows.T.contiguous().T)
    index.add(np.asarray(pool[:3]))
    index.set_parameters("nprobe=4")
    both = torch.cat([rows, rows[:3]])
    found, exact = index.search(rows[:20], 3, rescore=both), neighbours(rows[:20], both, 3)
    assert found.scores[:, 0].equal(exact.scores[:, 0])


def test_what_is_stored_comes_back(pool):
    rows = torch.tensor([699, 0, 3, 3])
    for factory in ("Flat", "HNSW8", "IVF8,Flat"):
        assert made(pool, factory).stored(rows).equal(pool[rows])
    assert (made(pool, "OPQ4,IVF8,PQ4").stored(rows) - pool[rows]).norm() < pool[rows].norm()


def test_ids_and_rows(pool):
    index = made(pool, "Flat", size=100)
    assert index.rows_of(["vim", "no", "名前"]).tolist() == [1, -1, 3]
    assert index.ids_of(torch.tensor([[1, -1], [-1, -1], [0, 6]])) == [["vim"], [], ["", IDS[6]]]


def test_fewer_neighbours_than_asked_for(pool):
    index = made(pool, "IVF8,Flat")
    found = index.search(pool[:2], 900)
    assert found.indices.shape == (2, 900)
    assert (found.indices[:, -1] == -1).all()
    assert (found.scores[:, -1] == -math.inf).all()
    rescored = index.search(pool[:2], 900, rescore=pool)
    assert ((rescored.indices < 0) == (found.indices < 0)).all()
    empty = NeighbourIndex.build(16, "HNSW8")
    assert empty.search(pool[:2], 3).indices.tolist() == [[-1] * 3] * 2
    assert empty.search(pool[:2], 3, rescore=pool[:0]).indices.tolist() == [[-1] * 3] * 2
    assert empty.search(pool[:0], 3).indices.shape == (0, 3)


def test_more_clusters_find_more(pool):
    index, exact = made(pool, "IVF32,Flat"), neighbours(pool[:100], pool, 10)
    recalls = []
    for nprobe in (1, 4, 32):
        index.set_parameters(f"nprobe={nprobe}")
        found = index.search(pool[:100], 10).indices.tolist()
        recalls.append(sum(len({*a} & {*b}) for a, b in zip(found, exact.indices.tolist(), strict=True)))
    assert recalls[0] < recalls[1] < recalls[2] == 1000


def test_candidates_are_rescored_from_a_mapped_file(pool, tmp_path):
    np.save(tmp_path / "v.npy", pool.numpy())
    mapped = np.load(tmp_path / "v.npy", mmap_mode="r")
    index, exact = NeighbourIndex.from_blocks([(None, mapped)], "PQ4x4"), neighbours(pool[:50], pool, 5)
    hits = [
        (index.search(pool[:50], 5, rescore=mapped, candidates=count).scores >= exact.scores[:, 4:]).sum()
        for count in (5, 50, 700)
    ]
    assert hits[0] < hits[1] < hits[2] == 250


class Shards:
    """A pool that is read in blocks, as often as wanted."""

    def __init__(self, pool, size):
        self.pool, self.size, self.reads = pool, size, 0

    def __iter__(self):
        self.reads += 1
        for first in range(0, len(self.pool), self.size):
            yield IDS[first : first + self.size], self.pool[first : first + self.size]


@pytest.mark.parametrize("size", [700, 64, 1])
def test_a_pool_in_blocks_has_one_sample_however_it_is_cut(pool, size, tmp_path):
    index = NeighbourIndex.from_blocks(Shards(pool, size), "IVF8,SQ8", sample=80, seed=3)
    expected = NeighbourIndex.from_blocks([(IDS, pool)], "IVF8,SQ8", sample=80, seed=3)
    other = NeighbourIndex.from_blocks([(IDS, pool)], "IVF8,SQ8", sample=80, seed=4)
    scores = [one.search(pool[:30], 5).scores for one in (index, expected, other)]
    assert scores[0].equal(scores[1])
    assert not scores[0].equal(scores[2])
    assert index.training[:2] == (80, 3)


def test_a_sample_is_uniform_and_in_order(pool):
    counts = np.zeros(20)
    for seed in range(400):
        sample, size = draw([(None, torch.arange(20.0)[:, None])], 5, seed)
        drawn = sample.flatten().tolist()
        assert (len(drawn), size, drawn) == (5, 20, sorted(set(drawn)))
        counts[np.int64(drawn)] += 1
    assert counts.min() > 60  # of 100 expected
    assert draw([(None, pool)], 10_000, 0)[0].equal(pool)


def test_threads_may_search_while_rows_are_added(pool):
    index = made(pool, "HNSW8")
    threads = [
        threading.Thread(target=lambda: [index.search(pool[:20], 3) for _ in range(20)]) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for _ in range(20):
        index.add(pool, [f"{len(index)} {i}" for i in range(700)])
    for thread in threads:
        thread.join()
    assert len(index) == 21 * 700


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda i, p: NeighbourIndex.build(16, "IVF64(Index5),Flat", p), "the factory string must be"),
        (
            lambda i, p: NeighbourIndex.build(16, "PQ5", p),
            "FAISS must accept the factory string 'PQ5' for width 16",
        ),
        (lambda i, p: NeighbourIndex.build(16, "PQ4x17", p), "at most 16 bits"),
        (lambda i, p: NeighbourIndex.build(16, "PQ4x12", p), "needs at least 4096 vectors to train"),
        (lambda i, p: NeighbourIndex.build(16, "OPQ4,SQ8", p[:9]), "needs at least 256 vectors to train"),
        (lambda i, p: NeighbourIndex.build(16, "IVF8,Flat"), "needs at least 8 .* the sample has 0"),
        (
            lambda i, p: NeighbourIndex.build(9, "Flat", p),
            "sample must have the index's width, 9, but have 16",
        ),
        (lambda i, p: NeighbourIndex.build(0, "Flat"), r"width must be in \[1, 1048576\]"),
        (lambda i, p: i.add(p[:2, :3], ["x", "y"]), "rows must have the index's width, 16, but have 3"),
        (lambda i, p: i.add(p[0], ["x"] * 16), "rows must be"),
        (lambda i, p: i.add(p[:2].long(), ["x", "y"]), "of a floating-point dtype"),
        (lambda i, p: i.add(p[:1] * math.inf, ["x"]), "rows must be finite, but row 0"),
        (lambda i, p: i.add(p[:1].double() * 1e300, ["x"]), "rows must be finite, but row 0"),
        (lambda i, p: i.add(p[:2], ["x"]), "as many, but are 1 and 2"),
        (lambda i, p: i.add(p[:2]), "some have and some have not"),
        (lambda i, p: i.add(p[:1], ["\ud800"]), "must be Unicode text"),
        (lambda i, p: i.add(p[:1], [None]), "must be Unicode text"),
        (lambda i, p: NeighbourIndex(p, "Flat").add(p), "this one is over a pool"),
        (lambda i, p: i.search(p[:2, :3], 3), "queries must have the index's width"),
        (lambda i, p: i.search(p[:2], 0), "k must be at least 1"),
        (lambda i, p: i.search(p[:2], 3, exclude=torch.tensor([0, 700])), r"exclude must be in \[0, 700\)"),
        (lambda i, p: i.search(p[:2], 3, rescore=p[:2]), "a vector for every row, but there are 2"),
        (lambda i, p: i.search(p[:2], 3, rescore=p[:, :3]), "same width"),
        (lambda i, p: i.set_parameters("nprobe=0"), "nprobe must be a whole number of at least 1"),
        (lambda i, p: i.set_parameters("efSearch=1"), "FAISS must accept the search parameter 'efSearch=1'"),
        (lambda i, p: i.set_parameters("verbose=1"), "must be among nprobe"),
        (lambda i, p: i.stored(torch.tensor([700])), r"rows must be in \[0, 700\), but row 0 is 700"),
        (lambda i, p: NeighbourIndex.from_blocks(iter([(None, p)]), "Flat"), "but are a generator"),
        (lambda i, p: NeighbourIndex.from_blocks([], "Flat"), "at least one block of rows"),
        (
            lambda i, p: NeighbourIndex.from_blocks([(None, p), (None, p[:, :2])], "Flat"),
            "matrices of one width",
        ),
        (
            lambda i, p: NeighbourIndex.from_blocks([(None, p)], "Flat", sample=-1),
            "sample must be at least 0",
        ),
        (lambda i, p: NeighbourIndex(p, "Flat").ids_of(torch.tensor([[0]])), "added without"),
    ],
)
def test_rejects_what_does_not_fit(pool, call, message):
    index = made(pool, "IVF8,Flat")
    with pytest.raises(ValueError, match=message) as error:
        call(index, pool)
    assert "\n" not in str(error.value)
    assert len(index) == 700


def test_no_two_rows_may_have_one_id(pool, tmp_path):
    index = NeighbourIndex.build(16, "Flat")
    index.add(pool[:3], ["a", "b", "a"])
    with pytest.raises(ValueError, match="ids must be unique, but 'a' is there twice"):
        index.save(tmp_path / "a.index")
    assert not list(tmp_path.iterdir())


class Interrupted:
    """The core's index, of which `add` ends in Ctrl-C: after so many rows, for FAISS gets them block by block."""

    def __init__(self, index, rows):
        self._index, self._rows = index, rows

    def add(self, rows):
        self._index.add(rows[: self._rows])
        raise KeyboardInterrupt

    def __getattr__(self, name):
        return getattr(self._index, name)

    def __len__(self):
        return len(self._index)


@pytest.mark.parametrize("rows", [0, 40, 100], ids=["before", "within", "behind"])
@pytest.mark.parametrize("first", [0, 50])
def test_an_interrupted_add_leaves_each_row_its_id(pool, tmp_path, rows, first):
    index = NeighbourIndex.build(16, "Flat")
    if first:
        index.add(pool[:first], IDS[:first])
    core, index._index = index._index, Interrupted(index._index, rows)
    with pytest.raises(KeyboardInterrupt):
        index.add(pool[first : first + 100], IDS[first : first + 100])
    index._index, there = core, first + rows
    assert len(index) == there
    assert index.rows_of(IDS[:200]).tolist() == [*range(there), *[-1] * (200 - there)]
    index.add(pool[there:300], IDS[there:300])
    index.save(tmp_path / "a.index")
    for one in (index, NeighbourIndex.load(tmp_path / "a.index")):
        assert one.ids_of(torch.arange(300)[None]) == [IDS[:300]]


def test_rows_that_failed_do_not_decide_whether_there_are_ids(pool, tmp_path):
    index = NeighbourIndex.build(16, "Flat")
    index.add(pool[:0], [])
    with pytest.raises(ValueError, match="rows must be finite"):
        index.add(pool[:1] * math.inf, ["x"])
    index.add(pool[:5])
    with pytest.raises(ValueError, match="added without"):
        index.rows_of(["x"])
    index.save(tmp_path / "a.index")
    assert len(NeighbourIndex.load(tmp_path / "a.index")) == 5


def test_threads_may_add_rows_with_ids(pool):
    index = NeighbourIndex.build(16, "Flat")

    def add(begin):
        for row in range(begin, 400, 4):
            index.add(pool[row : row + 1], [IDS[row]])
            index.rows_of([IDS[row]])

    threads = [threading.Thread(target=add, args=(begin,)) for begin in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert index.stored(index.rows_of(IDS[:400])).equal(pool[:400])


def test_an_index_without_ids_is_saved_without(pool, tmp_path):
    NeighbourIndex(pool, "Flat").save(tmp_path / "a.index")
    again = NeighbourIndex.load(tmp_path / "a.index")
    assert again.search(pool[:1], 1).indices.tolist() == neighbours(pool[:1], pool, 1).indices.tolist()


def test_every_damaged_byte_is_refused(pool, tmp_path):
    path = tmp_path / "a.index"
    index = NeighbourIndex.build(16, "IVF4,SQ8", pool)
    index.add(pool[:20], IDS[:20])
    index.save(path)
    content = path.read_bytes()
    for at in [*range(120), *range(120, len(content), 37), len(content) - 1]:
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(DataError, match=f"{path.name}: must be an index of"):
            NeighbourIndex.load(path)
    for cut in (b"", content[:10], content[:60], content[:-1], content + b"x"):
        path.write_bytes(cut)
        with pytest.raises(DataError, match=f"{path.name}: must be an index of"):
            NeighbourIndex.load(path)
    with pytest.raises(DataError, match=r"none.index: must be an index .* No such file"):
        NeighbourIndex.load(tmp_path / "none.index")


def test_a_full_disk_leaves_nothing(pool, tmp_path, file_size_limit):
    index = made(pool, "Flat")
    with file_size_limit(2000), pytest.raises(OSError, match=r"a.index: must be written, but"):
        index.save(tmp_path / "a.index")
    assert not list(tmp_path.iterdir())


def test_what_the_description_says_is_compared(pool, tmp_path):
    """As of a file whose checksum somebody has made right."""
    from notellm.indexes.index import KIND
    from notellm.io.envelope import opened_envelope, written_envelope

    path = tmp_path / "a.index"
    made(pool, "Flat").save(path)
    with opened_envelope(path, KIND, "an index") as (node, size, file):
        known, content = node.value, file.read(size)
    for change in (
        {"count": 699},
        {"width": 3},
        {"faiss_bytes": 5},
        {"id_bytes": -8},
        {"training": 5},
        {"id_bytes": 9e99},
    ):
        with written_envelope(path, KIND) as envelope:
            envelope.write(content)
            envelope.description = known | change
        with pytest.raises(DataError, match=r"a\.index"):
            NeighbourIndex.load(path)
