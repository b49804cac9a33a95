"""The interface of a model that embedding and generation need."""

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
    """The results of one forward pass over a packed batch."""

    pooled: Tensor
    """Shape ``(n, D)``: input of the projection; the states at the compressed positions, or as the model pools."""
    embeddings: Tensor
    """Shape ``(n, d)``: ``pooled``, projected, not yet normalised."""
    labelled: Tensor
    """Shape ``(M, D)``: states at the label positions, for `notellm.losses.csft_head_term`."""


class LanguageModel(Protocol):
    """A decoder with a prompt: `notellm.NoteLLM`, or any class with the same methods."""

    model: Decoder
    tokenizer: Tokenizer
    prompt: Prompt
    end_tokens: tuple[int, ...]
    pooling: str | PoolingFn
    nested_dims: tuple[int, ...]

    @property
    def dim(self) -> int:
        """Width ``d`` of the embeddings."""

    @property
    def device(self) -> torch.device:
        """The device of the weights."""

    def language_model(self, *, with_head: bool = True) -> "_core.models.LanguageModel":
        """The present weights in the form that the core takes; embedding does not need the head."""

    def __call__(self, batch: "_core.prompts.PackedBatch", dtype: torch.dtype, /) -> Any:
        """`TrainingStates` of a packed batch; called if the pooling is a function."""
