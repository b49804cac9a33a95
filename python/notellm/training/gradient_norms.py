"""How large the gradients of both losses are, each by itself."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from notellm import _core
from notellm.models.notellm import NoteLLM
from notellm.training.optimizer import Optimizer
from notellm.training.options import TrainOptions
from notellm.training.processes import Processes
from notellm.training.sharding import Shards
from notellm.training.step import JointStep


class GradientNorms:
    """Norms of the two terms of eq. (4): L_cl / (1 + alpha) and alpha L_gen / (1 + alpha).

    Each takes the passes of a step of its own, so that the step's own gradient is not touched, nor its rounding.

    Args:
        model: As `JointStep` takes it.
        tokenized: The notes that the plans index.
        options: Those of the training.
        processes: The processes that share a step.
        optimizer: Knows the norm of a gradient.
        numbers: As `JointStep` takes them.
    """

    def __init__(
        self,
        model: NoteLLM | Shards,
        tokenized: "_core.prompts.TokenizedNotes",
        options: TrainOptions,
        processes: Processes,
        optimizer: Optimizer,
        numbers: NDArray[np.int64],
    ) -> None:
        self._optimizer, self._alpha = optimizer, options.alpha
        alone = {
            "contrastive": replace(options, alpha=0.0) if options.contrastive else None,
            "generative": replace(options, contrastive=False) if options.alpha > 0 else None,
        }
        self._steps = {
            name: JointStep(model, tokenized, own, processes, numbers=numbers)
            for name, own in alone.items()
            if own is not None
        }

    def of(self, plan: "_core.prompts.PlannedBatch", step: int) -> dict[str, Tensor]:
        """The norms by loss, on the model's device; losses that are not trained are left out.

        Args:
            plan: The plan of the step.
            step: Its number.
        """
        norms = {}
        for name, alone in self._steps.items():
            alone.backward(plan, step)
            norms[name] = self._optimizer.gradient_norm()
        if "contrastive" in norms:  # without the other loss it has all the weight
            norms["contrastive"] = norms["contrastive"] / (1 + self._alpha)
        return norms
