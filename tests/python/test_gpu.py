"""The same code on CUDA tensors gives what it gives on the CPU; skipped without a GPU."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch

import notellm
from notellm import DecodingOptions, LoraOptions, NoteLLM, Trainer, TrainOptions, _core, target_ranks
from notellm.generation import score_categories
from notellm.losses import csft_head_loss

pytestmark = pytest.mark.gpu


@pytest.fixture
def on_gpu(tiny_folder):
    return NoteLLM.from_pretrained(tiny_folder, dim=6).to("cuda")


@pytest.mark.parametrize(("dtype", "tolerance"), [("fp32", 1e-4), ("bf16", 0.06)])  # 0.034 on the CPU
def test_embeddings_equal_the_cpu_s(dtype, tolerance, tiny, on_gpu, notes):
    actual = on_gpu.embed(notes, dtype=dtype)
    assert actual.device.type == "cpu"
    torch.testing.assert_close(actual, tiny.embed(notes, dtype="fp32"), rtol=0, atol=tolerance)


def test_what_memory_cannot_hold_is_torch_s_own_error(on_gpu, notes):
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-6)
    try:
        with pytest.raises(torch.OutOfMemoryError):
            on_gpu.embed(notes)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_generation_equals_the_cpu_s(tiny, on_gpu, notes):
    options = {"max_new_tokens": 5, "dtype": "fp32"}
    assert on_gpu.generate_category(notes, **options) == tiny.generate_category(notes, **options)


@pytest.mark.parametrize(
    "decoding",
    [
        DecodingOptions(beams=3),
        DecodingOptions(temperature=1.0, top_p=0.9, top_k=50),
        DecodingOptions(repetition_penalty=1.3),
    ],
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


@pytest.fixture
def composed():
    """LibTorch's operations instead of our kernels, in a context."""

    @contextmanager
    def none():
        before = notellm.instruction_set()
        notellm.set_instruction_set("none")
        try:
            yield
        finally:
            notellm.set_instruction_set(before)

    return none


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_losses_kernels_equal_composed_operations(dtype, composed):
    torch.manual_seed(0)
    rows, tau = torch.randn(300, 8, dtype=dtype), torch.tensor(2.0, dtype=dtype)
    ids = torch.arange(300) % 140  # some notes come twice
    states, head, labels = (
        torch.randn(90, 8, dtype=dtype),
        torch.randn(70, 8, dtype=dtype),
        torch.arange(90) % 70,
    )

    def gradients():
        parts = [x.cuda().requires_grad_() for x in (rows, tau, states, head)]
        contrastive = _core.losses.gcl_loss(parts[0], parts[1], ids.cuda(), tile_rows=128).sum
        generative = csft_head_loss(
            *parts[2:], labels.cuda(), torch.tensor([0, 40, 90]), dtype=dtype, max_logits=1000
        )
        (contrastive + generative).backward()
        return [x.grad.cpu() for x in parts]

    actual = gradients()
    with composed():
        expected = gradients()
    limit = 1e-10 if dtype == torch.float64 else 1e-4
    torch.testing.assert_close(actual, expected, rtol=limit, atol=limit)


@pytest.mark.parametrize(("dtype", "tolerance"), [("fp32", 1e-4), ("bf16", 0.06)])
def test_embedding_with_the_kernels_equals_composed_operations(dtype, tolerance, on_gpu, notes, composed):
    actual = on_gpu.embed(notes, dtype=dtype)
    with composed():
        expected = on_gpu.embed(notes, dtype=dtype)
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


@contextmanager
def no_waiting():
    """Within it everything that makes the host wait for the GPU is an error."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_waiting_is_found():
    number = torch.ones((), device="cuda")
    with no_waiting(), pytest.raises(RuntimeError, match="synchronizing"):
        number.item()


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("pooling", ["compression", "mean"])
def test_embedding_waits_for_the_gpu_once_after_its_last_pass(dtype, pooling, on_gpu, notes):
    options = {"dtype": dtype, "pooling": pooling, "batch_tokens": 128}
    begun = []
    expected = on_gpu.embed(notes, progress=lambda done, _: begun.append(done), **options)
    assert len(begun) >= 4  # three passes, and the end
    _, *_, last_pass, _ = begun

    def allow(done, _):
        torch.cuda.set_sync_debug_mode("default" if done >= last_pass else "error")

    with no_waiting():
        actual = on_gpu.embed(notes, progress=allow, **options)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_pass_with_a_pooling_in_python_does_not_wait(dtype, on_gpu, notes):
    on_gpu.pooling = "mean"
    packed = on_gpu.prompt.pack(on_gpu.prompt.tokenize(notes), range(len(notes)), mode="embed")
    on_gpu(packed, dtype)
    with no_waiting():
        on_gpu(packed, dtype)


@pytest.mark.parametrize("lora", [None, LoraOptions(r=2, dropout=0.25)], ids=["full", "lora"])
@pytest.mark.parametrize("micro_pairs", [0, 1])
def test_a_training_step_does_not_wait_before_its_losses_are_read(lora, micro_pairs, on_gpu, notes):
    if lora is not None:
        on_gpu.add_lora(lora)
    source, target = np.array([1, 1, 3, 4]), np.array([5, 6, 7, 8])  # note 1 twice: its copies are masked
    options = TrainOptions(pairs_per_step=4, micro_pairs=micro_pairs, epochs=4, dtype="bf16")
    trainer = Trainer(on_gpu, notes, source, target, options)
    trainer.train(until=2)
    plan = trainer.plan(2)
    on_gpu.train()
    with no_waiting():
        sums = trainer.joint_step.backward(plan, 2)
    assert np.isfinite(float(sums.contrastive.sum + sums.generative.sum))


def test_a_label_that_there_is_not_gives_nan(on_gpu):
    states, head = torch.randn(2, 4, device="cuda"), torch.randn(6, 4, device="cuda")
    labels, offsets = torch.tensor([1, 6], device="cuda"), torch.tensor([0, 1, 2])
    assert csft_head_loss(states, head, labels, offsets).isnan()
