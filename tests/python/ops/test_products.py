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
    assert not _core.ops.multiplies_bf16()
    x, weight = factors()
    product = _core.ops.matmul_transposed(x, weight)
    assert product.dtype == torch.bfloat16
    # sums of another order may round to the neighbour
    torch.testing.assert_close(product, rounded_product(x, weight), rtol=2**-7, atol=0)
    assert (product == rounded_product(x, weight)).float().mean() > 0.95


@pytest.mark.parametrize("name", ["baseline", "avx2"])
def test_transposed_views(name, use):
    use(name)
    x, weight = factors()
    by_weight = _core.ops.matmul_transposed(x.t(), torch.ones(3, ROWS).bfloat16())
    torch.testing.assert_close(by_weight, rounded_product_of_columns(x), rtol=2**-7, atol=2**-6)
    wide = _core.ops.matmul_transposed(weight[:ROWS], x[:OUT])
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


SHAPES = [(1, 40, 24), (8, 576, 16), (64, 16, 960), (257, 16, 576), (33, 576, 100)]
"""(rows, in, out), those of adapters among them."""


def every_kind_of_float():
    """Each bf16 number, with what is below, on and above the middle between two: infinite and not a number, too."""
    upper = torch.arange(-(2**15), 2**15).unsqueeze(1) * 2**16
    return (upper + torch.tensor([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF])).int().view(torch.float32)


@pytest.mark.parametrize(
    "name", ["baseline", "avx2", pytest.param("avx512", marks=pytest.mark.needs_set("avx512"))]
)
def test_factors_are_rounded_as_torch_rounds(name, use):
    use(name)
    x = every_kind_of_float()
    x = x[:, torch.arange(6).repeat(3)][: 2**16 - 3]  # no whole number of vectors
    for given in (x, x.t(), x[:, ::2]):
        kept, torchs = _core.ops.for_products(given, torch.bfloat16), given.bfloat16().float()
        assert kept.dtype == torch.float32
        assert kept.isnan().equal(torchs.isnan())
        is_number = torchs.isnan().logical_not()
        assert kept.view(torch.int32)[is_number].equal(torchs.view(torch.int32)[is_number])
    halves = x.bfloat16()
    assert _core.ops.for_products(halves, torch.bfloat16).nan_to_num(7).equal(halves.float().nan_to_num(7))


@pytest.mark.parametrize("name", ["baseline", "avx2"])
@pytest.mark.parametrize(("rows", "inner", "out"), SHAPES)
def test_products_are_bit_by_bit_those_of_rounded_factors(name, rows, inner, out, use):
    """However the factors are kept, rounding them and the result is all that is done to the fp32 product."""
    use(name)
    generator = torch.Generator().manual_seed(rows)
    x, weight, gradient = (
        torch.randn(*shape, generator=generator) for shape in ((rows, inner), (out, inner), (rows, out))
    )
    small, wide = x.bfloat16(), weight.bfloat16().float()
    exact = torch.nn.functional.linear(small.float(), wide)
    weight = _core.ops.for_products(weight, torch.bfloat16)
    assert weight.equal(wide)
    assert _core.ops.matmul_transposed(small, weight).equal(exact.bfloat16())
    for factor in (small, _core.ops.for_products(x, torch.bfloat16)):
        kept = _core.ops.wide_product(factor, weight, torch.bfloat16)
        assert kept.equal(exact.bfloat16().float())
        by_weight = _core.ops.weight_gradient(gradient.bfloat16(), factor, torch.float32)
        assert by_weight.equal(gradient.bfloat16().float().t() @ small.float())


@pytest.mark.parametrize("is_view", [False, True])
@pytest.mark.parametrize(
    ("rows", "inner", "out"),
    [(0, 64, 2048), (1, 64, 2048), (65, 64, 4097), (1025, 64, 2049), (1025, 2050, 2048)],
)
def test_wide_products_are_the_sums_by_definition(rows, inner, out, is_view):
    """Whichever library multiplies, which depends on the processor and the shape."""
    generator = torch.Generator().manual_seed(rows)
    x, weight = (torch.randn(*shape, generator=generator) for shape in ((rows, inner), (out, inner)))
    product = _core.ops.matmul_transposed(x, weight.t().contiguous().t() if is_view else weight)
    torch.testing.assert_close(product.double(), x.double() @ weight.double().t(), rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("name", ["baseline", "avx2"])
def test_rounded_factors_have_rounded_gradients(name, use):
    """As torch's own rounding has them, to the second derivative."""
    use(name)
    weight = torch.randn(5, 7, requires_grad=True)
    by_core, by_torch = (
        torch.autograd.grad((rounded**3).sum(), weight, create_graph=True)[0]
        for rounded in (_core.ops.for_products(weight, torch.bfloat16), weight.bfloat16().float())
    )
    assert by_core.equal(by_torch)
    again, of_torch = (torch.autograd.grad(first.sum(), weight)[0] for first in (by_core, by_torch))
    assert again.equal(of_torch)
    assert again.abs().sum() > 0


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
