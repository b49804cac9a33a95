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
