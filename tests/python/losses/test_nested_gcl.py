"""The contrastive loss of nested widths, against plain torch."""

import pytest
import torch
from torch.nn.functional import normalize

from notellm.losses import gcl_loss, gcl_term

pytestmark = pytest.mark.instruction_set

DIMS = [1, 3, 4]
IDS = torch.tensor([1, 2, 3, 4, 1, 5, 2, 6, 7, 8])


def batch(rows=10, width=7, seed=0):
    draw = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(rows, width, dtype=torch.float64, generator=draw, requires_grad=True)
    return embeddings, torch.tensor(1.3, dtype=torch.float64, requires_grad=True)


def by_hand(embeddings, tau, dims, ids=None):
    """The mean over all widths of the mean over all anchors, written out."""
    losses = []
    for width in [*dims, embeddings.shape[1]]:
        unit = normalize(embeddings[:, :width], dim=1)
        scores = unit @ unit.T * tau.exp()
        for i in range(len(unit)):
            seen = [j for j in range(len(unit)) if j == i ^ 1 or (j != i and not is_copy(ids, i, j))]
            losses.append(scores[i, seen].logsumexp(0) - scores[i, i ^ 1])
    return torch.stack(losses).mean()


def is_copy(ids, i, j):
    return ids is not None and ids[j] in (ids[i], ids[i ^ 1])


@pytest.mark.parametrize("ids", [None, IDS], ids=["all", "masked"])
@pytest.mark.parametrize("dims", [[], [2], [6], DIMS, list(range(1, 7))], ids=str)
def test_equals_plain_torch(ids, dims):
    embeddings, tau = batch()
    ours, expected = (
        gcl_loss(embeddings, tau, note_ids=ids, nested_dims=dims),
        by_hand(embeddings, tau, dims, ids),
    )
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
    for one, other in zip(
        torch.autograd.grad(ours, (embeddings, tau)),
        torch.autograd.grad(expected, (embeddings, tau)),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_gradients_are_those_of_finite_differences():
    def loss(embeddings, tau):
        return gcl_loss(embeddings, tau, note_ids=IDS, nested_dims=DIMS)

    assert torch.autograd.gradcheck(loss, batch())
    assert torch.autograd.gradgradcheck(loss, batch())


def test_without_dims_it_is_the_contrastive_loss_to_the_bit():
    embeddings, tau = batch()
    inputs = embeddings.detach().float(), tau.detach().float()
    assert torch.equal(gcl_loss(*inputs, nested_dims=()), gcl_loss(*inputs))


def test_in_fp32_and_bf16():
    embeddings, tau = batch(rows=1026, width=40)  # more than a tile
    expected = gcl_loss(embeddings, tau, nested_dims=[8, 16])
    single = gcl_loss(embeddings.float(), tau.float(), nested_dims=[8, 16])
    torch.testing.assert_close(single, expected.float(), rtol=1e-5, atol=1e-5)
    rounded = embeddings.bfloat16()
    half = gcl_loss(rounded, tau.bfloat16(), nested_dims=[8, 16])
    torch.testing.assert_close(half, gcl_loss(rounded.float(), tau.bfloat16().float(), nested_dims=[8, 16]))


def test_only_the_numbers_that_are_nested_decide_a_part():
    """Without the whole width's part, what stands behind the last nested width would have no gradient."""
    embeddings, tau = batch()
    both = 2 * gcl_loss(embeddings, tau, nested_dims=[3]) - gcl_loss(embeddings, tau)
    (gradient,) = torch.autograd.grad(both, embeddings)
    assert gradient[:, 3:].abs().max() < 1e-15
    torch.testing.assert_close(both, gcl_loss(embeddings[:, :3], tau))


def test_anchors_of_several_processes_add_up():
    embeddings, tau = batch()
    whole = gcl_term(embeddings, tau, note_ids=IDS, nested_dims=DIMS)
    parts = [
        gcl_term(embeddings, tau, note_ids=IDS, nested_dims=DIMS, anchors=part) for part in ((0, 4), (4, 10))
    ]
    assert sum(part.count for part in parts) == whole.count
    total = sum(part.sum for part in parts)
    torch.testing.assert_close(total, whole.sum, rtol=1e-12, atol=1e-12)
    for one, other in zip(
        torch.autograd.grad(total, (embeddings, tau)),
        torch.autograd.grad(whole.sum, (embeddings, tau)),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dims", [[0], [-1], [2, 2], [3, 2], [7], [8], [2, 2**40]], ids=str)
def test_dims_that_do_not_nest(dims):
    with pytest.raises(
        ValueError,
        match=r"nested_gcl_loss: nested_dims must ascend from 1 to below the width 7, but -?\d+ comes after",
    ):
        gcl_loss(*batch(), nested_dims=dims)
