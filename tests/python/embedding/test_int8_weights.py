"""Matrices kept as int8 while notes are embedded: what is lost, what is saved, what stays the same."""

import pytest
import torch
from torch.nn.functional import cosine_similarity

from loops import SETS
from notellm import _core
from notellm.embedding import embed

pytestmark = pytest.mark.instruction_set

quantise, dequantise = _core.ops.quantise, _core.ops.dequantise


def embedded(model, notes, **options):
    return embed(model, model.prompt.tokenize(notes), **options)


def odd_matrix(dtype=torch.float32):
    """37 columns fill no vector of any set; rows of very different size, one of zeros."""
    torch.manual_seed(1)
    matrix = torch.randn(6, 37, dtype=dtype) * torch.tensor([[1e-3], [1.0], [50.0], [0.0], [1e-20], [3.0]])
    matrix[5, 0] = -9.0  # the largest of its row is negative
    return matrix


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_every_weight_is_within_half_a_step(dtype):
    matrix = odd_matrix().to(dtype)
    values, scales = quantise(matrix)
    assert values.dtype == torch.int8
    assert scales.dtype == torch.float32
    assert values.abs().max() <= 127
    torch.testing.assert_close(scales, matrix.float().abs().amax(1) / 127)
    error = (dequantise(values, scales, torch.float64) - matrix.double()).abs()
    assert (error <= scales.double()[:, None] * (0.5 + 1e-4)).all()
    largest = matrix.double().abs().argmax(1, keepdim=True)
    assert (error.gather(1, largest)[:, 0] <= scales * 1e-4).all()  # the ends of a row's range are met


def test_a_row_of_zeros_stays_zero():
    values, scales = quantise(odd_matrix())
    assert not values[3].any()
    assert scales[3] == 0
    assert not dequantise(values, scales, torch.float32)[3].any()


@pytest.mark.parametrize("name", ["none", *SETS])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_widening_is_one_rounded_product(name, dtype, use):
    use(name)
    values = torch.arange(-127, 128, dtype=torch.int8).repeat(6, 1)  # every value there is
    scales = torch.tensor([1e-6, 0.013, 0.5, 1.0, 0.0, 77.7])
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    expected = (values.to(wide) * scales.to(wide)[:, None]).to(dtype)
    assert torch.equal(dequantise(values, scales, dtype), expected)


@pytest.mark.parametrize(("dtype", "floor"), [("fp32", 0.99), ("bf16", 0.98)])
def test_vectors_point_where_those_of_fp32_do(dtype, floor, tiny, notes):
    """The least cosines of this random model are 0.9965 and 0.9914 (bf16 alone: 0.9986)."""
    expected = embedded(tiny, notes, dtype="fp32").vectors
    actual = embedded(tiny, notes, dtype=dtype, weights="int8").vectors
    assert cosine_similarity(actual, expected).min() > floor
    assert not torch.equal(actual, expected)


@pytest.mark.parametrize("name", ["none", *SETS])
@pytest.mark.parametrize("dtype", ["fp64", "fp32", "bf16"])
def test_equals_a_model_of_the_dequantised_weights(name, dtype, use, tiny, notes):
    use(name)
    model = tiny.double() if dtype == "fp64" else tiny
    actual = embedded(model, notes, dtype=dtype, weights="int8").vectors
    with torch.no_grad():
        for layer in model.model.layers:
            for part in [*layer.self_attn.children(), *layer.mlp.children()]:
                part.weight.copy_(dequantise(*quantise(part.weight), part.weight.dtype))
    assert torch.equal(actual, embedded(model, notes, dtype=dtype).vectors)


def test_bf16_products_round_the_model_s_weights_once(tiny, notes):
    """int8 is made of the fp32 weights, not of their bf16 copies."""
    rounded = embedded(tiny, notes, dtype="bf16", weights="int8").vectors
    tiny.model.to(torch.bfloat16).float()
    assert not torch.equal(rounded, embedded(tiny, notes, dtype="bf16", weights="int8").vectors)


@pytest.mark.parametrize(("dtype", "size"), [("fp64", 8), ("fp32", 4), ("bf16", 2)])
def test_what_the_matrices_take_is_reported(dtype, size, tiny, notes):
    model = tiny.double() if dtype == "fp64" else tiny
    parts = [p for layer in model.model.layers for p in layer.parameters() if p.dim() == 2]
    weights, rows = sum(p.numel() for p in parts), sum(len(p) for p in parts)
    if dtype == "bf16" and not _core.ops.multiplies_bf16():
        size = 4  # the same numbers in fp32, whose products stand in for those of bf16
    assert embedded(model, notes, dtype=dtype).weight_bytes == size * weights
    assert embedded(model, notes, dtype=dtype, weights="int8").weight_bytes == weights + 4 * rows


@pytest.mark.parametrize("batch_tokens", [1, 150])
def test_a_note_alone_equals_the_note_in_any_batch(batch_tokens, tiny, notes):
    together = embedded(tiny, notes, dtype="fp32", weights="int8").vectors
    apart = embedded(tiny, notes, dtype="fp32", weights="int8", batch_tokens=batch_tokens).vectors
    torch.testing.assert_close(apart, together, rtol=0, atol=1e-5)


def test_embed_of_the_model_passes_the_name_on(tiny, notes):
    assert torch.equal(tiny.embed(notes, weights="int8"), embedded(tiny, notes, weights="int8").vectors)


def test_other_names_are_refused(tiny, notes):
    with pytest.raises(ValueError, match="weights must be same or int8, but is 'int4'"):
        embedded(tiny, notes, weights="int4")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(bad, tiny, notes):
    with torch.no_grad():
        tiny.model.layers[1].mlp.up_proj.weight[0, 3] = bad
    with pytest.raises(ValueError, match="numbers must be finite to become int8, but a row holds inf or nan"):
        embedded(tiny, notes, weights="int8")


def test_only_matrices_can_be_quantised():
    with pytest.raises(
        ValueError, match=r"a matrix must be \(\*, \*\) of a floating-point dtype, but is float32 \[3\]"
    ):
        quantise(torch.ones(3))
