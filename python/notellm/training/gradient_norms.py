"""How large the gradients of both losses are, each by itself."""

from dataclasses import replace

from torch import Tensor

from notellm import _core
from notellm.training.optimizer import Optimizer
from notellm.training.step import JointStep


class GradientNorms:
    """Norms of the two terms of eq. (4): L_cl / (1 + alpha) and alpha L_gen / (1 + alpha).

    Each takes the passes of a step of its own, so that the step's own gradient is not touched, nor its rounding.

    They are wanted after every ``grad_norms_every`` steps.

    Args:
        step: What computes the steps.
        optimizer: Knows the norm of a gradient.
    """

    def __init__(self, step: JointStep, optimizer: Optimizer) -> None:
        options = step.options
        self._optimizer, self._alpha, self._every = optimizer, options.alpha, options.grad_norms_every
        alone = {
            "contrastive": replace(options, alpha=0.0) if options.contrastive else None,
            "generative": replace(options, contrastive=False) if options.alpha > 0 else None,
        }
        self._steps = {
            name: JointStep(step.shards or step.model, step.tokenized, own, step.processes, step.pairs)
            for name, own in alone.items()
            if own is not None
        }

    def of(self, plan: "_core.prompts.PlannedBatch", step: int) -> dict[str, Tensor]:
        """The norms by loss, on the model's device; losses that are not trained are left out, as all are between.

        Args:
            plan: The plan of the step.
            step: Its number.
        """
        if not self._every or step % self._every:
            return {}
        norms = {}
        for name, alone in self._steps.items():
            alone.backward(plan, step)
            norms[name] = self._optimizer.gradient_norm()
        if "contrastive" in norms:  # without the other loss it has all the weight
            norms["contrastive"] = norms["contrastive"] / (1 + self._alpha)
        return norms
