"""The hand-written CPU loops against composed LibTorch operations: every set, every dtype, odd shapes."""

import os
import subprocess
import sys

import pytest
import torch
from test_decoder import BASE, CASES

import notellm
from loops import SETS
from notellm import _core
from notellm.models.decoder import Decoder

pytestmark = pytest.mark.instruction_set

TOLERANCE = {torch.float64: 1e-11, torch.float32: 2e-5, torch.bfloat16: 0.04}
"""Of states with entries around 1, relative to the largest. Loops round in another order; bf16 keeps 8 bits."""

FORESTS = {
    "one token": ([0, 1], [-1]),
    "one note": ([0, 17], [-1]),
    "instruction and notes": ([0, 26, 49, 50, 113, 121], [-1, 0, 0, 0, 0]),
    "deep": ([0, 3, 4, 6, 20, 21, 40], [-1, 0, 1, 0, 3, 3]),
    "longer than a block of rows": ([0, 90, 230, 231], [-1, 0, 0]),
}


def decoder(case="llama", **changes):
    torch.manual_seed(3)
    fields = BASE | {"num_hidden_layers": 2} | CASES[case] | changes
    model = Decoder(fields | {"rope_theta": 10000.0})
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 1.0 if parameter.dim() == 1 else 0.0, 0.3)
    return model


def states_and_gradients(model, forest, dtype, read_rows=None):
    """Final states, and the gradient of every parameter for a random weighting of them."""
    model = model.to(torch.float64 if dtype == torch.float64 else torch.float32)
    offsets, parents = forest
    torch.manual_seed(4)
    tokens = torch.randint(0, BASE["vocab_size"], (offsets[-1],))
    plan = model.plan(_core.models.Segments(offsets, parents), dtype, read_rows)
    states = model(tokens, plan)
    weight = torch.randn(states.shape, dtype=torch.float64).to(states.dtype)
    (states * weight).sum().backward()
    return states.detach(), {name: p.grad for name, p in model.named_parameters()}


def assert_close(actual, expected, tolerance, name):
    scale = max(float(expected.abs().max()), 1e-6)
    torch.testing.assert_close(actual / scale, expected / scale, rtol=0, atol=tolerance, msg=name)


def assert_gradients_close(actual, expected, tolerance):
    """Each relative to its own largest entry; one that is zero but for rounding, to the largest of all."""
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    for name, gradient in expected.items():
        if gradient.abs().max() < 1e-6 * largest:
            assert actual[name].abs().max() < 1e-6 * largest, name
        else:
            assert_close(actual[name], gradient, tolerance, name)


@pytest.mark.parametrize("forest", FORESTS)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", SETS)
def test_equals_composed_operations(name, dtype, forest, use):
    use("none")
    expected, expected_gradients = states_and_gradients(decoder(), FORESTS[forest], dtype)
    use(name)
    states, gradients = states_and_gradients(decoder(), FORESTS[forest], dtype)
    assert_close(states, expected, TOLERANCE[dtype], "states")
    assert_gradients_close(gradients, expected_gradients, 3 * TOLERANCE[dtype])


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize(
    "case", ["llama_multi_head", "llama_multi_query", "llama_wide_heads", "qwen2", "qwen3"]
)
def test_every_family_on_every_set(case, name, use):
    forest = FORESTS["deep"]
    use("none")
    expected, expected_gradients = states_and_gradients(decoder(case), forest, torch.float64, [39, 2, 20])
    use(name)
    states, gradients = states_and_gradients(decoder(case), forest, torch.float64, [39, 2, 20])
    assert states.shape == (3, BASE["hidden_size"])
    assert_close(states, expected, 1e-11, "states")
    assert_gradients_close(gradients, expected_gradients, 1e-10)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_reading_some_rows_equals_picking_them(dtype):
    forest = FORESTS["instruction and notes"]
    rows = [120, 0, 49, 25, 77]
    some, some_gradients = states_and_gradients(decoder(), forest, dtype, rows)
    model = decoder().to(torch.float64 if dtype == torch.float64 else torch.float32)
    torch.manual_seed(4)
    tokens = torch.randint(0, BASE["vocab_size"], (121,))
    states = model(tokens, model.plan(_core.models.Segments(*forest), dtype))[rows]
    assert_close(some, states.detach(), TOLERANCE[dtype], "states")
    weight = torch.randn(states.shape, dtype=torch.float64).to(states.dtype)
    (states * weight).sum().backward()
    for name, parameter in model.named_parameters():
        assert_close(some_gradients[name], parameter.grad, 3 * TOLERANCE[dtype], name)


@pytest.mark.parametrize("name", SETS)
def test_gradients_by_finite_differences(name, use):
    use(name)
    model = decoder(
        hidden_size=6, intermediate_size=5, num_attention_heads=2, num_key_value_heads=1, head_dim=4
    )
    layer = model.double().layers[0]
    forest = _core.models.Segments([0, 2, 4, 5], [-1, 0, 0])
    plan = model.plan(forest, torch.float64, [4, 2])
    x = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    for is_last in (False, True):
        names, parameters = zip(*layer.named_parameters(), strict=True)

        def block(x, *values, names=names, is_last=is_last):
            return torch.func.functional_call(
                layer, dict(zip(names, values, strict=True)), (x, plan, is_last)
            )

        torch.autograd.gradcheck(block, (x, *parameters), nondet_tol=0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_one_and_two_threads_agree(dtype):
    """Up to the rounding of library products, which may be cut otherwise."""
    before, results = notellm.num_threads(), []
    try:
        for threads in (1, 2):
            notellm.set_num_threads(threads)
            results.append(states_and_gradients(decoder(), FORESTS["deep"], dtype))
    finally:
        notellm.set_num_threads(before)
    assert_close(results[1][0], results[0][0], TOLERANCE[dtype], "states")
    assert_gradients_close(results[1][1], results[0][1], TOLERANCE[dtype])


def test_a_second_derivative_is_refused():
    model = decoder().double()
    plan = model.plan(_core.models.Segments([0, 4], [-1]), torch.float64)
    states = model(torch.tensor([1, 2, 3, 4]), plan)
    with pytest.raises(RuntimeError, match="rms_norm: the backward pass must run without create_graph"):
        torch.autograd.grad(states.square().sum(), model.norm.weight, create_graph=True)


def test_checkpointing_changes_no_gradient_and_keeps_less():
    forest = FORESTS["instruction and notes"]
    model = decoder(num_hidden_layers=6).double()
    tokens = torch.randint(0, BASE["vocab_size"], (121,))
    plan = model.plan(_core.models.Segments(*forest), torch.float64)
    gradients, kept = [], []
    for checkpoint in (False, True):
        sizes = {}

        def pack(tensor, sizes=sizes):
            sizes[tensor.data_ptr()] = tensor.numel()
            return tensor

        model.zero_grad()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            states = model(tokens, plan, checkpoint=checkpoint)
        kept.append(sum(sizes.values()))
        states.square().sum().backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters()})
    assert kept[1] < 0.5 * kept[0]
    for name, gradient in gradients[0].items():
        assert torch.equal(gradients[1][name], gradient), name


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ([0, 4], IndexError, r"read rows must be in \[0, 4\), but one is 4"),
        ([-1], IndexError, r"but one is -1"),
        ([2, 1, 2], ValueError, "read rows must be distinct, but 2 comes twice"),
    ],
)
def test_bad_read_rows_are_refused(rows, error, message):
    model = decoder()
    with pytest.raises(error, match=message):
        model.plan(_core.models.Segments([0, 4], [-1]), torch.float32, rows)


@pytest.mark.parametrize("rows", [3, 5, 7, 9])
def test_another_number_of_rows_is_refused(rows):
    model = decoder()
    plan = model.plan(_core.models.Segments([0, 4], [-1]), torch.float32)
    with pytest.raises(ValueError, match=f"x must be of 4 rows, but is of {rows}"):
        model.layers[0](torch.zeros(rows, BASE["hidden_size"]), plan)


def test_what_fills_a_batch_up_changes_nothing(use):
    """fp32 products run on whole rows, which are more than the tokens or just as many."""
    model = decoder()
    tokens = torch.arange(1, 24)
    with torch.no_grad():
        for count in (1, 7, 8, 9, 23):
            forest = _core.models.Segments([0, count], [-1])
            use("none")
            expected = model(tokens[:count], model.plan(forest, torch.float32))
            use("")
            every = model(tokens[:count], model.plan(forest, torch.float32))
            last = model(tokens[:count], model.plan(forest, torch.float32, [count - 1]))
            assert every.shape == expected.shape
            assert last.shape == (1, expected.size(1))
            torch.testing.assert_close(every, expected, rtol=0, atol=1e-4)
            torch.testing.assert_close(last[0], expected[-1], rtol=0, atol=1e-4)


def test_unknown_sets_are_refused():
    with pytest.raises(
        ValueError, match="must be none, baseline, avx2, avx512 or avx512_bf16, but is 'sse9'"
    ):
        notellm.set_instruction_set("sse9")
    assert notellm.instruction_set() != "sse9"


def test_an_empty_name_returns_to_what_the_environment_says():
    code = "import notellm as n; n.set_instruction_set('none'); n.set_instruction_set(''); print(n.instruction_set())"
    environment = os.environ | {"NOTELLM_INSTRUCTION_SET": "baseline"}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert said.stdout == "baseline\n", said.stderr
