"""Learning-rate schedule."""


def linear_schedule(step: int, total: int, warmup: int) -> float:
    """Linear warm-up to 1 over ``warmup`` steps, then linear decay that would reach 0 one step after the last.

    Args:
        step: Number of the optimizer step, from 0.
        total: Optimizer steps of the whole run.
        warmup: Steps of the warm-up, fewer than ``total``.

    Returns:
        The factor of the learning rate at this step, in ``(0, 1]``.

    Example:
        >>> [linear_schedule(step, 4, 2) for step in range(4)]
        [0.5, 1.0, 1.0, 0.5]
    """
    if step < warmup:
        return (step + 1) / warmup
    return (total - step) / (total - warmup)
