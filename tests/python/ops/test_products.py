"""Products of bf16 where the processor does not multiply it: the fp32 product of the same numbers, rounded."""

import pytest
import torch

from notellm import _core

ROWS, INNER, OUT = 19, 40, 24


def factors(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(rows, INNER, generator=generator).bfloat16() for rows in (ROWS, OUT)]


def rounded_product(x, weight):
    return (x.float() @ weight.float().t()).bfloat16()


@pytest.mark.parametrize("name", ["baseline", "avx2"])
def test_bf16_is_the_rounded_fp32_product(name, use):
    use(name)
    assert not _core.models.multiplies_bf16()
    x, weight = factors()
    product = _core.models.matmul_transposed(x, weight)
    assert product.dtype == torch.bfloat16
    # sums of another order may round to the neighbour
    torch.testing.assert_close(product, rounded_product(x, weight), rtol=2**-7, atol=0)
    assert (product == rounded_product(x, weight)).float().mean() > 0.95


@pytest.mark.parametrize("name", ["baseline", "avx2"])
def test_transposed_views(name, use):
    use(name)
    x, weight = factors()
    by_weight = _core.models.matmul_transposed(x.t(), torch.ones(3, ROWS).bfloat16())
    torch.testing.assert_close(by_weight, rounded_product_of_columns(x), rtol=2**-7, atol=2**-6)
    wide = _core.models.matmul_transposed(weight[:ROWS], x[:OUT])
    torch.testing.assert_close(wide, rounded_product(weight[:ROWS], x[:OUT]), rtol=2**-7, atol=0)


def rounded_product_of_columns(x):
    return x.float().sum(0).unsqueeze(1).expand(INNER, 3).bfloat16()


@pytest.mark.parametrize("name", ["none", "baseline", "avx2"])
def test_logits_and_their_gradients(name, use):
    """The head's product has a graph of its own; its weight is rounded to bf16 whatever multiplies."""
    use(name)
    states, head = (part.float().requires_grad_() for part in factors(1))
    logits = _core.models.head_logits(states, head, torch.bfloat16)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits.bfloat16(), rounded_product(states, head), rtol=2**-6, atol=2**-6)
    logits.sum().backward()
    assert states.grad.dtype == head.grad.dtype == torch.float32
    torch.testing.assert_close(states.grad, head.detach().sum(0).expand(ROWS, INNER), rtol=0.02, atol=0.05)
    torch.testing.assert_close(head.grad, states.detach().sum(0).expand(OUT, INNER), rtol=0.02, atol=0.05)


def test_states_are_those_of_the_best_set(use, tiny):
    """On a processor that multiplies bf16, of its own products."""
    tokens, forest = torch.arange(1, 9), _core.models.Segments([0, 8], [-1])
    found = []
    for name in ("avx2", ""):
        use(name)
        with torch.no_grad():
            found.append(tiny.model(tokens, tiny.model.plan(forest, torch.bfloat16)))
    scale = found[1].abs().max()
    torch.testing.assert_close(found[0] / scale, found[1] / scale, rtol=0, atol=0.04)
