"""Ranks and neighbours against full sorts of exact scores."""

import math
import os
import subprocess
import sys
import threading
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from notellm._core import retrieval as core
from notellm.retrieval import Ranks, neighbours, ranks_in_part, target_ranks

TILES = [(1, 1), (2, 3), (5, 7), (0, 0)]
"""Queries and notes of a tile; 0 leaves the choice to the core."""


def exact_scores(queries, pool):
    """(Q, N) inner products as fractions: no rounding at all."""
    rows = lambda matrix: [[Fraction(x) for x in row] for row in matrix.double().tolist()]  # noqa: E731
    notes = rows(pool)
    return [[sum(map(Fraction.__mul__, q, n), Fraction(0)) for n in notes] for q in rows(queries)]


def naive_ranks(scores, targets, exclude):
    greater, equal = [], []
    for row, target, left_out in zip(scores, targets, exclude, strict=True):
        rivals = [s for n, s in enumerate(row) if n != target and n not in left_out]
        greater.append(sum(s > row[target] for s in rivals))
        equal.append(sum(s == row[target] for s in rivals))
    return greater, equal


def naive_neighbours(scores, k, exclude):
    result = []
    for row, left_out in zip(scores, exclude, strict=True):
        order = sorted((n for n in range(len(row)) if n not in left_out), key=lambda n: (-row[n], n))
        result.append(order[:k] + [-1] * (k - len(order)))
    return result


@st.composite
def problems(draw):
    """Small vectors of few distinct rows, so that duplicates and ties are the rule."""
    count, width, queries = draw(st.integers(1, 25)), draw(st.integers(1, 9)), draw(st.integers(1, 6))
    dtype = draw(st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]))
    seed, kinds = draw(st.integers(0, 2**31)), draw(st.integers(1, 8))
    random = np.random.default_rng(seed)
    values = torch.tensor(random.normal(size=(kinds, width))).to(dtype)
    if draw(st.booleans()):
        values = values.round()
    pool = values[torch.tensor(random.integers(0, kinds, count))]
    asked = values[torch.tensor(random.integers(0, kinds, queries))]
    targets = torch.tensor(random.integers(0, count, queries))
    exclude = torch.tensor(random.integers(-1, count, (queries, draw(st.integers(1, 4)))))
    exclude[exclude == targets[:, None]] = -1
    return asked, pool, targets, exclude


@settings(max_examples=300, deadline=None)
@given(problems(), st.sampled_from(TILES), st.booleans())
def test_ranks_equal_a_naive_count(problem, tiles, on_device):
    queries, pool, targets, exclude = problem
    scores = exact_scores(queries, pool)
    greater, equal = core.target_ranks(queries, pool, targets, exclude, *tiles, on_device)
    expected = naive_ranks(scores, targets.tolist(), exclude.tolist())
    assert (greater.tolist(), equal.tolist()) == expected


@settings(max_examples=200, deadline=None)
@given(problems(), st.sampled_from(TILES), st.integers(1, 30), st.booleans())
def test_neighbours_equal_a_naive_sort(problem, tiles, k, on_device):
    queries, pool, _, exclude = problem
    scores = exact_scores(queries, pool)
    values, indices = core.neighbours(queries, pool, k, exclude, *tiles, on_device)
    assert indices.tolist() == naive_neighbours(scores, k, exclude.tolist())
    for row, (found, kept) in enumerate(zip(values.tolist(), indices.tolist(), strict=True)):
        for value, note in zip(found, kept, strict=True):
            assert value == (-math.inf if note < 0 else pytest.approx(float(scores[row][note]), abs=1e-11))


@settings(max_examples=100, deadline=None)
@given(problems(), st.integers(1, 5), st.data())
def test_several_targets_are_ranked_one_by_one(problem, several, data):
    queries, pool, _, exclude = problem
    random = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    targets = torch.tensor(random.integers(-1, len(pool), (len(queries), several)))
    exclude[(exclude[:, :, None] == targets[:, None, :]).any(2)] = -1
    found = target_ranks(queries, pool, targets, exclude=exclude)
    for column in range(several):
        is_there = targets[:, column] >= 0
        one = target_ranks(queries[is_there], pool, targets[is_there, column], exclude=exclude[is_there])
        for counts, of_column in zip(found, one, strict=True):
            assert counts[is_there, column].equal(of_column)
            assert (counts[~is_there, column] == -1).all()


@settings(max_examples=100, deadline=None)
@given(problems(), st.integers(1, 25))
def test_ranks_in_parts_add_up(problem, size):
    queries, pool, targets, exclude = problem
    whole = target_ranks(queries, pool, targets, exclude=exclude)
    left_out = torch.cat([exclude, targets[:, None]], 1)
    greater, equal = torch.zeros_like(targets), torch.zeros_like(targets)
    for first in range(0, len(pool), size):
        part = pool[first : first + size]
        here = torch.where((left_out >= first) & (left_out < first + len(part)), left_out - first, -1)
        counts = ranks_in_part(queries, pool[targets], part, exclude=here)
        greater += counts.greater
        equal += counts.equal
    assert greater.equal(whole.greater)
    assert equal.equal(whole.equal)


def large_problem(width, seed=0):
    """Enough notes and queries for several groups, with ties, near ties and an odd rest of each block."""
    random = np.random.default_rng(seed)
    pool = torch.tensor(random.normal(size=(1171, width)), dtype=torch.float32)
    pool[500:600] = pool[:100]
    pool[600:650] = pool[:50].nextafter(torch.tensor(math.inf))
    queries = pool[:301] + torch.tensor(random.normal(size=(301, width)), dtype=torch.float32) / 4
    return queries, pool, torch.tensor(random.integers(0, len(pool), 301))


@pytest.mark.parametrize("width", [1, 31, 32, 33, 300])
@pytest.mark.parametrize("scale", [1.0, 1e-18, 1e-39, 1e18, 3e37], ids=str)
def test_every_instruction_set_finds_what_sorting_finds(width, scale, use):
    queries, pool, targets = large_problem(width)
    pool = pool / pool.abs().max() * scale
    # Row by row: in a matrix product equal rows may be summed in different orders.
    scores = torch.stack([(pool.double() * query).sum(1) for query in queries.double()])
    own = scores.gather(1, targets[:, None])
    best = torch.stack([torch.sort(-row, stable=True).indices[:5] for row in scores])
    for name in ("baseline", ""):
        use(name)
        ranks = target_ranks(queries, pool, targets)
        assert ranks.greater.equal((scores > own).sum(1))
        assert ranks.equal.equal((scores == own).sum(1) - 1)
        assert neighbours(queries, pool, 5).indices.equal(best)


def test_scores_that_bf16_rounds_apart_are_told_apart(use):
    """Numbers just above and below the middle of two bf16 numbers: what is greater by a hair rounds down."""
    middle = 1 + 2.0**-8
    pool = torch.full((64, 96), middle - 2.0**-22)
    pool[::2] = torch.tensor([1 + 2.0**-7, 1 + 2.0**-20]).repeat(48)  # a little more in all
    queries, targets = torch.ones(3, 96), torch.tensor([0, 1, 2])
    for name in ("baseline", ""):
        use(name)
        ranks = target_ranks(queries, pool, targets)
        assert ranks.greater.tolist() == [0, 32, 0]
        assert ranks.equal.tolist() == [31, 31, 31]


def test_finite_numbers_that_bf16_rounds_to_infinity_are_ranked(use):
    """Of queries, and of notes."""
    small, large = torch.tensor([[0.1], [0.2], [0.3]]), torch.tensor([[1.0], [3.4e38], [3.39e38]])
    for name in ("baseline", ""):
        use(name)
        ranks = target_ranks(large[1:], small, torch.tensor([1, 0]))
        assert (ranks.greater.tolist(), ranks.equal.tolist()) == ([1, 2], [0, 0])
        assert neighbours(large[1:], small, 2).indices.tolist() == [[2, 1], [2, 1]]
        ranks = target_ranks(small[:2], large, torch.tensor([1, 2]))
        assert (ranks.greater.tolist(), ranks.equal.tolist()) == ([0, 1], [0, 0])
        assert neighbours(small[:1], large, 2).indices.tolist() == [[1, 2]]


def test_products_in_bf16_are_undisturbed_by_ranks():
    """Both use the processor's tiles, if it has them, in shapes of their own."""
    rows = torch.randn(64, 96).bfloat16()
    before = rows @ rows.T
    for _ in range(3):
        target_ranks(rows.float(), rows.float(), torch.arange(64))
        assert (rows @ rows.T).equal(before)


def near_ties(count=400, width=64, seed=0):
    """Notes whose scores differ by less than a float32 product's rounding: permuted addends of one sum."""
    random = np.random.default_rng(seed)
    row = torch.tensor(random.normal(size=width), dtype=torch.float32)
    pool = torch.stack([row[torch.tensor(random.permutation(width))] for _ in range(count)])
    pool[::3, 0] = torch.nextafter(pool[::3, 0], torch.tensor(math.inf))
    return torch.ones(8, width), pool, torch.arange(8) * 5


def test_near_ties_are_decided_exactly_where_float32_cannot():
    queries, pool, targets = near_ties()
    in_float32 = queries @ pool.T
    exact = exact_scores(queries[:1], pool)[0]
    in_order = sorted(range(len(pool)), key=exact.__getitem__)
    assert any(in_float32[0, a] > in_float32[0, b] for a, b in zip(in_order, in_order[1:], strict=False))
    ranks = target_ranks(queries, pool, targets)
    greater, equal = naive_ranks([exact] * len(queries), targets.tolist(), [[]] * len(queries))
    assert ranks.greater.tolist() == greater
    assert ranks.equal.tolist() == equal


@pytest.mark.filterwarnings("ignore:Please use the new API settings")  # torch 2.9's own call of the old ones
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_neither_tiles_nor_threads_nor_precision_settings_matter(dtype):
    queries, pool, targets = (x.to(dtype) if x.is_floating_point() else x for x in near_ties())
    expected = core.target_ranks(queries, pool, targets)
    nearest = core.neighbours(queries, pool, 11)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            for precision in ("highest", "high", "medium"):
                torch.set_float32_matmul_precision(precision)
                for tiles in TILES[1:]:
                    got = core.target_ranks(queries, pool, targets, None, *tiles)
                    assert all(map(torch.equal, got, expected))
                    assert all(map(torch.equal, core.neighbours(queries, pool, 11, None, *tiles), nearest))
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision("highest")


def test_all_equal_vectors_tie():
    pool = torch.full((1000, 7), 0.1)
    ranks = target_ranks(pool[:3], pool, torch.tensor([0, 500, 999]), exclude=torch.tensor([1, -1, 0]))
    assert isinstance(ranks, Ranks)
    assert ranks.greater.tolist() == [0, 0, 0]
    assert ranks.equal.tolist() == [998, 999, 998]
    assert neighbours(pool[:1], pool, 5).indices.tolist() == [[0, 1, 2, 3, 4]]


def test_subnormal_scores_are_told_apart():
    pool = torch.tensor([[1e-40], [2e-40], [0.0]])
    assert target_ranks(torch.ones(1, 1), pool, torch.tensor([2])).greater.tolist() == [2]


def test_non_contiguous_and_gradient_carrying_inputs_are_fine():
    pool = torch.randn(6, 20).T.requires_grad_()
    targets = torch.arange(20)
    assert target_ranks(pool, pool, targets).greater.equal(
        target_ranks(pool.detach().contiguous(), pool.detach().contiguous(), targets).greater
    )


def test_no_queries_give_no_ranks():
    ranks = target_ranks(torch.ones(0, 3), torch.ones(2, 3), torch.ones(0, dtype=torch.int64))
    assert ranks.greater.shape == (0,)


def test_ctrl_c_in_the_callback_stops_the_count():
    def interrupt(done, total):
        raise KeyboardInterrupt

    pool = torch.randn(50, 4)
    with pytest.raises(KeyboardInterrupt):
        target_ranks(pool, pool, torch.arange(50), progress=interrupt)
    with pytest.raises(KeyboardInterrupt):
        neighbours(pool, pool, 3, progress=interrupt)


def test_two_threads_rank_at_once():
    pool = torch.nn.functional.normalize(torch.randn(3000, 16), dim=1)
    targets = torch.arange(3000).roll(1)
    expected = target_ranks(pool, pool, targets)
    results = []
    workers = [
        threading.Thread(target=lambda: results.append(target_ranks(pool, pool, targets))) for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(torch.equal(got.greater, expected.greater) for got in results)
    assert len(results) == 2


ONES = torch.ones(2, 3)


@pytest.mark.parametrize(
    ("arguments", "exclude", "message"),
    [
        ((ONES, torch.ones(2, 4), torch.tensor([0, 1])), None, "same width, but have 3 and 4"),
        ((ONES, ONES.double(), torch.tensor([0, 1])), None, "same dtype and device"),
        ((ONES, ONES, torch.tensor([0, 2])), None, r"targets must be in \[0, 2\), but that of query 1 is 2"),
        ((ONES, ONES, torch.tensor([0])), None, r"targets must be \(2\) of int64"),
        ((ONES, ONES, torch.tensor([0.0, 1.0])), None, r"targets must be \(2\) of int64, but is float32"),
        ((ONES, ONES, torch.tensor([0, 1])), torch.tensor([-1, 1]), "note 1 is"),
        ((ONES, ONES, torch.tensor([0, 1])), torch.tensor([5, 1]), "row 0 has 5"),
        ((ONES, ONES, torch.tensor([0, 1])), torch.tensor([-1]), r"\(Q\) or \(Q, E\)"),
        ((ONES * math.nan, ONES, torch.tensor([0, 1])), None, "queries must be finite, but row 0"),
        (
            (ONES.long(), ONES, torch.tensor([0, 1])),
            None,
            r"queries must be \(\*, \*\) of a floating-point dtype",
        ),
        (
            (ONES[0], ONES, torch.tensor([0, 1])),
            None,
            r"queries must be \(\*, \*\) of a floating-point dtype",
        ),
    ],
)
def test_rejects_what_does_not_fit(arguments, exclude, message):
    with pytest.raises(ValueError, match=message) as error:
        target_ranks(*arguments, exclude=exclude)
    assert str(error.value).startswith("target_ranks: ")
    assert "\n" not in str(error.value)


def test_one_openmp_library_is_in_the_process():
    # In a process of its own: other tests may import packages that bring theirs.
    import subprocess
    import sys

    script = (
        "import torch, notellm.retrieval as r\n"
        "from notellm import _core\n"
        "r.neighbours(torch.eye(4), torch.eye(4), 1, index='Flat' if _core.has_faiss else None)\n"
        "paths = {line.split()[-1] for line in open('/proc/self/maps') if '/' in line}\n"
        "print(sorted(p for p in paths if any(n in p for n in ('libgomp', 'libomp', 'libiomp'))))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.count(".so") == 1, done.stdout


def best_by_sorting(queries, pool, k, exclude):
    """The definition: all exact scores, sorted by score, then by pool index."""
    scores = queries.double() @ pool.double().T
    scores.scatter_(1, exclude, -torch.inf)
    return torch.stack([torch.sort(-row, stable=True).indices[:k] for row in scores])


@pytest.mark.parametrize("scale", [1.0, 1e20], ids=["usual", "products overflow in fp32"])
def test_many_ties_leave_out_nothing_better(scale):
    """More notes tie than are held at a time, and better ones come behind them."""
    pool = torch.ones(6000, 3)
    pool[4000:4010] += torch.arange(10)[:, None] / 1024
    pool[100] *= 0.5
    pool[5999] += 0.5
    queries, exclude = torch.ones(4, 3), torch.tensor([[5999, 0], [1, 2], [4009, 4008], [7, 7]])
    for k in (1, 5, 700, 5990):
        found = neighbours(queries * scale, pool * scale, k, exclude=exclude)
        assert torch.equal(found.indices, best_by_sorting(queries, pool, k, exclude))


PEAK = """
import torch
from notellm.retrieval import neighbours

def memory(field):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024

pool, queries = torch.ones(50_000, 8), torch.ones(256, 8)
neighbours(queries, pool[:2000], 10)
open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
before = memory("VmRSS")
neighbours(queries, pool, 10)
print(memory("VmHWM") - before)
"""


@pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="peaks are read from Linux's /proc"
)
def test_ties_take_no_memory():
    """Candidates of 256 queries among 50,000 equal notes are not all kept: that would be 195 MiB."""
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 60
