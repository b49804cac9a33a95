"""One related pair in detail, as printed by `notellm show-prompt`."""

from dataclasses import replace

import torch

from notellm.app.config import Config
from notellm.app.pipeline.data import IntArray
from notellm.app.pipeline.training import train_options
from notellm.data.notes import Notes
from notellm.errors import DataError
from notellm.losses import LossTerm, gcl_term, joint_loss
from notellm.models.note_model import NoteModel
from notellm.prompts import PromptExplanation, explain_prompt
from notellm.training import Trainer


def show_pair(
    config: Config, model: NoteModel, notes: Notes, source: IntArray, target: IntArray, number: int
) -> None:
    """Prints prompts, tokens and losses of one pair of the first training step.

    Args:
        config: Its ``train`` and ``loss`` groups, seed and dtype.
        model: Trained or not.
        notes: The notes that the pairs index.
        source: Shape ``(P,)``: training pairs.
        target: Shape ``(P,)``.
        number: Which pair of the step, from 0.

    Raises:
        DataError: If the step has no such pair.
    """
    options = replace(train_options(config), loggers=(), validate_every=0, patience=0)  # nothing is trained
    trainer = Trainer(model, notes, source, target, options)
    pairs = config.train.pairs_per_step
    if not 0 <= number < pairs:
        raise DataError(
            f"show-prompt: the pair must be in [0, {pairs}), a pair of the first step, but is {number}"
        )
    rows = trainer.sampler.plan(0).prompts[2 * number : 2 * number + 2]
    for row in rows:
        _print_explanation(explain_prompt(model.prompt, trainer.tokenized, row.note, row=row))
    batch = model.prompt.pack_rows(trainer.tokenized, rows)
    with torch.no_grad():
        states = model(batch, trainer.dtype)
        contrastive = gcl_term(states.embeddings, model.tau, nested_dims=config.loss.nested_dims)
        generative = model.generative_term(
            states.labelled,
            model.on_device(batch.labels),
            torch.tensor(batch.label_offsets),
            reduction=config.loss.csft_reduction,
            dtype=trainer.dtype,
        )
    cosine = torch.nn.functional.cosine_similarity(states.embeddings[0], states.embeddings[1], dim=0)
    print(f"cosine of the two embeddings: {cosine:.4f}, scale exp(tau) = {model.tau.exp():.3f}")
    print(f"contrastive loss: {contrastive.sum / contrastive.count:.4f} (a pair alone has no negatives)")
    if generative.count:
        print(f"generative loss:  {generative.sum / generative.count:.4f}")
    counted = contrastive if config.loss.contrastive else LossTerm(contrastive.sum, 0)
    if counted.count + generative.count:
        print(f"joint loss:       {joint_loss(counted, generative, alpha=config.loss.alpha):.4f}")


def _print_explanation(explained: PromptExplanation) -> None:
    count = f", {explained.count} asked for" if explained.count else ""
    print(f"task: {explained.task}{count}\ntext: {explained.text}\n")
    print(f"{'#':>4} {'id':>6}  {'token':<16} {'role':<12} must predict")
    for position, token in enumerate(explained.tokens):
        role = "embedding" if token.is_compression else "shared" if token.is_shared else ""
        label = "" if token.label is None else f"{token.label_text!r} ({token.label})"
        print(f"{position:>4} {token.id:>6}  {token.text!r:<16} {role:<12} {label}".rstrip())
    print()
