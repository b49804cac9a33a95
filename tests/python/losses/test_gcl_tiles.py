"""The tiled contrastive loss: every tile size, range of anchors and extreme gives what the whole matrix gives."""

import pytest
import reference
import torch
from torch.autograd import gradcheck, gradgradcheck

from notellm import _core
from notellm.losses import gcl_loss, gcl_term

pytestmark = pytest.mark.instruction_set

FP64_TOLERANCE = 1e-12
FP32_TOLERANCE = 2e-6  # of the largest entry: rounding of scores up to exp(3), and of sums over tiles
IDS = torch.tensor([1, 2, 1, 3, 4, 2, 5, 5, 6, 7, 7, 1, 8, 9])
"""Copies within and across tiles and pairs, among them a pair of one note twice."""


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(5)


def batch(pairs=7, width=5, dtype=torch.float64, tau=1.0):
    embeddings = (torch.randn(2 * pairs, width, dtype=dtype) * 3).requires_grad_()
    return embeddings, torch.tensor(tau, dtype=dtype, requires_grad=True)


def summed(embeddings, tau, ids=None, **options):
    return _core.losses.gcl_loss(embeddings, tau, ids, **options).sum


def value_and_gradients(loss, *inputs):
    return [loss.detach(), *torch.autograd.grad(loss, inputs)]


def assert_all_close(actual, expected, tolerance=FP64_TOLERANCE):
    for one, other in zip(actual, expected, strict=True):
        scale = float(other.detach().abs().max()) + 1.0
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance * scale, check_dtype=False)


@pytest.mark.parametrize("tile_rows", [2, 4, 6, 14, 512], ids=lambda n: f"tile_rows={n}")
@pytest.mark.parametrize("ids", [None, IDS], ids=["all", "masked"])
def test_values_and_gradients_equal_eq_2_for_every_tile_size(tile_rows, ids):
    inputs = batch()
    expected = value_and_gradients(14 * reference.nt_xent(*inputs, ids), *inputs)
    assert_all_close(value_and_gradients(summed(*inputs, ids, tile_rows=tile_rows), *inputs), expected)


MORE_IDS = torch.cat([IDS, torch.tensor([3, 20, 21, 1, 20])])


@pytest.mark.parametrize("tile_rows", [2, 4, 6, 14, 512], ids=lambda n: f"tile_rows={n}")
@pytest.mark.parametrize("negatives", [0, 5], ids=lambda n: f"negatives={n}")
@pytest.mark.parametrize("has_log_q", [False, True], ids=["q=1", "log_q"])
@pytest.mark.parametrize("ids", [None, MORE_IDS], ids=["all", "masked"])
def test_negatives_and_log_q_equal_the_reference(ids, has_log_q, negatives, tile_rows):
    embeddings, tau = batch()
    rows = torch.cat([embeddings.detach(), torch.randn(negatives, 5).double()]).requires_grad_()
    given = {"log_q": 3 * torch.randn(len(rows)).double() if has_log_q else None, "negatives": negatives}
    ids = None if ids is None else ids[: len(rows)]
    expected = value_and_gradients(14 * reference.nt_xent(rows, tau, ids, **given), rows, tau)
    ours = value_and_gradients(summed(rows, tau, ids, tile_rows=tile_rows, **given), rows, tau)
    assert_all_close(ours, expected)
    loss = summed(rows, tau, ids, tile_rows=tile_rows, **given)
    again = torch.autograd.grad(loss, (rows, tau), create_graph=True)  # of composed operations
    assert_all_close(again, expected[1:])


@pytest.mark.parametrize("tile_rows", [4, 512], ids=lambda n: f"tile_rows={n}")
def test_a_constant_in_log_q_changes_nothing(tile_rows):
    inputs = batch()
    expected = value_and_gradients(summed(*inputs, IDS, tile_rows=tile_rows), *inputs)
    same = torch.full((14,), -9.0).double()
    assert_all_close(
        value_and_gradients(summed(*inputs, IDS, tile_rows=tile_rows, log_q=same), *inputs), expected
    )


def test_log_q_makes_sampled_negatives_an_unbiased_sample_of_all_notes():
    """Negatives drawn by popularity stand for all notes alike only if log q is taken from their scores."""
    population = torch.nn.functional.normalize(torch.randn(40, 4).double(), dim=1)
    popularity = torch.logspace(0, 2, 40).double()
    popularity /= popularity.sum()
    anchor = torch.nn.functional.normalize(population[-1:] + population[0:1], dim=1)
    tau, drawn, partner = torch.tensor(1.0).double(), 4000, torch.randn(1, 4).double()
    notes = torch.multinomial(popularity, drawn, replacement=True)
    rows = torch.cat([anchor, partner, population[notes]])
    positive = (tau.exp() * torch.nn.functional.cosine_similarity(anchor, partner)).exp().item()
    over_all = (tau.exp() * (anchor @ population.T)).exp().sum().item()

    def denominator_of_negatives(sign):
        log_q = sign * torch.cat([torch.zeros(2), popularity.log()[notes]])
        loss = summed(rows, tau, log_q=log_q, anchors=(0, 1), negatives=drawn).item()
        return (torch.tensor(loss).double().exp().item() - 1) * positive / drawn

    assert denominator_of_negatives(1) == pytest.approx(over_all, rel=0.1)
    for sign in (0, -1):
        assert denominator_of_negatives(sign) < 0.2 * over_all


@pytest.mark.parametrize("tile_rows", [2, 4, 512], ids=lambda n: f"tile_rows={n}")
@pytest.mark.parametrize("anchors", [None, (0, 6), (3, 8), (5, 6), (13, 14)], ids=str)
@pytest.mark.parametrize("ids", [None, IDS], ids=["all", "masked"])
def test_gradcheck(tile_rows, anchors, ids):
    assert gradcheck(lambda e, t: summed(e, t, ids, anchors=anchors, tile_rows=tile_rows), batch(tau=0.5))


@pytest.mark.parametrize("anchors", [None, (3, 6)], ids=str)
@pytest.mark.parametrize("negatives", [0, 2])
def test_second_derivatives(anchors, negatives):
    ids, log_q = IDS[:8], torch.randn(8).double() if negatives else None
    given = {"anchors": anchors, "negatives": negatives, "log_q": log_q}
    assert gradgradcheck(lambda e, t: summed(e, t, ids, tile_rows=4, **given), batch(4, tau=0.5))


@pytest.mark.parametrize("ids", [None, IDS], ids=["all", "masked"])
def test_the_gradient_that_can_be_differentiated_is_the_same(ids):
    inputs = batch()
    loss = summed(*inputs, ids, anchors=(2, 9), tile_rows=4)
    plain = torch.autograd.grad(loss, inputs, retain_graph=True)
    assert_all_close(plain, torch.autograd.grad(loss, inputs, create_graph=True))


@pytest.mark.parametrize(
    "ranges", [[(0, 14)], [(0, 4), (4, 14)], [(0, 3), (3, 3), (3, 10), (10, 14)]], ids=str
)
@pytest.mark.parametrize("ids", [None, IDS], ids=["all", "masked"])
def test_sums_over_disjoint_anchors_add_up_to_the_whole(ranges, ids):
    inputs = batch()
    whole = value_and_gradients(summed(*inputs, ids), *inputs)
    terms = [_core.losses.gcl_loss(*inputs, ids, anchors=r, tile_rows=4) for r in ranges]
    assert [term.count for term in terms] == [end - begin for begin, end in ranges]
    parts = [value_and_gradients(term.sum, *inputs) for term in terms]
    assert_all_close([sum(part) for part in zip(*parts, strict=True)], whole)


def test_anchors_send_gradients_to_their_negatives():
    embeddings, tau = batch()
    gcl_term(embeddings, tau, anchors=(0, 2)).sum.backward()
    assert (embeddings.grad.abs().amax(1) > 1e-4).all()


def test_the_mean_is_over_the_anchors():
    inputs = batch()
    term = gcl_term(*inputs, anchors=(1, 4))
    torch.testing.assert_close(gcl_loss(*inputs, anchors=(1, 4)), term.sum / 3)


@pytest.mark.parametrize("tau", [0.0, 3.0])
def test_fp32_is_close_to_fp64(tau):
    inputs = batch(150, 32, tau=tau)
    narrow = [x.detach().float().requires_grad_() for x in inputs]
    ids = torch.randint(0, 200, (300,))
    expected = value_and_gradients(summed(*inputs, ids), *inputs)
    assert_all_close(
        value_and_gradients(summed(*narrow, ids, tile_rows=64), *narrow), expected, FP32_TOLERANCE
    )


def test_bf16_is_widened():
    embeddings, tau = batch(20, 8, torch.bfloat16)
    wide = embeddings.detach().float().requires_grad_()
    ours, expected = gcl_term(embeddings, tau).sum, gcl_term(wide, tau).sum
    assert torch.equal(ours, expected)
    ours.backward()
    expected.backward()
    assert embeddings.grad.dtype == torch.bfloat16
    assert torch.equal(embeddings.grad, wide.grad.bfloat16())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("tau", [10.0, -30.0])
def test_extreme_scales_stay_finite_and_right(dtype, tau):
    wide = batch(9, 4, tau=tau)
    wide[0].data[4:8] = wide[0].data[4]  # an anchor, its partner and two negatives that cannot be told apart
    inputs = [x.detach().to(dtype).requires_grad_() for x in wide]
    actual = value_and_gradients(summed(*inputs, tile_rows=4), *inputs)
    assert all(x.isfinite().all() for x in actual)
    expected = 18 * reference.nt_xent(*wide)
    # a score of exp(10) has an error of exp(10) 2^-24 = 1e-3 in fp32
    torch.testing.assert_close(
        actual[0].double(), expected, rtol=1e-4 if dtype == torch.float32 else 1e-11, atol=0
    )


@pytest.mark.parametrize("value", [0.0, 2.5])
def test_equal_rows_cost_the_log_of_the_others(value):
    embeddings = torch.full((8, 3), value, requires_grad=True)
    tau = torch.tensor(3.0, requires_grad=True)
    loss, *gradients = value_and_gradients(summed(embeddings, tau, tile_rows=2), embeddings, tau)
    assert loss.item() == pytest.approx(8 * torch.tensor(7.0).log().item(), rel=1e-5)
    assert all(x.isfinite().all() for x in gradients)


def test_one_pair_costs_exactly_nothing():
    inputs = batch(1, dtype=torch.float32, tau=10.0)
    for x in value_and_gradients(summed(*inputs), *inputs):
        assert x.abs().max() == 0


def test_a_small_loss_is_not_rounded_away():
    """At cosines of 1 and -1 the loss is below fp32's steps around the score, its gradient too."""
    unit = torch.tensor([[1.0, 0.0]] * 2 + [[-1.0, 0.0]] * 2)
    inputs = unit.clone().requires_grad_(), torch.tensor(2.3, requires_grad=True)
    wide = unit.double().requires_grad_(), torch.tensor(2.3).double().requires_grad_()
    loss = summed(*inputs)
    assert 0 < loss < 1e-7
    expected = value_and_gradients(summed(*wide), *wide)
    torch.testing.assert_close(loss.double(), expected[0], rtol=1e-4, atol=0)
    tau_gradient = value_and_gradients(summed(*inputs), *inputs)[2]
    torch.testing.assert_close(tau_gradient.double(), expected[2], rtol=1e-4, atol=0)


def test_a_frozen_tau_or_frozen_embeddings_get_no_gradient():
    embeddings, tau = batch()
    for inputs in ((embeddings.detach(), tau), (embeddings, tau.detach())):
        summed(*inputs).backward()
    expected = value_and_gradients(summed(embeddings, tau), embeddings, tau)[1:]
    assert_all_close([embeddings.grad, tau.grad], expected)


def test_the_same_bits_every_time():
    inputs = batch(100, 16, torch.float32)
    first, second = (value_and_gradients(summed(*inputs, tile_rows=32), *inputs) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("anchors", [(-1, 2), (3, 2), (0, 15)])
def test_refuses_anchors_that_are_no_range_of_rows(anchors):
    with pytest.raises(
        ValueError, match=r"gcl_loss: anchors must be a range of the rows \[0, 14\), but are \["
    ):
        gcl_loss(*batch(), anchors=anchors)


@pytest.mark.parametrize("tile_rows", [0, 3, -2])
def test_refuses_odd_tiles(tile_rows):
    with pytest.raises(ValueError, match="tile_rows must be even and positive, but is "):
        summed(*batch(), tile_rows=tile_rows)
