"""NoteLLM: one backbone, read at the compression position for embeddings and at the output for categories and tags."""

import json
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from notellm import _core
from notellm.embedding import embed_in_batches
from notellm.errors import NotSupportedError
from notellm.language_model import EmbedCall, Embedded, ScoreCall, ScoredValues, WriteCall
from notellm.losses import LossTerm, csft_head_term
from notellm.models import backbone, notellm_folder, tensors
from notellm.models import folder as model_folder
from notellm.models.adapted import Adapted
from notellm.models.decoder import Decoder, check_plain
from notellm.models.lora import merged_parameters
from notellm.models.note_model import IntArray
from notellm.models.options import ModelOptions
from notellm.pooling import COMPRESSION, PoolingFn
from notellm.precision import Dtype, compute_dtype
from notellm.prompts import PromptConfig


class NoteLLM(Adapted):
    """A Llama-family backbone with the [EMB] token, a projection to ``d`` dimensions and a learnable ``tau``.

    Use `from_pretrained`; the constructor leaves the weights random.

    Args:
        hf: The backbone's ``config.json``; ``vocab_size`` must have room for [EMB].
        tokenizer: The backbone's tokenizer; [EMB] must be one of its tokens.
        prompt: The prompt for notes.
        dim: Width ``d`` of the embeddings.
        tau: Initial log-scale of the contrastive loss.
        pooling: ``"compression"``, ``"mean"``, or a function of the states of a note's tokens: see
            `notellm.pooling.PoolingFn`.
        end_tokens: Ids that end an output; the first is the one used in training. Default: those of ``hf``.
        has_head: Whether there is an LM head; without one the model can embed, but not generate, nor be trained to.

    Attributes:
        model: The decoder. lm_head: its head, or None if it is tied to the token embedding or there is none.
        Others: See `NoteModel`.
    """

    def __init__(
        self,
        hf: dict[str, Any],
        tokenizer: Tokenizer,
        prompt: PromptConfig,
        *,
        dim: int = ModelOptions.dim,
        tau: float = ModelOptions.tau,
        pooling: str | PoolingFn = COMPRESSION,
        end_tokens: Sequence[int] | None = None,
        has_head: bool = True,
    ) -> None:
        super().__init__()
        self.hf_config = hf
        self.model = Decoder(hf)
        width, vocabulary = self.model.config.width, self.model.config.vocabulary
        has_own_head = has_head and not hf.get("tie_word_embeddings")
        self.lm_head = nn.Linear(width, vocabulary, bias=False) if has_own_head else None
        self.has_head = has_head
        self._complete(
            tokenizer, prompt, width, dim, tau, pooling, tuple(end_tokens or backbone.end_tokens(hf))
        )

    @classmethod
    def _read(cls, path: Path, layers: int) -> backbone.Backbone:
        return backbone.read(path, layers)

    @classmethod
    def _on(
        cls,
        found: backbone.Backbone,
        prompt: PromptConfig,
        *,
        dim: int,
        tau: float,
        pooling: str | PoolingFn,
    ) -> Self:
        outline = found.outline
        model = cls(
            outline.hf,
            outline.tokenizer,
            prompt,
            dim=dim,
            tau=tau,
            pooling=pooling,
            end_tokens=outline.end_tokens,
            has_head=found.has_head,
        )
        model._kept = found.kept
        with torch.no_grad():
            for name, parameter in model._backbone_parameters().items():
                parameter.copy_(found.weights[name])
        return model

    def _backbone_parameters(self) -> dict[str, Tensor]:
        parameters: dict[str, Tensor] = {f"model.{name}": p for name, p in self.model.named_parameters()}
        if self.lm_head is not None:
            parameters[tensors.HEAD] = self.lm_head.weight
        return parameters

    def save_pretrained(self, path: str | Path, *, card: str = "") -> None:
        """Writes a folder for `from_pretrained`; its backbone is one for `AutoModelForCausalLM`, `AutoTokenizer`.

        The folder appears complete or not at all; one made by an earlier call is replaced. With LoRA the adapters
        are merged in the files, not in the model; `save_peft` writes only the adapters.

        Args:
            path: The folder to create.
            card: Its README.md, if it is to have one.

        Raises:
            FileExistsError: If there is a folder with other things in it.
        """
        with notellm_folder.new_folder(path, card) as target:
            self.write_files(target)

    def write_files(self, target: Path) -> None:
        """Writes the files of `save_pretrained` into a folder that is there."""
        weights = {f"model.{name}": value for name, value in merged_parameters(self.model)}
        if self.lm_head is not None:
            weights[tensors.HEAD] = self.lm_head.weight.detach()
        widest = reduce(torch.promote_types, (weight.dtype for weight in weights.values()))
        hf = backbone.as_written(self.hf_config, widest, self.has_head)
        save_file(weights, target / model_folder.SINGLE, metadata={"format": "pt"})
        (target / backbone.CONFIG).write_text(json.dumps(hf, indent=2), encoding="utf-8")
        self._save_own(target, hf)

    @property
    def layers(self) -> int:
        """Number of layers of the decoder."""
        return self.model.config.layers

    @property
    def vocabulary(self) -> int:
        """Rows ``V`` of the token embedding."""
        return self.model.config.vocabulary

    @property
    def head_weight(self) -> Tensor:
        """Shape ``(V, D)``: the LM head, which is the token embedding where the two are tied.

        Raises:
            NotSupportedError: If the backbone has none.
        """
        if not self.has_head:
            raise NotSupportedError(
                "NoteLLM: writing, and learning to write, needs a head, but the backbone has no lm_head.weight and "
                "does not tie one to its token embedding; try its checkpoint with a head (...ForCausalLM)"
            )
        if self.lm_head is None:
            self.model.sync_emb_row()
            return self.model.embed_tokens.weight
        check_plain(self.lm_head, nn.Linear, "lm_head")
        return self.lm_head.weight

    def core_weights(self, *, with_head: bool = True) -> "_core.models.ModelWeights":
        """The present weights, not copied, as embedding and generation read them.

        Args:
            with_head: Whether to include the head, which embedding does not need.

        Raises:
            NotSupportedError: If it is to be included, but the backbone has none.
        """
        head = self.head_weight if with_head else self.tau.new_empty(0, self.model.config.width)
        return _core.models.ModelWeights(
            self.model.config, self.model.weights(), head, self.projection_weight
        )

    def token_states(
        self,
        batch: "_core.prompts.PackedBatch",
        rows: IntArray,
        dtype: Dtype,
        *,
        checkpoint: bool = False,
        dropout_seed: int | None = None,
    ) -> Tensor:
        """See `NoteModel.token_states`; the last layer computes only these rows."""
        segments = _core.models.Segments(batch.segment_offsets.tolist(), batch.segment_parents.tolist())
        plan = self.model.plan(segments, dtype, rows.tolist())
        if dropout_seed is not None:
            plan = _core.models.with_dropout(plan, segments, batch.tokens.tolist(), dropout_seed)
        states: Tensor = self.model(self.on_device(batch.tokens), plan, checkpoint=checkpoint)
        return states

    def logits(self, labelled: Tensor, dtype: Dtype = "fp32") -> Tensor:
        """See `NoteModel.logits`."""
        return _core.models.head_logits(labelled, self.head_weight, compute_dtype(dtype, labelled.device))

    def generative_term(
        self,
        labelled: Tensor,
        labels: Tensor,
        label_offsets: Tensor,
        *,
        reduction: str = "note",
        dtype: Dtype = "fp32",
    ) -> LossTerm:
        """See `NoteModel.generative_term`; the logits are computed in tiles."""
        return csft_head_term(
            labelled, self.head_weight, labels, label_offsets, reduction=reduction, dtype=dtype
        )

    def embed_tokenized(
        self, tokenized: "_core.prompts.TokenizedNotes", notes: Sequence[int], how: EmbedCall
    ) -> Embedded:
        """See `LanguageModel.embed_tokenized`; the core embeds, unless the pooling is a function."""
        if not isinstance(how.pooling, str):
            return embed_in_batches(self, tokenized, notes, how)
        found = _core.embedding.embed_notes(
            self.core_weights(with_head=False),
            self.prompt.core,
            tokenized,
            notes,
            how.options,
            pooling=how.pooling,
            projected=how.projected,
            compute=how.compute,
            progress=how.progress,
        )
        return Embedded(
            found.vectors.cpu(),
            found.computed_tokens,
            found.sequence_tokens,
            found.duplicate_notes,
            found.weight_bytes,
        )

    def write_tokens(
        self,
        tokenized: "_core.prompts.TokenizedNotes",
        rows: Sequence["_core.prompts.NotePrompt"],
        how: WriteCall,
    ) -> list[list[int]]:
        """See `LanguageModel.write_tokens`."""
        return _core.generation.generate(
            self.core_weights(),
            self.prompt.core,
            tokenized,
            rows,
            how.decoding,
            None if how.closed is None else how.closed.grammar,
            how.banned,
            seed=how.seed,
            stop_tokens=how.stop_tokens,
            compute=how.compute,
            progress=how.progress,
        )

    def score_values(
        self, tokenized: "_core.prompts.TokenizedNotes", values: "_core.prompts.TokenLists", how: ScoreCall
    ) -> ScoredValues:
        """See `LanguageModel.score_values`."""
        candidates = _core.generation.category_tokens(self.prompt.core, values)
        log_probs = _core.generation.score_categories(
            self.core_weights(),
            self.prompt.core,
            tokenized,
            range(len(tokenized)),
            candidates,
            how.compute,
            how.batch_tokens,
            how.max_logits,
            how.progress,
        )
        return ScoredValues(log_probs, candidates.labels)
