"""The interface of a model that embedding and generation need."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from tokenizers import Tokenizer
from torch import Tensor

from notellm.pooling import PoolingFn
from notellm.progress import ProgressFn
from notellm.prompts import Prompt

if TYPE_CHECKING:
    from notellm._core.generation import OutputGrammar
    from notellm._core.options import DecodingOptions, EmbedOptions
    from notellm._core.prompts import NotePrompt, PackedBatch, TokenizedNotes, TokenLists


@dataclass
class TrainingStates:
    """The results of one forward pass over a packed batch."""

    pooled: Tensor
    """Shape ``(n, D)``: input of the projection; the states at the compressed positions, or as the model pools."""
    embeddings: Tensor
    """Shape ``(n, d)``: ``pooled``, projected, not yet normalised."""
    labelled: Tensor
    """Shape ``(M, D)``: states at the label positions, for `notellm.losses.csft_head_term`."""


@dataclass(frozen=True)
class Embedded:
    """Vectors of notes, and what computing them cost."""

    vectors: Tensor
    """Shape ``(n, d)``, or ``(n, D)`` unprojected, or ``(n, dim)`` as asked for; fp32, unit rows, on the CPU."""
    computed_tokens: int
    """Tokens that went through the decoder."""
    sequence_tokens: int
    """Tokens of all notes' prompts, before any sharing."""
    duplicate_notes: int
    """Notes with the same prompt as another note: their vector was copied, not computed."""
    weight_bytes: int
    """Bytes of the blocks' matrices as prepared for matrix products, in addition to the model's own."""

    @property
    def saved_fraction(self) -> float:
        """Share of the prompts' tokens that were not computed again because notes share them; in ``[0, 1)``."""
        return 1 - self.computed_tokens / self.sequence_tokens if self.sequence_tokens else 0.0


class ClosedSet(NamedTuple):
    """The values that an output may consist of."""

    ids: list[list[int]]
    """The tokens of each value."""
    grammar: "OutputGrammar"
    """What may be written of them, for the core."""


class ScoredValues(NamedTuple):
    """How probable each value of a closed set is as the output for each note."""

    log_probs: Tensor
    """Shape ``(n, C)`` fp64: log p, the end token included."""
    lengths: list[int]
    """Tokens of each value, the text that closes the prompt and the end token included."""


class EmbedCall(NamedTuple):
    """How notes are embedded; the arguments of `notellm.embedding.embed`, made definite."""

    options: "EmbedOptions"
    pooling: str | PoolingFn
    projected: bool
    compute: torch.dtype
    progress: ProgressFn | None


class WriteCall(NamedTuple):
    """How tokens are written; the arguments of `notellm.generation.decoding.write`, made definite."""

    decoding: "DecodingOptions"
    closed: ClosedSet | None
    banned: Sequence[Sequence[int]]
    seed: int
    stop_tokens: Sequence[int]
    """Ids that end an output, the model's own among them."""
    compute: torch.dtype
    progress: ProgressFn | None


class ScoreCall(NamedTuple):
    """How values are scored; the arguments of `notellm.generation.score_categories`, made definite."""

    compute: torch.dtype
    batch_tokens: int
    max_logits: int
    progress: ProgressFn | None


class LanguageModel(Protocol):
    """A decoder with a prompt: `notellm.NoteLLM`, or any class with the same methods."""

    tokenizer: Tokenizer
    prompt: Prompt
    end_tokens: tuple[int, ...]
    pooling: str | PoolingFn
    nested_dims: tuple[int, ...]

    @property
    def dim(self) -> int:
        """Width ``d`` of the embeddings."""

    @property
    def width(self) -> int:
        """Width ``D`` of the states."""

    @property
    def vocabulary(self) -> int:
        """Rows ``V`` of the token embedding."""

    @property
    def device(self) -> torch.device:
        """The device of the weights."""

    def __call__(
        self, batch: "PackedBatch", dtype: torch.dtype, /, *, pooling: str | PoolingFn | None = None
    ) -> TrainingStates:
        """The states of a packed batch; pooled by the model's own pooling, unless another one is given."""

    def embed_tokenized(self, tokenized: "TokenizedNotes", notes: Sequence[int], how: EmbedCall) -> Embedded:
        """Embeds notes; see `notellm.embedding.embed`."""

    def write_tokens(
        self, tokenized: "TokenizedNotes", rows: Sequence["NotePrompt"], how: WriteCall
    ) -> list[list[int]]:
        """The tokens written after some prompts, without the one that ends them; see `notellm.generation.write`."""

    def score_values(self, tokenized: "TokenizedNotes", values: "TokenLists", how: ScoreCall) -> ScoredValues:
        """Log p of each category of a closed set; see `notellm.generation.score_categories`."""
