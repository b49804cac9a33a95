"""The generative loss from states and head: every tiling gives what all logits at once give."""

import pytest
import reference
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from notellm.losses import csft_head_loss, csft_head_term, csft_loss, csft_term

pytestmark = pytest.mark.instruction_set

OFFSETS = torch.tensor([0, 3, 3, 4, 9])  # the second note has no output
POSITIONS, VOCABULARY, WIDTH = 9, 11, 4
TILINGS = [None, 1, 7, 20, 33, 98]
"""Most logits at a time: all; one by one; tiles that do not divide 9 by 11; nearly all."""

FP32_TOLERANCE = 2e-6
BF16_TOLERANCE = 2e-2  # relative L2: products rounded to 8 bits, as in any bf16 product


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(6)


def batch(dtype=torch.float64, positions=POSITIONS, vocabulary=VOCABULARY, width=WIDTH):
    states = torch.randn(positions, width, dtype=dtype, requires_grad=True)
    head = torch.randn(vocabulary, width, dtype=dtype, requires_grad=True)
    return states, head, torch.randint(0, vocabulary, (positions,))


def summed(states, head, labels, offsets=OFFSETS, dtype=torch.float64, **options):
    return csft_head_term(states, head, labels, offsets, dtype=dtype, **options).sum


def value_and_gradients(loss, *inputs):
    return [loss.detach(), *torch.autograd.grad(loss, inputs)]


def relative_error(actual, expected):
    return float((actual.double() - expected.double()).norm() / expected.double().norm())


@pytest.mark.parametrize("reduction", ["note", "token"])
@pytest.mark.parametrize("max_logits", TILINGS, ids=lambda n: f"max_logits={n}")
def test_values_and_gradients_equal_eq_3(reduction, max_logits):
    states, head, labels = batch()
    sizes = OFFSETS.diff().tolist()
    logits = states @ head.T
    expected = reference.generative(list(logits.split(sizes)), list(labels.split(sizes)), reduction)
    actual = csft_head_loss(
        states, head, labels, OFFSETS, reduction=reduction, dtype=torch.float64, max_logits=max_logits
    )
    for one, other in zip(
        value_and_gradients(actual, states, head), value_and_gradients(expected, states, head), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("reduction", ["note", "token"])
def test_counts_as_csft_loss_does(reduction):
    states, head, labels = batch()
    ours = csft_head_term(states, head, labels, OFFSETS, reduction=reduction)
    assert ours.count == csft_term(states @ head.T, labels, OFFSETS, reduction=reduction).count


@pytest.mark.parametrize("reduction", ["note", "token"])
@pytest.mark.parametrize("max_logits", TILINGS, ids=lambda n: f"max_logits={n}")
def test_gradcheck(reduction, max_logits):
    states, head, labels = batch()
    options = {"reduction": reduction, "max_logits": max_logits}
    assert gradcheck(lambda s, h: summed(s, h, labels, **options), (states, head))
    assert gradcheck(lambda s: summed(s, head.detach(), labels, **options), states)
    assert gradcheck(lambda h: summed(states.detach(), h, labels, **options), head)


def test_second_derivatives():
    states, head, labels = batch()
    assert gradgradcheck(lambda s, h: summed(s, h, labels, max_logits=20), (states, head))
    loss = summed(states, head, labels, max_logits=20)
    plain = torch.autograd.grad(loss, (states, head), retain_graph=True)
    composed = torch.autograd.grad(loss, (states, head), create_graph=True)
    torch.testing.assert_close(plain, composed, rtol=1e-12, atol=1e-13)


def test_a_tied_head_adds_to_the_gradient_of_the_embedding():
    _, table, labels = batch()
    tokens = torch.randint(0, VOCABULARY, (POSITIONS,))

    def loss(ours):
        states = torch.nn.functional.embedding(tokens, table).tanh()
        if ours:
            return summed(states, table, labels, max_logits=20)
        return csft_term(states @ table.T, labels, OFFSETS).sum

    torch.testing.assert_close(
        value_and_gradients(loss(True), table), value_and_gradients(loss(False), table)
    )


@pytest.mark.parametrize("max_logits", [None, 1_000], ids=lambda n: f"max_logits={n}")
def test_fp32_is_close_to_fp64(max_logits):
    states, head, labels = batch(positions=50, vocabulary=300, width=32)
    narrow = [x.detach().float().requires_grad_() for x in (states, head)]
    offsets = torch.tensor([0, 20, 50])
    expected = value_and_gradients(summed(states, head, labels, offsets), states, head)
    loss = summed(*narrow, labels, offsets, dtype=torch.float32, max_logits=max_logits)
    for one, other in zip(value_and_gradients(loss, *narrow), expected, strict=True):
        assert one.dtype == torch.float32
        assert relative_error(one, other) < FP32_TOLERANCE


@pytest.mark.parametrize("kept", [torch.float32, torch.bfloat16], ids=str)
def test_bf16_products_with_master_weights(kept):
    states, head, labels = batch(torch.float32, positions=200, vocabulary=300, width=32)
    head = head.detach().to(kept).requires_grad_()
    offsets = torch.tensor([0, 120, 200])
    expected = value_and_gradients(summed(states, head, labels, offsets, torch.float32), states, head)
    loss = summed(states, head, labels, offsets, torch.bfloat16, max_logits=700)
    assert loss.dtype == torch.float32
    actual = value_and_gradients(loss, states, head)
    assert actual[2].dtype == kept
    for one, other in zip(actual, expected, strict=True):
        assert relative_error(one, other) < BF16_TOLERANCE


def test_a_bf16_head_gradient_is_summed_in_fp32():
    """A thousand equal shares, one a tile: a bf16 sum would stop growing at 256 of them."""
    positions = 1_000
    states = torch.ones(positions, 1)
    head = torch.zeros(2, 1, requires_grad=True)
    labels = torch.zeros(positions, dtype=torch.int64)
    loss = summed(
        states, head, labels, torch.tensor([0, positions]), torch.bfloat16, reduction="token", max_logits=2
    )
    loss.backward()
    torch.testing.assert_close(head.grad, torch.tensor([[-500.0], [500.0]]))


@pytest.mark.parametrize("max_logits", [None, 20])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_extreme_logits_stay_finite_and_right(dtype, max_logits):
    states, head, labels = batch(torch.float32)
    states = (states.detach() * 1e4).requires_grad_()
    head = head.detach().round().requires_grad_()  # exact in bf16, as the rounded states are
    with torch.no_grad():
        states.copy_(states.bfloat16())
    actual = value_and_gradients(
        summed(states, head, labels, dtype=dtype, max_logits=max_logits), states, head
    )
    assert all(x.isfinite().all() for x in actual)
    expected = csft_term((states.double() @ head.double().T), labels, OFFSETS).sum
    assert expected > 1e4
    torch.testing.assert_close(actual[0].double(), expected, rtol=1e-2, atol=0)


def test_logits_far_below_the_first_tile_s_and_far_above_it():
    states = torch.tensor([[1.0], [1.0]], requires_grad=True)
    for values in ([-1e4, 0.0, 1e4], [1e4, 0.0, -1e4]):
        head = torch.tensor(values).unsqueeze(1)
        loss = summed(states, head, torch.tensor([1, 1]), torch.tensor([0, 2]), torch.float32, max_logits=1)
        assert loss.item() == pytest.approx(1e4)


def test_no_labels_is_a_term_of_count_zero_with_zero_gradients():
    states = torch.zeros(0, WIDTH, requires_grad=True)
    head = torch.randn(VOCABULARY, WIDTH, requires_grad=True)
    term = csft_head_term(states, head, torch.zeros(0, dtype=torch.int64), torch.tensor([0, 0]))
    assert (term.count, term.sum.item()) == (0, 0.0)
    term.sum.backward()
    assert states.grad.shape == (0, WIDTH)
    assert torch.equal(head.grad, torch.zeros_like(head))


class Shapes(TorchDispatchMode):
    """Collects the shape and size of every tensor that an operation returns."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.seen.append(tuple(result.shape))
        return result


def backward_shapes(states, head, labels):
    loss = summed(states, head, labels, dtype=torch.float32, max_logits=20)
    with Shapes() as shapes:
        loss.backward()
    return shapes.seen


def test_nothing_is_computed_for_what_is_frozen():
    """Tiles are 4 positions by 5 words here, so that gradients of parts have shapes of their own."""
    states, head, labels = batch(torch.float32)
    of_states, of_head = {(4, WIDTH), (POSITIONS, WIDTH)}, {(VOCABULARY, WIDTH)}
    both = backward_shapes(states, head, labels)
    assert of_states | of_head <= set(both)
    states.grad = head.grad = None
    by_states = backward_shapes(states, head.detach(), labels)
    assert head.grad is None
    assert of_head.isdisjoint(by_states)
    frozen = states.detach()
    by_head = backward_shapes(frozen, head, labels)
    assert frozen.grad is None
    assert (POSITIONS, WIDTH) in by_states
    assert max(len(by_states), len(by_head)) < len(both)


def test_no_tile_has_more_than_max_logits():
    states, head, labels = batch(torch.float32, positions=40, vocabulary=300, width=2)
    with Shapes() as shapes:
        loss = summed(states, head, labels, torch.tensor([0, 40]), torch.float32, max_logits=1_000)
        loss.backward()
    sizes = [torch.Size(shape).numel() for shape in shapes.seen]
    assert 900 < max(sizes) <= 1_000


def test_equals_csft_loss_of_the_logits_in_bf16():
    states, head, labels = batch(torch.float32)
    logits = (states.bfloat16() @ head.bfloat16().T).float()
    torch.testing.assert_close(
        summed(states, head, labels, dtype=torch.bfloat16), csft_term(logits, labels, OFFSETS).sum
    )
    assert csft_head_loss(states, head, labels, OFFSETS).item() == pytest.approx(
        csft_loss(states @ head.T, labels, OFFSETS).item(), rel=1e-5
    )


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"states": torch.zeros(9)},
            ValueError,
            r"csft_head_loss: states must be \(\*, \*\) of a floating-point dtype",
        ),
        (
            {"head": torch.zeros(11, 5)},
            ValueError,
            r"head must be \(\*, 4\) of a floating-point dtype, but is float32 \[11, 5\]",
        ),
        ({"labels": torch.zeros(8).long()}, ValueError, r"labels must be \(9\) of int64, but is int64 \[8\]"),
        ({"labels": torch.full((9,), 11)}, IndexError, r"labels must be in \[0, 11\), but are in \[11, 11\]"),
        (
            {"label_offsets": torch.tensor([0, 8])},
            ValueError,
            "must ascend from 0 to the number of labels, 9",
        ),
        ({"reduction": "mean"}, ValueError, "csft_head_loss: reduction must be one of note, token"),
        ({"max_logits": 0}, ValueError, "max_logits must be at least 1, but is 0"),
        ({"dtype": torch.float16}, ValueError, "must be auto, fp64, fp32 or bf16, but is 'torch.float16'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_refuses(changes, error, message):
    states, head, labels = batch(torch.float32)
    arguments = {"states": states, "head": head, "labels": labels, "label_offsets": OFFSETS} | changes
    with pytest.raises(error, match=message):
        csft_head_loss(**arguments)
