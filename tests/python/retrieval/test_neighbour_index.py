"""Indexes over a pool in memory: what FAISS proposes, scored as the exact search does."""

import numpy as np
import pytest
import torch

from notellm import NotSupportedError, _core
from notellm.retrieval import NeighbourIndex, Neighbours, neighbours

needs_faiss = pytest.mark.skipif(not _core.has_faiss, reason="built without FAISS")


@needs_faiss
@pytest.mark.parametrize("factory", ["Flat", "IVF1,Flat"])
def test_flat_index_equals_exact_search(factory):
    generator = torch.Generator().manual_seed(0)
    pool = torch.nn.functional.normalize(torch.randn(500, 24, generator=generator), dim=1)
    own = torch.arange(40)
    exact = neighbours(pool[:40], pool, 9, exclude=own)
    found = neighbours(pool[:40], pool, 9, exclude=own, index=factory)
    assert isinstance(found, Neighbours)
    assert found.indices.equal(exact.indices)
    assert found.scores.equal(exact.scores)


@needs_faiss
@pytest.mark.parametrize(
    ("factory", "parameters"), [("IVF16,Flat", "nprobe=8"), ("HNSW32", "efSearch=64"), ("HNSW32", "")]
)
def test_approximate_indexes_find_most_neighbours(factory, parameters, capfd):
    generator = torch.Generator().manual_seed(0)
    pool = torch.nn.functional.normalize(torch.randn(1000, 16, generator=generator), dim=1)
    index = NeighbourIndex(pool, factory, parameters=parameters)
    assert len(index) == 1000
    found, exact = index.search(pool[:50], 10), neighbours(pool[:50], pool, 10)
    shared = [
        len(set(a) & set(b)) for a, b in zip(found.indices.tolist(), exact.indices.tolist(), strict=True)
    ]
    assert np.mean(shared) > 8
    assert capfd.readouterr() == ("", "")  # FAISS likes to warn on its own


@needs_faiss
def test_an_index_pads_when_the_pool_is_small():
    found = neighbours(torch.eye(2), torch.eye(2), 3, exclude=torch.tensor([0, -1]), index="Flat")
    assert found.indices.tolist() == [[1, -1, -1], [1, 0, -1]]


@needs_faiss
def test_faiss_errors_are_value_errors():
    with pytest.raises(ValueError, match=r"the factory string must be .*, but is 'Tree9'"):
        NeighbourIndex(torch.eye(3), "Tree9")
    with pytest.raises(ValueError, match="FAISS must accept the factory string 'PQ2' for width 3"):
        NeighbourIndex(torch.eye(3), "PQ2")
    with pytest.raises(ValueError, match="search parameters must be among nprobe, .*, but one is 'speed=9'"):
        NeighbourIndex(torch.eye(3), "Flat", parameters="speed=9")
    with pytest.raises(ValueError, match="FAISS must accept the search parameter 'nprobe=9'"):
        NeighbourIndex(torch.eye(3), "Flat", parameters="nprobe=9")
    with pytest.raises(
        ValueError, match="'IVF8,Flat' needs at least 8 vectors to train, but the sample has 3"
    ):
        NeighbourIndex(torch.eye(3), "IVF8,Flat")


@needs_faiss
@pytest.mark.parametrize(
    "factory", ["HNSW0", "PQ0", "IVF2,PQ0", "IVF0,Flat", "PCA0,Flat", "IVF99999999999,Flat"]
)
def test_numbers_at_which_faiss_ends_the_process_are_refused(factory):
    with pytest.raises(ValueError, match="the factory string must be such as Flat"):
        NeighbourIndex(torch.eye(3), factory)


@pytest.mark.skipif(_core.has_faiss, reason="built with FAISS")
def test_without_faiss_an_index_says_what_to_install():
    with pytest.raises(NotSupportedError, match="libfaiss-dev"):
        neighbours(torch.eye(2), torch.eye(2), 1, index="Flat")


@needs_faiss
@pytest.mark.parametrize("factory", ["Flat", "HNSW8", "SQ8", "PQ2", "IVF4,Flat", "PCA2,Flat", "L2norm,Flat"])
def test_vectors_whose_squares_overflow_are_for_the_exact_search(factory):
    pool = torch.randn(600, 8, generator=torch.Generator().manual_seed(0))
    index = NeighbourIndex.build(8, factory, pool)
    pool[7] *= 1e18
    message = r" must have norms below 1e\+15, but row 7 has .*e\+18; try the exact search, without an index"
    with pytest.raises(ValueError, match="^NeighbourIndex: pool" + message):
        NeighbourIndex(pool, factory)
    with pytest.raises(ValueError, match="^NeighbourIndex: sample" + message):
        NeighbourIndex.build(8, factory, pool)
    with pytest.raises(ValueError, match="^NeighbourIndex: rows" + message):
        index.add(pool)
    assert len(index) == 0
    with pytest.raises(ValueError, match="^NeighbourIndex: queries" + message):
        index.search(pool, 1)
    assert neighbours(pool[7:8], pool, 1).indices.tolist() == [[7]]


@needs_faiss
@pytest.mark.parametrize("factory", ["Flat", "HNSW8", "SQ8", "PQ2", "IVF4,Flat", "PCA8,Flat", "OPQ2,PQ2"])
def test_vectors_that_are_just_small_enough_are_found(factory):
    pool = torch.nn.functional.normalize(
        torch.randn(600, 8, generator=torch.Generator().manual_seed(0)), dim=1
    )
    large = pool * 2.0**49  # 5.6e14
    found, expected = (
        NeighbourIndex(large, factory).search(large, 5),
        NeighbourIndex(pool, factory).search(pool, 5),
    )
    assert found.indices.equal(expected.indices)


@needs_faiss
@pytest.mark.parametrize(
    "factory", ["PCAW8,Flat", "PCAWR8,HNSW8", "PCAW8,IVF4,Flat", "PCAW8,PQ2", "OPQ2,PCAW8,SQ8"]
)
def test_whitening_needs_as_many_directions_as_it_keeps(factory):
    generator = torch.Generator().manual_seed(0)
    pool = torch.randn(600, 8, generator=generator)
    assert (NeighbourIndex(pool, factory).search(pool, 1).indices >= 0).all()
    message = (
        f"^NeighbourIndex: '{factory}' needs a sample in at least 8 directions, but it has {{}}; try PCA8"
    )
    lacking = pool.clone()
    lacking[:, 5] = 0
    flat = pool[:, :3] @ torch.randn(3, 8, generator=generator)
    for sample, directions in ((lacking, 7), (flat, 3), (torch.ones(600, 8), 0), (pool[:256] * 0, 0)):
        with pytest.raises(ValueError, match=message.format(directions)):
            NeighbourIndex(sample, factory)
        assert (NeighbourIndex(sample, "PCA8,Flat").search(sample, 1).indices >= 0).all()


@needs_faiss
@pytest.mark.parametrize(
    "factory", ["Flat", "IVF1,Flat", "PQ1", "HNSW8", "L2norm,Flat", "Flat,RFlat", "OPQ1,PQ1"]
)
def test_vectors_have_at_least_one_number(factory):
    with pytest.raises(ValueError, match=r"^NeighbourIndex: width must be in \[1, 1048576\], but is 0$"):
        NeighbourIndex(torch.zeros(300, 0), factory)
