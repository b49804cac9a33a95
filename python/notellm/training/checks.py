"""What must hold before a training."""

from notellm import _core
from notellm.training.options import TrainOptions


def check_pairs(pairs: int, processes: int) -> None:
    """Every process needs a pair of each step.

    Raises:
        ValueError: If there are fewer.
    """
    if pairs < processes:
        raise ValueError(
            f"Trainer: pairs_per_step must be at least the number of processes, {processes}, but is {pairs}"
        )


def check_there_is_a_loss(
    options: TrainOptions, notes: "_core.prompts.TokenizedNotes", has_extra_losses: bool
) -> None:
    """Something must be learnt.

    Raises:
        ValueError: If there is only the generative loss, but nothing to generate.
    """
    has_hashtags = options.hashtag_ratio > 0 and len(notes.hashtags.ids) > 0
    has_output = len(notes.categories.ids) > 0 or has_hashtags
    if not options.contrastive and not has_extra_losses and not (has_output and options.alpha > 0):
        raise ValueError(
            "Trainer: without the contrastive loss there must be outputs to learn and alpha above 0, but "
            f"{'alpha is 0' if has_output else 'no note has a category, or a hashtag that may be asked for'}"
        )
