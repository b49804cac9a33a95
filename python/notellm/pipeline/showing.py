"""One related pair under the magnifying glass: what `notellm show-prompt` prints."""

import numpy as np
import torch

from notellm.config import Config
from notellm.data.notes import Notes
from notellm.losses import csft_term, gcl_term, joint_loss
from notellm.models.config import compute_dtype
from notellm.models.notellm import NoteLLM
from notellm.prompts import PromptExplanation, explain_prompt


def show_pair(config: Config, model: NoteLLM, pair: Notes) -> None:
    """Prints prompts, tokens and losses of a related pair, as the first step of a training run would see it.

    Args:
        config: Its ``loss`` group, seed and dtype.
        model: Trained or not.
        pair: The two notes.
    """
    prompt = model.prompt
    tokenized = prompt.tokenize(pair)
    sampler = prompt.sampler(
        tokenized,
        np.array([0]),
        np.array([1]),
        pairs_per_step=1,
        hashtag_share=config.loss.hashtag_share,
        seed=config.seed,
    )
    plan = sampler.plan(0)
    for row in plan.prompts:
        print(f"note {pair.ids[row.note]}")
        _print_explanation(explain_prompt(prompt, tokenized, row.note, row=row))
    batch = prompt.pack_rows(tokenized, plan.prompts)
    with torch.no_grad():
        states = model(batch, compute_dtype(config.dtype))
        contrastive = gcl_term(states.embeddings, model.tau)
        generative = csft_term(
            states.logits,
            torch.tensor(batch.labels, device=states.logits.device),
            torch.tensor(batch.label_offsets),
            reduction=config.loss.csft_reduction,
        )
        joint = joint_loss(contrastive, generative, alpha=config.loss.alpha)
    cosine = torch.nn.functional.cosine_similarity(states.embeddings[0], states.embeddings[1], dim=0)
    print(f"cosine of the two embeddings: {cosine:.4f}, scale exp(tau) = {model.tau.exp():.3f}")
    print(f"contrastive loss: {contrastive.sum / contrastive.count:.4f} (a pair alone has no negatives)")
    if generative.count:
        print(f"generative loss:  {generative.sum / generative.count:.4f}")
    print(f"joint loss:       {joint:.4f} (alpha = {config.loss.alpha:g})")


def _print_explanation(explained: PromptExplanation) -> None:
    count = f", {explained.count} asked for" if explained.count else ""
    print(f"task: {explained.task}{count}\ntext: {explained.text}\n")
    print(f"{'#':>4} {'id':>6}  {'token':<16} {'role':<12} must predict")
    for position, token in enumerate(explained.tokens):
        role = "embedding" if token.is_compression else "shared" if token.is_shared else ""
        label = "" if token.label is None else f"{token.label_text!r} ({token.label})"
        print(f"{position:>4} {token.id:>6}  {token.text!r:<16} {role:<12} {label}".rstrip())
    print()
