"""The same code on CUDA tensors gives what it gives on the CPU; skipped without a GPU."""

import numpy as np
import pytest
import torch

from notellm import Decoding, NoteLLM, Trainer, TrainOptions, _core, target_ranks
from notellm.generation import score_categories

pytestmark = pytest.mark.gpu


@pytest.fixture
def on_gpu(tiny_folder):
    return NoteLLM.from_pretrained(tiny_folder, dim=6).to("cuda")


@pytest.mark.parametrize(("dtype", "tolerance"), [("fp32", 1e-4), ("bf16", 0.03)])
def test_embeddings_equal_the_cpu_s(dtype, tolerance, tiny, on_gpu, notes):
    actual = on_gpu.embed(notes, dtype=dtype)
    assert actual.device.type == "cpu"
    torch.testing.assert_close(actual, tiny.embed(notes, dtype="fp32"), rtol=0, atol=tolerance)


def test_generation_equals_the_cpu_s(tiny, on_gpu, notes):
    options = {"max_new_tokens": 5, "dtype": "fp32"}
    assert on_gpu.generate_category(notes, **options) == tiny.generate_category(notes, **options)


@pytest.mark.parametrize(
    "decoding",
    [Decoding(beams=3), Decoding(temperature=1.0, top_p=0.9, top_k=50), Decoding(repetition_penalty=1.3)],
)
def test_every_decoding_equals_the_cpu_s(tiny, on_gpu, notes, decoding):
    known = ["games", "games and more", "web", "sound"]
    for options in ({"max_new_tokens": 5}, {"categories": known}):
        actual = on_gpu.generate_category(notes, decoding=decoding, dtype="fp32", **options)
        expected = tiny.generate_category(notes, decoding=decoding, dtype="fp32", **options)
        assert sum(a != b for a, b in zip(actual, expected, strict=True)) <= 1  # a near tie


def test_category_scores_equal_the_cpu_s(tiny, on_gpu, notes):
    known = ["games", "games and more", "web", "sound"]
    actual, expected = (
        score_categories(model, notes, known, dtype="fp32").log_probs.cpu() for model in (on_gpu, tiny)
    )
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-3)


def test_training_equals_the_cpu_s(tiny, on_gpu, notes):
    source, target = np.array([1, 2, 3, 4]), np.array([5, 6, 7, 8])
    options = TrainOptions(pairs_per_step=2, epochs=3, lr=1e-3, lr_head=1e-3, dtype="fp32")
    for model in (tiny, on_gpu):
        Trainer(model, notes, source, target, options).train()
    for (name, cpu), gpu in zip(tiny.named_parameters(), on_gpu.parameters(), strict=True):
        torch.testing.assert_close(gpu.cpu(), cpu, rtol=0, atol=5e-3, msg=name)


def forest_states(model, device):
    """Final states of a deep forest in bf16, and every weight's gradient, in fp32 on the CPU."""
    torch.manual_seed(0)
    segments = _core.models.Segments([0, 26, 49, 50, 113, 121, 140], [-1, 0, 1, 0, 3, -1])
    tokens, weight = torch.randint(0, 400, (140,)), torch.randn(140, model.model.config.width)
    states = model.model(tokens.to(device), model.model.plan(segments, torch.bfloat16))
    (states * weight.to(device)).sum().backward()
    return states.detach().cpu(), {n: p.grad.cpu() for n, p in model.model.named_parameters()}


def test_a_forest_in_bf16_has_the_states_and_gradients_of_the_cpu(tiny, on_gpu):
    """One flash attention over all segments on the GPU."""
    expected, expected_gradients = forest_states(tiny, "cpu")
    actual, gradients = forest_states(on_gpu, "cuda")
    torch.testing.assert_close(actual, expected, rtol=0, atol=0.04 * expected.abs().max().item())
    for name, gradient in expected_gradients.items():
        limit = 0.04 * gradient.abs().max().item()
        torch.testing.assert_close(gradients[name], gradient, rtol=0, atol=limit, msg=name)


def test_ranks_equal_the_cpu_s():
    pool = torch.randn(500, 8)
    targets = torch.arange(50) + 50
    expected = target_ranks(pool[:50], pool, targets, exclude=torch.arange(50))
    actual = target_ranks(pool[:50].cuda(), pool.cuda(), targets.cuda(), exclude=torch.arange(50).cuda())
    assert torch.equal(actual.greater.cpu(), expected.greater)
    assert torch.equal(actual.equal.cpu(), expected.equal)
