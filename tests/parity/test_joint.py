"""The joint loss and its gradients against transformers and plain torch, one note at a time."""

import pytest
import reference
import torch
from transformers import AutoModelForCausalLM

from notellm.losses import csft_head_term, gcl_term, joint_loss
from notellm.models.notellm import NoteLLM

pytestmark = pytest.mark.instruction_set

ALPHA = 0.3
PAIRS = [(1, 2), (3, 4), (11, 5), (1, 6)]
"""Note 1 twice, so that the false-negative mask matters; note 11 is longer than every limit."""

DEPTHS = [6, pytest.param(0, marks=pytest.mark.slow)]
"""Layers of SmolLM2 whose gradients are compared; 0: all of them."""

FEW = [0, 3, 11]
"""Notes that all layers of SmolLM2 read; the tiny model reads all notes."""


def planned_rows(model, tokenized):
    sampler = model.prompt.sampler(
        tokenized,
        [a for a, _ in PAIRS],
        [b for _, b in PAIRS],
        pairs_per_step=len(PAIRS),
        hashtag_ratio=0.4,
        seed=4,
    )
    return sampler.plan(0)


def our_loss(model, notes, dtype):
    tokenized = model.prompt.tokenize(notes)
    plan = planned_rows(model, tokenized)
    batch = model.prompt.pack_rows(tokenized, plan.prompts)
    out = model(batch, dtype)
    contrastive = gcl_term(out.embeddings, model.tau, note_ids=torch.tensor(plan.note_ids))
    generative = csft_head_term(
        out.labelled,
        model.head_weight,
        torch.tensor(batch.labels),
        torch.tensor(batch.label_offsets),
        dtype=dtype,
        max_logits=999,  # many tiles
    )
    return joint_loss(contrastive, generative, alpha=ALPHA), plan


def reference_loss(hf, projection, tau, model, notes, plan):
    """Eq. (2) to (4) over full, separate sequences run by transformers."""
    embeddings, logits, labels = [], [], []
    for row in plan.prompts:
        topics = [topic[:16] for topic in notes.topics[row.note]][:10]
        ids, position, output = reference.training_sequence(
            model.tokenizer,
            model.prompt.config,
            notes,
            row.note,
            row.task.name,
            [topics[i] for i in row.chosen],
            model.emb_token_id,
            model.eos_token_id,
        )
        out = hf(torch.tensor([ids]), output_hidden_states=True)
        embeddings.append(out.hidden_states[-1][0, position] @ projection.T)
        logits.append(out.logits[0, len(ids) - len(output) :])
        labels.append(torch.tensor(output))
    contrastive = reference.nt_xent(torch.stack(embeddings), tau, torch.tensor(plan.note_ids))
    return (contrastive + ALPHA * reference.generative(logits, labels)) / (1 + ALPHA)


def compare_gradients(model, notes, folder, dtype, check):
    ours, plan = our_loss(model, notes, dtype)
    ours.backward()
    assert {row.task.name for row in plan.prompts} == {"category", "hashtags"}
    hf = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa").train()
    if dtype == torch.float64:
        from test_decoder import norm_in_fp64

        for module in hf.modules():
            if type(module).__name__.endswith("RMSNorm"):
                module.forward = norm_in_fp64.__get__(module)
    projection = model.projection.weight.detach().clone().requires_grad_()
    tau = model.tau.detach().clone().requires_grad_()
    expected = reference_loss(hf, projection, tau, model, notes, plan)
    expected.backward()
    check("loss", ours.detach(), expected.detach())
    gradients = {f"model.{name}": p.grad for name, p in model.model.named_parameters()}
    gradients |= {"projection.weight": model.projection.weight.grad, "tau": model.tau.grad}
    theirs = {name: p.grad for name, p in hf.named_parameters() if name != "lm_head.weight"}
    theirs |= {"projection.weight": projection.grad, "tau": tau.grad}
    assert gradients.keys() == theirs.keys()
    for name, gradient in gradients.items():
        check(name, gradient, theirs[name])


def test_random_llama_in_fp64(tiny, notes, tmp_path):
    tiny.save_pretrained(tmp_path / "saved")

    def check(name, actual, expected):
        scale = float(expected.abs().max())
        torch.testing.assert_close(
            actual, expected, rtol=0, atol=1e-8 * scale + 1e-14, msg=lambda m: f"{name}: {m}"
        )

    compare_gradients(tiny.double(), notes, tmp_path / "saved", torch.float64, check)


def relative_error(actual, expected):
    return float((actual - expected).norm() / expected.norm())


@pytest.mark.parametrize("layers", DEPTHS)
def test_smollm2_in_fp32(layers, smollm2_folder, notes, tmp_path):
    model = NoteLLM.from_pretrained(smollm2_folder, layers=layers)
    model.save_pretrained(tmp_path / "saved")

    def check(name, actual, expected):
        if name == "tau":  # a number near 0 where all notes look alike to the first layers
            torch.testing.assert_close(actual, expected, rtol=1e-3, atol=5e-6)
        else:
            assert relative_error(actual, expected) <= 1e-3, name

    compare_gradients(model, notes, tmp_path / "saved", torch.float32, check)


def test_smollm2_embeddings_in_fp32(smollm2_folder, notes):
    notes = notes.take(FEW)
    model = NoteLLM.from_pretrained(smollm2_folder)
    ours = model.embed(notes, projected=False, dtype="fp32")
    hf = AutoModelForCausalLM.from_pretrained(smollm2_folder, dtype=torch.float32)
    for i in range(len(notes)):
        ids, position, _ = reference.training_sequence(
            model.tokenizer,
            model.prompt.config,
            notes,
            i,
            "category",
            [],
            model.emb_token_id,
            model.eos_token_id,
        )
        with torch.no_grad():
            out = hf(torch.tensor([ids[: position + 1]]), output_hidden_states=True)
        expected = torch.nn.functional.normalize(out.hidden_states[-1][0, -1], dim=0)
        assert relative_error(ours[i], expected) <= 2e-4


@pytest.mark.parametrize("task", ["category", "hashtags"])
def test_smollm2_greedy_equals_transformers_generate(task, smollm2_folder, notes):
    notes = notes.take(FEW)
    model = NoteLLM.from_pretrained(smollm2_folder)
    hf = AutoModelForCausalLM.from_pretrained(smollm2_folder, dtype=torch.float32)
    hf.resize_token_embeddings(len(model.model.embed_tokens.weight), mean_resizing=False)
    hf.model.embed_tokens.weight.data.copy_(model.model.embed_tokens.weight)
    if task == "category":
        ours = model.generate_category(notes, max_new_tokens=8, dtype="fp32")
    else:
        ours = model.generate_hashtags(notes, 2, max_new_tokens=8, dtype="fp32")
    tokenized = model.prompt.tokenize(notes)
    for i in range(len(notes)):
        batch = model.prompt.pack(tokenized, [i], task=task, mode="generate", count=2)
        prompt = torch.tensor(batch.tokens)[None]
        out = hf.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=8, do_sample=False, pad_token_id=0
        )
        text = model.tokenizer.decode(out[0, prompt.shape[1] :].tolist(), skip_special_tokens=True)
        expected = (
            model.prompt.parse_category(text) if task == "category" else model.prompt.parse_hashtags(text)
        )
        assert ours[i] == expected
