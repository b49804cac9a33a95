"""Norms of the gradients of both losses, each by itself."""

import pytest
import torch

from joint_training import Run, make_trainer
from notellm.losses import csft_head_loss, gcl_loss

NORMS = ("grad_norm_contrastive", "grad_norm_generative")


def norms_by_hand(trainer):
    """The norms of both terms of eq. (4) of the first batch."""
    parameters = [p for p in trainer.model.parameters() if p.requires_grad]
    for loss in losses_by_hand(trainer):
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
        yield torch.cat([g.reshape(-1) for g in gradients if g is not None]).norm().item()


def losses_by_hand(trainer):
    """Both terms of eq. (4) of the first batch, with a graph of their own."""
    model, plan, alpha = trainer.model, trainer.sampler.plan(0), trainer.options.alpha
    batch = model.prompt.pack_rows(trainer.tokenized, plan.prompts)
    states = model(batch, torch.float64)
    ids = torch.from_numpy(plan.note_ids)
    contrastive = gcl_loss(states.embeddings, model.tau, note_ids=ids)
    generative = csft_head_loss(
        states.labelled,
        model.head_weight,
        torch.from_numpy(batch.labels),
        torch.tensor(batch.label_offsets),
        dtype=torch.float64,
    )
    return contrastive / (1 + alpha), alpha * generative / (1 + alpha)


@pytest.mark.parametrize("options", [{}, {"micro_pairs": 2, "checkpoint_layers": True}], ids=str)
def test_they_are_those_of_the_losses_alone(options, tiny_folder):
    run = Run("norms", options | {"grad_norms_every": 1, "hashtag_ratio": 0.0})
    trainer, fresh = make_trainer(tiny_folder, run), make_trainer(tiny_folder, run)
    first = trainer.train(until=1)[0]
    assert [first[name] for name in NORMS] == pytest.approx(list(norms_by_hand(fresh)), rel=1e-9)
    assert abs(first[NORMS[0]] - first[NORMS[1]]) <= first["grad_norm"] <= first[NORMS[0]] + first[NORMS[1]]


@pytest.mark.parametrize(
    ("options", "there"),
    [({"alpha": 0.0}, NORMS[:1]), ({"contrastive": False}, NORMS[1:]), ({}, NORMS)],
    ids=str,
)
def test_they_are_of_the_losses_that_are_trained_in_the_steps_asked_for(options, there, tiny_folder):
    run = Run("norms", options | {"grad_norms_every": 2})
    records = make_trainer(tiny_folder, run).train()
    assert [tuple(key for key in NORMS if key in record) for record in records] == [there, (), there]
