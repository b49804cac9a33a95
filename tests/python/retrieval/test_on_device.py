"""Scores that stay on the vectors' device give what the host's loops give, to the bit; here the device is the CPU."""

import pytest
import torch
from torch import Tensor

from notellm._core import retrieval as core
from notellm.retrieval import neighbours, ranks_in_part, target_ranks


def vectors(rows: int, width: int, dtype: torch.dtype, seed: int) -> Tensor:
    """A third of the rows are repeated, so that there are ties."""
    drawn = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))
    drawn[: rows // 3] = drawn[rows // 3 : 2 * (rows // 3)]
    return torch.nn.functional.normalize(drawn, dim=1).to(dtype)


def both(function, *arguments, **options):
    """The results on the host and on the device."""
    return [function(*arguments, **options, on_device=on_device) for on_device in (False, True)]


def assert_equal(host, device):
    for expected, actual in zip(host, device, strict=True):
        assert actual.dtype == expected.dtype
        assert actual.equal(expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("width", [1, 6, 64, 127])
@pytest.mark.parametrize("tiles", [{}, {"query_tile": 7, "pool_tile": 100}])
def test_ranks_and_neighbours(dtype, width, tiles):
    pool = vectors(1000, width, dtype, seed=width)
    queries, targets = pool[::20], torch.arange(7, 1000, 20)
    exclude = torch.stack([torch.arange(0, 1000, 20), torch.arange(0, 50)], 1)
    exclude[exclude == targets[:, None]] = -1
    assert_equal(*both(core.target_ranks, queries, pool, targets, exclude, **tiles))
    several = torch.stack([targets, (targets + 500) % 1000, torch.full_like(targets, -1)], 1)
    assert_equal(*both(core.target_ranks, queries, pool, several, **tiles))
    assert_equal(*both(core.ranks_in_part, queries, pool[targets], pool[:600], exclude % 600, **tiles))
    for k in (1, 10, 2000):
        assert_equal(*both(core.neighbours, queries, pool, k, exclude, **tiles))


@pytest.mark.parametrize("tiles", [{}, {"query_tile": 2, "pool_tile": 64}])
def test_more_equal_scores_than_candidates(tiles):
    """The first search keeps 2 k + 64 candidates; here hundreds tie, so that it is done again for some queries."""
    pool = torch.nn.functional.normalize(
        torch.randn(5000, 8, generator=torch.Generator().manual_seed(0)), dim=1
    )
    pool[100:900] = pool[50]
    pool[2000:4900] = pool[60]
    queries = pool[[3, 50, 60, 4, 4999]]
    assert_equal(*both(core.neighbours, queries, pool, 5, None, **tiles))
    assert_equal(*both(core.neighbours, queries, pool, 1000, torch.tensor([3, 101, -1, 4, 5]), **tiles))
    assert_equal(*both(core.target_ranks, queries, pool, torch.tensor([50, 200, 4500, 0, 1]), None, **tiles))


def test_products_that_overflow():
    pool = torch.tensor([[3e38, 3e38], [3e38, -3e38], [-3e38, 3e38], [1.0, 1.0], [0.0, 0.0]])
    assert_equal(*both(core.target_ranks, pool, pool, torch.tensor([1, 2, 3, 4, 0])))
    assert_equal(*both(core.neighbours, pool, pool, 3))


def test_the_best_of_candidates():
    pool = vectors(300, 12, torch.float32, seed=5)
    drawn = torch.randint(-1, 300, (20, 40), generator=torch.Generator().manual_seed(6))
    for k in (1, 7, 60):
        assert_equal(*both(core.nearest_among, pool[:20], pool, drawn, k))
    assert_equal(*both(core.nearest_among, pool[:20], pool, drawn[:, :0], 3))


@pytest.mark.parametrize(("queries", "rows"), [(0, 5), (3, 0), (0, 0)])
def test_nothing_to_compare(queries, rows):
    pool, none = torch.ones(rows, 4), torch.zeros(queries, dtype=torch.int64)
    assert_equal(*both(core.neighbours, torch.ones(queries, 4), pool, 2))
    if rows or not queries:
        assert_equal(*both(core.target_ranks, torch.ones(queries, 4), pool, none))
    assert_equal(*both(core.ranks_in_part, torch.ones(queries, 4), torch.ones(queries, 4), pool))


def test_the_public_functions_take_the_path():
    pool = vectors(200, 16, torch.float32, seed=9)
    steps: list[tuple[int, int]] = []
    own, targets = torch.arange(20), torch.arange(20, 40)
    for function, arguments in ((target_ranks, (targets,)), (neighbours, (3,))):
        expected = function(pool[:20], pool, *arguments, exclude=own)
        actual = function(
            pool[:20],
            pool,
            *arguments,
            exclude=own,
            on_device=True,
            progress=lambda *step: steps.append(step),
        )
        assert_equal(expected, actual)
        assert steps[-1] == (20 * 200, 20 * 200)
        assert steps == sorted(steps)
        steps.clear()
    part = ranks_in_part(pool[:20], pool[targets], pool, exclude=targets, on_device=True)
    assert_equal(part, target_ranks(pool[:20], pool, targets))
