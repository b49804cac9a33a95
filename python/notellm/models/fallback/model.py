"""A model of notes on any causal model of transformers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recompute

from notellm import _core
from notellm.embedding import embed_in_batches
from notellm.errors import NotSupportedError
from notellm.language_model import EmbedCall, Embedded, ScoreCall, ScoredValues, WriteCall
from notellm.losses import LossTerm, csft_term
from notellm.models import backbone, notellm_folder
from notellm.models.adapter import LoraOptions
from notellm.models.fallback.lora import HookedLora
from notellm.models.fallback.padding import (
    batches_by_length,
    check_positions,
    learned_positions,
    padded,
    states_of,
)
from notellm.models.fallback.reading import Read, quietly, read
from notellm.models.fallback.writing import score, write
from notellm.models.note_model import IntArray, NoteModel
from notellm.models.options import TRANSFORMERS
from notellm.pooling import PoolingFn
from notellm.precision import Dtype, compute_dtype, multiplies_bf16
from notellm.prompts import PromptConfig


class TransformersNoteLLM(NoteModel):
    """`NoteLLM` on any causal model that the package ``transformers`` has: Gemma, Phi, OLMo and the like.

    Prompts, losses, training, evaluation and files are the same; a Llama gives the same numbers as with `NoteLLM`, to
    rounding. It is slower: prompts are padded, and what they share is computed for each.

    Dropout of the model's own configuration is off, as in `NoteLLM`. Left out: LoRA's dropout and PEFT folders, int8
    matrices, and vocabularies of hashtags. Tokens are drawn from the same distribution, but not the same ones.

    Use `from_pretrained`, which loads folders that either class has saved. Code that comes with a model is not run.

    Attributes:
        model: The model of transformers, with its head.
        Others: See `NoteModel`.
    """

    backend = TRANSFORMERS

    def __init__(
        self, found: Read, prompt: PromptConfig, *, dim: int, tau: float, pooling: str | PoolingFn
    ) -> None:
        super().__init__()
        self.model = found.model
        self._kept = found.kept
        self._most_tokens = learned_positions(found.model)
        self._adapters: HookedLora | None
        self.register_module("_adapters", None)
        outline = found.outline
        self._complete(outline.tokenizer, prompt, found.width, dim, tau, pooling, outline.end_tokens)

    @classmethod
    def _read(cls, path: Path, layers: int) -> Read:
        return read(path, layers)

    @classmethod
    def _on(
        cls, found: Read, prompt: PromptConfig, *, dim: int, tau: float, pooling: str | PoolingFn
    ) -> Self:
        return cls(found, prompt, dim=dim, tau=tau, pooling=pooling)

    def train(self, mode: bool = True) -> Self:
        """See `torch.nn.Module.train`; the backbone stays as in evaluation, where its own dropout is off."""
        super().train(mode)
        self.model.eval()
        return self

    def save_pretrained(self, path: str | Path, *, card: str = "") -> None:
        """Writes a folder for `from_pretrained`, complete or not at all; adapters are merged in the files.

        Args:
            path: The folder to create; one made by an earlier call is replaced.
            card: Its README.md, if it is to have one.

        Raises:
            FileExistsError: If there is a folder with other things in it.
        """
        self._sync()
        weights = self.model.state_dict()
        if self._adapters is not None:
            weights |= dict(self._adapters.merged())
        with notellm_folder.new_folder(path, card) as target:
            with quietly():
                self.model.save_pretrained(target, state_dict=weights)
            self._save_own(target, backbone.text_part(self.model.config.to_dict()))

    @property
    def layers(self) -> int:
        """Number of layers of the backbone."""
        return int(self.model.config.get_text_config().num_hidden_layers)

    @property
    def vocabulary(self) -> int:
        """Rows ``V`` of the token embedding."""
        return int(self.model.get_input_embeddings().weight.shape[0])

    def add_lora(self, options: LoraOptions | None = None, *, seed: int = 0) -> Self:
        """Freezes the backbone and adds adapters; as `NoteLLM.add_lora`, without dropout.

        Targets go by their usual names; matrices that a family has in one (``qkv_proj``) have one adapter.

        Args:
            options: Rank, scale, targets.
            seed: Seed of the adapters' ``A``.

        Raises:
            ValueError: If it has LoRA already, or ``r`` is below 1.
            NotSupportedError: If the backbone has none of the targets, or there is dropout.
        """
        chosen = self._new_lora(options)
        self.register_module("_adapters", HookedLora(self.model, chosen, self.emb_token_id, seed))
        self.lora = chosen
        return self

    def merge_lora(self) -> Self:
        """Merges the adapters and [EMB]'s row into the weights and removes them: a plain model, nothing frozen.

        Raises:
            ValueError: If it has no LoRA.
        """
        if self._adapters is None:
            raise ValueError("merge_lora: the model must have LoRA, but has not; try add_lora() first")
        self._adapters.merge()
        self.register_module("_adapters", None)
        self.lora = None
        self.model.requires_grad_(True)
        return self

    def _sync(self) -> None:
        if self._adapters is not None:
            self._adapters.sync()

    def token_states(
        self,
        batch: "_core.prompts.PackedBatch",
        rows: IntArray,
        dtype: Dtype,
        *,
        checkpoint: bool = False,
        dropout_seed: int | None = None,  # noqa: ARG002 - there is no dropout
    ) -> Tensor:
        """See `NoteModel.token_states`; whole sequences are computed, padded to one length."""
        keeping = _recomputing(self.model) if checkpoint and torch.is_grad_enabled() else nullcontext()
        with self._products_in(dtype), keeping:
            wanted = padded(batch, rows)
            check_positions(wanted, self._most_tokens)
            states = states_of(self.model.base_model, wanted, self.device)
        return self._wide(states)

    def logits(self, labelled: Tensor, dtype: Dtype = "fp32") -> Tensor:
        """See `NoteModel.logits`: the head, and whatever the family does to its logits."""
        self._sync()
        with self._products_in(dtype), _returning(self.model.base_model, labelled):
            ids = torch.zeros(1, len(labelled), dtype=torch.int64, device=self.device)
            found: Tensor = self.model(input_ids=ids, use_cache=False).logits[0]  # (M, V)
        return self._wide(found)

    def generative_term(
        self,
        labelled: Tensor,
        labels: Tensor,
        label_offsets: Tensor,
        *,
        reduction: str = "note",
        dtype: Dtype = "fp32",
    ) -> LossTerm:
        """See `NoteModel.generative_term`; all logits are kept."""
        return csft_term(self.logits(labelled, dtype), labels, label_offsets, reduction=reduction)

    def embed_tokenized(
        self, tokenized: "_core.prompts.TokenizedNotes", notes: Sequence[int], how: EmbedCall
    ) -> Embedded:
        """See `LanguageModel.embed_tokenized`."""
        if how.options.weights != "same":
            raise NotSupportedError(
                f"embed: weights must be 'same' with model.backend=transformers, but are {how.options.weights!r}"
            )
        return embed_in_batches(self, tokenized, notes, how, cut=batches_by_length)

    def write_tokens(
        self,
        tokenized: "_core.prompts.TokenizedNotes",
        rows: Sequence["_core.prompts.NotePrompt"],
        how: WriteCall,
    ) -> list[list[int]]:
        """See `LanguageModel.write_tokens`; nothing is banned, since there is no closed set of hashtags."""
        self._sync()
        with torch.no_grad(), self._products_in(how.compute):
            return write(
                self.model,
                self.prompt,
                tokenized,
                rows,
                how.decoding,
                closed=None if how.closed is None else how.closed.ids,
                seed=how.seed,
                stop_tokens=how.stop_tokens,
                progress=how.progress,
            )

    def score_values(
        self, tokenized: "_core.prompts.TokenizedNotes", values: "_core.prompts.TokenLists", how: ScoreCall
    ) -> ScoredValues:
        """See `LanguageModel.score_values`; one note at a time, whatever `batch_tokens` is."""
        self._sync()
        with torch.no_grad(), self._products_in(how.compute):
            return score(
                self.model,
                self.prompt,
                tokenized,
                values,
                max_logits=how.max_logits,
                progress=how.progress,
            )

    def _wide(self, values: Tensor) -> Tensor:
        return values if values.dtype == torch.float64 else values.float()

    @contextmanager
    def _products_in(self, dtype: Dtype) -> Iterator[None]:
        """Runs matrix products in a dtype: bf16 by torch's autocast, where the device multiplies it natively."""
        wanted, there = compute_dtype(dtype, self.device), self.projection.weight.dtype
        if wanted == torch.float64 and there != torch.float64:
            raise ValueError(
                f"{type(self).__name__}: weights must be fp64 for dtype fp64, but are {there}; try model.double()"
            )
        in_bf16 = wanted == torch.bfloat16 and multiplies_bf16(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=in_bf16):
            yield


@contextmanager
def _recomputing(model: nn.Module) -> Iterator[None]:
    """Lets each layer of a forward pass keep only its inputs, and compute the rest again in the backward pass."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = [layer for layer in model.modules() if isinstance(layer, GradientCheckpointingLayer)]
    for layer in layers:
        layer.forward = partial(recompute, layer.forward, use_reentrant=False, preserve_rng_state=False)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward  # the method of the class is there again


@contextmanager
def _returning(decoder: nn.Module, states: Tensor) -> Iterator[None]:
    """Makes a decoder return known states, so that a call of the whole model applies its head alone."""
    from transformers.modeling_outputs import MoeModelOutputWithPast

    # of all outputs the one with most fields, as families ask for different ones
    output = MoeModelOutputWithPast(last_hidden_state=states.unsqueeze(0))
    output.cross_attentions = None  # GPT-2 asks for these, too

    def known(*_: Any, **__: Any) -> Any:
        return output

    decoder.forward = known
    try:
        yield
    finally:
        del decoder.forward  # the method of the class is there again
