"""What embedding and generation need of a model, whoever it is."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from tokenizers import Tokenizer
from torch import Tensor

from notellm import _core
from notellm.models.decoder import Decoder
from notellm.models.pooling import PoolingFn
from notellm.prompts import Prompt


@dataclass
class TrainingStates:
    """What one forward pass over a packed batch yields."""

    pooled: Tensor
    """Shape ``(n, D)``: what is projected; the states at the compressed positions, unless the model pools otherwise."""
    embeddings: Tensor
    """Shape ``(n, d)``: ``pooled``, projected, not yet normalised."""
    labelled: Tensor
    """Shape ``(M, D)``: states at the label positions, which `notellm.losses.csft_head_term` takes to the loss."""


class LanguageModel(Protocol):
    """A decoder with a prompt: `notellm.NoteLLM`, or what does the same."""

    model: Decoder
    tokenizer: Tokenizer
    prompt: Prompt
    end_tokens: tuple[int, ...]
    pooling: str | PoolingFn

    @property
    def dim(self) -> int:
        """Width ``d`` of the embeddings."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""

    def language_model(self, *, with_head: bool = True) -> "_core.models.LanguageModel":
        """The weights as they are now, as the core takes them; embedding does without the head."""

    def __call__(self, batch: "_core.prompts.PackedBatch", dtype: torch.dtype, /) -> Any:
        """`TrainingStates` of a packed batch; called where a pooling is a function."""
