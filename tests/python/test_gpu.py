"""The same code on CUDA tensors gives what it gives on the CPU; skipped without a GPU."""

import numpy as np
import pytest
import torch

from notellm import NoteLLM, Trainer, TrainOptions, target_ranks

pytestmark = pytest.mark.gpu


@pytest.fixture
def on_gpu(tiny_folder):
    return NoteLLM.from_pretrained(tiny_folder, dim=6).to("cuda")


@pytest.mark.parametrize(("dtype", "tolerance"), [("fp32", 1e-4), ("bf16", 0.03)])
def test_embeddings_equal_the_cpu_s(dtype, tolerance, tiny, on_gpu, notes):
    actual = on_gpu.embed(notes, dtype=dtype)
    assert actual.device.type == "cpu"
    torch.testing.assert_close(actual, tiny.embed(notes), rtol=0, atol=tolerance)


def test_generation_equals_the_cpu_s(tiny, on_gpu, notes):
    assert on_gpu.generate_category(notes, max_new_tokens=5) == tiny.generate_category(
        notes, max_new_tokens=5
    )


def test_training_equals_the_cpu_s(tiny, on_gpu, notes):
    source, target = np.array([1, 2, 3, 4]), np.array([5, 6, 7, 8])
    options = TrainOptions(pairs_per_step=2, epochs=3, lr=1e-3, lr_head=1e-3)
    for model in (tiny, on_gpu):
        Trainer(model, notes, source, target, options).train()
    for (name, cpu), gpu in zip(tiny.named_parameters(), on_gpu.parameters(), strict=True):
        torch.testing.assert_close(gpu.cpu(), cpu, rtol=0, atol=5e-3, msg=name)


def test_ranks_equal_the_cpu_s():
    pool = torch.randn(500, 8)
    targets = torch.arange(50) + 50
    expected = target_ranks(pool[:50], pool, targets, exclude=torch.arange(50))
    actual = target_ranks(pool[:50].cuda(), pool.cuda(), targets.cuda(), exclude=torch.arange(50).cuda())
    assert torch.equal(actual.greater.cpu(), expected.greater)
    assert torch.equal(actual.equal.cpu(), expected.equal)
