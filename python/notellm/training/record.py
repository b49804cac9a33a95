"""The record of a training step: what its losses, rates and gradients were, as in ``train.jsonl`` and in loggers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from notellm import _core
from notellm.losses import LossTerm
from notellm.training.options import TrainOptions
from notellm.training.plugins import ExtraLosses
from notellm.training.step import StepSums

Record = dict[str, Any]

KEYS = (
    *("step", "contrastive", "generative", "loss", "tau", "scale", "lr", "lr_head"),
    *("grad_norm", "grad_norm_contrastive", "grad_norm_generative", "validation"),
    *("tokens", "notes", "negatives", "hashtag_shortfall", "seconds", "tokens_per_second"),
)
"""Keys that a record may have without extra losses."""


def check_extra_losses(losses: ExtraLosses) -> None:
    """Refuses names that records have already, and weights that are not finite numbers.

    Raises:
        ValueError: If there is such a name or weight.
    """
    for name, (weight, _) in losses.items():
        if name in KEYS:
            raise ValueError(
                f"Trainer: an extra loss must have a name of its own, but {name!r} is a key of records"
            )
        if not np.isfinite(weight):
            raise ValueError(f"Trainer: the weight of {name!r} must be finite, but is {weight}")


def step_record(
    step: int,
    plan: "_core.prompts.PlannedBatch",
    sums: StepSums,
    options: TrainOptions,
    *,
    loss: float | None,
    tau: Tensor,
    factor: float,
    grad_norm: float,
    norms: Mapping[str, Tensor],
    has_negatives: bool,
) -> Record:
    """What a step has found, without the time that it took.

    Args:
        step: Its number, from 0.
        plan: Its batch.
        sums: Its losses, as sums over the processes.
        options: Of the training.
        loss: Equation (4) plus extra losses; None if the step had neither.
        tau: A scalar, after the step's update.
        factor: The schedule's, by which learning rates were multiplied.
        grad_norm: Of all parameters, before clipping.
        norms: Gradient norms of single losses, by their names.
        has_negatives: Whether the training has hard negatives.
    """
    record = {
        "step": step,
        "contrastive": _mean(sums.contrastive),
        "generative": _mean(sums.generative),
        **sums.extra,
        "loss": loss,
        "tau": tau.item(),
        "scale": tau.exp().item(),
        "lr": options.lr * factor,
        "lr_head": options.lr_head * factor,
        "grad_norm": grad_norm,
        **{f"grad_norm_{name}": float(norm) for name, norm in norms.items()},
        "tokens": sums.tokens,
        "notes": len(plan.note_ids),
        "hashtag_shortfall": plan.hashtag_shortfall,
    }
    return record | ({"negatives": len(plan.note_ids) - 2 * plan.pairs} if has_negatives else {})


def _mean(term: LossTerm) -> float | None:
    return float(term.sum) / term.count if term.count else None
