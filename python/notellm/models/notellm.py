"""NoteLLM: one backbone, read at the compression position for embeddings and at the output for categories and tags."""

import json
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from notellm import _core
from notellm._core.options import EmbedOptions
from notellm.data.named_notes import naming_notes
from notellm.data.notes import Notes
from notellm.embedding import embed
from notellm.errors import NotSupportedError
from notellm.generation import generate_category, generate_hashtags
from notellm.io.files import atomic_folder
from notellm.models import backbone, tensors
from notellm.models import folder as model_folder
from notellm.models.adapted import Adapted
from notellm.models.decoder import Decoder, check_plain
from notellm.models.language_model import TrainingStates
from notellm.models.lora import merged_parameters
from notellm.models.options import ModelOptions
from notellm.models.pooling import COMPRESSION, PoolingFn, check_pooling, mean_pooling
from notellm.precision import Dtype, compute_dtype
from notellm.progress import ProgressFn
from notellm.prompts import Prompt, PromptConfig, load_prompt

if TYPE_CHECKING:
    from typing import Unpack

    from notellm._core.options import EmbedKeywords

IntArray = npt.NDArray[np.int64]


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
            `notellm.models.pooling.PoolingFn`.
        end_tokens: Ids that end an output; the first is the one used in training. Default: those of ``hf``.
        has_head: Whether there is an LM head; without one the model can embed, but not generate, nor be trained to.

    Attributes:
        model: The decoder. lm_head: its head, or None if it is tied to the token embedding or there is none.
        eos_token_id: The first of ``end_tokens``.
        projection: Linear ``(d, D)`` without bias. tau: Scalar parameter.
        pooling: As given; may be set. lora: The options given to `add_lora`, or None.
        nested_dims: Widths below ``dim`` to which its embeddings were trained to be cut; `Trainer` sets them.
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
        if dim < 1:
            raise ValueError(f"NoteLLM: dim must be at least 1, but is {dim}")
        self.pooling = pooling
        self.hf_config = hf
        self.tokenizer = tokenizer
        self.model = Decoder(hf)
        width, vocabulary = self.model.config.width, self.model.config.vocabulary
        has_own_head = has_head and not hf.get("tie_word_embeddings")
        self.lm_head = nn.Linear(width, vocabulary, bias=False) if has_own_head else None
        self.has_head = has_head
        self.projection = nn.Linear(width, dim, bias=False)
        self.nested_dims: tuple[int, ...] = ()
        self.tau = nn.Parameter(torch.tensor(float(tau)))
        self.emb_token_id = backbone.emb_token_id(tokenizer)
        self.end_tokens = tuple(end_tokens or backbone.end_tokens(hf))
        self.eos_token_id = self.end_tokens[0]
        self.prompt = Prompt(
            prompt, tokenizer, emb_token_id=self.emb_token_id, eos_token_id=self.eos_token_id
        )
        self._kept: dict[str, bytes] = {}

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        dim: int | None = None,
        prompt: str | Path | PromptConfig | None = None,
        tau: float = ModelOptions.tau,
        pooling: str | PoolingFn | None = None,
        layers: int = 0,
        seed: int = 0,
        progress: ProgressFn | None = None,
    ) -> Self:
        """Loads an original backbone folder, or a NoteLLM folder made by `save_pretrained`.

        Args:
            path: Folder with ``config.json``, safetensors (sharded or not) and ``tokenizer.json``; or
                ``"smollm2-135m"`` (SmolLM2-135M-Instruct, dequantised from Q4_1), which is prepared in the cache
                folder at first use.
            dim: Width of the embeddings. Default: 128, or what the NoteLLM folder says.
            prompt: Name of a shipped prompt, a YAML file or a `PromptConfig`. Default: ``"paper"``, or what the
                NoteLLM folder says.
            tau: Initial log-scale for a fresh backbone.
            pooling: See the class. Default: ``"compression"``, or what the NoteLLM folder says; a function must be
                given again.
            layers: How many first layers of a backbone to keep; 0 = all.
            seed: Seed of the fresh projection.
            progress: Called during the download and conversion of ``"smollm2-135m"``.

        Returns:
            The model on the CPU in fp32, in evaluation mode.

        Raises:
            DataError: If a file is missing, damaged or contradicts another one, a weight is not finite, or ``dim``,
                ``layers`` or ``pooling`` contradicts the folder.
            NotSupportedError: If the backbone is of a family the core cannot compute, is quantised, or has an unknown
                tensor or field; names it.
            ConfigError: If neither ``config.json`` nor ``generation_config.json`` names an end token.
        """
        path = backbone.resolve(path, progress)
        if (path / backbone.EXTRA_CONFIG).exists():
            return cls._load_own(path, dim, prompt, pooling, layers)
        config = _as_prompt("paper" if prompt is None else prompt)
        options = {
            "dim": ModelOptions.dim if dim is None else dim,
            "tau": tau,
            "pooling": pooling or COMPRESSION,
        }
        return cls._load_backbone(path, config, layers, seed, options)

    @classmethod
    def _load_backbone(
        cls, path: Path, prompt: PromptConfig, layers: int, seed: int, options: dict[str, Any]
    ) -> Self:
        model = cls._of(backbone.read(path, layers), prompt, **options)
        generator = torch.Generator().manual_seed(seed)
        nn.init.orthogonal_(
            model.projection.weight, generator=generator
        )  # keeps cosines better than random rows
        return model.eval()

    @classmethod
    def _load_own(
        cls,
        path: Path,
        dim: int | None,
        prompt: str | Path | PromptConfig | None,
        pooling: str | PoolingFn | None,
        layers: int,
    ) -> Self:
        extra = backbone.read_extra(path)
        found = backbone.read(path)
        backbone.check_asked(path, extra, found.outline.hf, dim, layers, pooling)
        where = str(path / backbone.EXTRA_CONFIG)
        config = (
            PromptConfig.from_dict(extra["prompt"], where=where) if prompt is None else _as_prompt(prompt)
        )
        model = cls._of(found, config, dim=extra["dim"], pooling=pooling or extra["pooling"])
        model.nested_dims = tuple(extra["nested_dims"])
        own, parameters = (
            model_folder.read_weights(path, single=backbone.EXTRA_WEIGHTS),
            model.own_parameters(),
        )
        tensors.check_places(own, parameters, path / backbone.EXTRA_WEIGHTS)
        for name, parameter in parameters.items():
            model_folder.load_tensor(parameter, own[name], name, path / backbone.EXTRA_WEIGHTS)
        return model.eval()

    @classmethod
    def _of(cls, found: backbone.Backbone, prompt: PromptConfig, **options: Any) -> Self:
        outline = found.outline
        model = cls(
            outline.hf,
            outline.tokenizer,
            prompt,
            end_tokens=outline.end_tokens,
            has_head=found.has_head,
            **options,
        )
        model._kept = found.kept
        with torch.no_grad():
            for name, parameter in model._backbone_parameters().items():
                parameter.copy_(found.weights[name])
        return model

    def own_parameters(self) -> dict[str, Tensor]:
        """The parameters that are not the backbone's: projection, tau, and those of a pooling that is a module."""
        pooling = {name: p for name, p in self.named_parameters() if name.startswith("pooling.")}
        return {"projection.weight": self.projection_weight, "tau": self.tau, **pooling}

    def _backbone_parameters(self) -> dict[str, Tensor]:
        parameters: dict[str, Tensor] = {f"model.{name}": p for name, p in self.model.named_parameters()}
        if self.lm_head is not None:
            parameters[tensors.HEAD] = self.lm_head.weight
        return parameters

    def save_pretrained(self, path: str | Path) -> None:
        """Writes a folder for `from_pretrained`; transformers can read its backbone part, too.

        The folder appears complete or not at all; one made by an earlier call is replaced. With LoRA the adapters
        are merged in the files, not in the model; `save_peft` writes only the adapters.

        Args:
            path: The folder to create.

        Raises:
            FileExistsError: If there is a folder with other things in it.
        """
        path = Path(path)
        if path.is_dir() and any(path.iterdir()) and not (path / backbone.EXTRA_CONFIG).exists():
            raise FileExistsError(f"{path}: must be absent, empty or a saved NoteLLM, but holds other files")
        with atomic_folder(path, replace=True) as target:
            weights = {f"model.{name}": value for name, value in merged_parameters(self.model)}
            if self.lm_head is not None:
                weights[tensors.HEAD] = self.lm_head.weight.detach()
            widest = reduce(torch.promote_types, (weight.dtype for weight in weights.values()))
            hf = backbone.with_dtype(self.hf_config, widest)
            save_file(weights, target / model_folder.SINGLE, metadata={"format": "pt"})
            own = {name: parameter.detach() for name, parameter in self.own_parameters().items()}
            save_file(own, target / backbone.EXTRA_WEIGHTS, metadata={"format": "pt"})
            (target / backbone.CONFIG).write_text(json.dumps(hf, indent=2), encoding="utf-8")
            pooling = self.pooling if isinstance(self.pooling, str) else None
            backbone.write_extra(target, self.dim, self.nested_dims, pooling, self.prompt.config)
            self.tokenizer.save(str(target / "tokenizer.json"))
            for name, content in self._kept.items():
                (target / name).write_bytes(content)

    def __setattr__(self, name: str, value: Any) -> None:
        """As in torch, but a pooling by name can replace one that is a module, and the reverse."""
        if name == "pooling":
            check_pooling(value)
            if "pooling" in self._modules and not isinstance(value, nn.Module):
                del self._modules["pooling"]
        super().__setattr__(name, value)

    @property
    def dim(self) -> int:
        """Width ``d`` of the embeddings."""
        return self.projection.out_features

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

    @property
    def projection_weight(self) -> Tensor:
        """Shape ``(d, D)``."""
        check_plain(self.projection, nn.Linear, "projection")
        return self.projection.weight

    def language_model(self, *, with_head: bool = True) -> "_core.models.LanguageModel":
        """The present weights, not copied, as embedding and generation read them.

        Args:
            with_head: Whether to include the head, which embedding does not need.

        Raises:
            NotSupportedError: If it is to be included, but the backbone has none.
        """
        head = self.head_weight if with_head else self.tau.new_empty(0, self.model.config.width)
        return _core.models.LanguageModel(
            self.model.config, self.model.weights(), head, self.projection_weight
        )

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.tau.device

    def forward(
        self,
        batch: "_core.prompts.PackedBatch",
        dtype: Dtype = "fp32",
        *,
        checkpoint: bool = False,
        dropout_seed: int | None = None,
    ) -> TrainingStates:
        """One pass over a packed batch, for both losses.

        Args:
            batch: From `Prompt.pack`, for training or embedding: ``n`` notes, ``M`` labels.
            dtype: Of the matrix products, see `notellm.resolve_dtype`.
            checkpoint: Whether the backward pass recomputes each layer, see `Decoder.forward`.
            dropout_seed: Of the adapters' dropout, `notellm.models.lora.dropout_seed`; None: without dropout.

        Returns:
            Embeddings ``(n, d)`` and states ``(M, D)`` at the labels, fp32 (fp64 for fp64), with a graph.
        """
        segments = _core.models.Segments(batch.segment_offsets.tolist(), batch.segment_parents.tolist())
        # equal notes share their compressed token, and a compressed token may also have a label
        pooled, lengths = self._pooled_tokens(batch)
        wanted = np.concatenate([pooled, batch.label_positions])
        rows, places = np.unique(wanted, return_inverse=True)
        plan = self.model.plan(segments, dtype, rows.tolist())
        if dropout_seed is not None:
            plan = _core.models.with_dropout(plan, segments, batch.tokens.tolist(), dropout_seed)
        states = self.model(self.on_device(batch.tokens), plan, checkpoint=checkpoint)  # (R, D)
        vectors = states.index_select(0, self.on_device(places[: len(pooled)]))
        if lengths is not None:
            pool: PoolingFn = mean_pooling if isinstance(self.pooling, str) else self.pooling
            vectors = pool(vectors, self.on_device(lengths))  # (n, D)
        embeddings = nn.functional.linear(vectors, self.projection_weight.to(vectors.dtype))
        labelled = states.index_select(0, self.on_device(places[len(pooled) :]))
        return TrainingStates(vectors, embeddings, labelled)

    def _pooled_tokens(self, batch: "_core.prompts.PackedBatch") -> tuple[IntArray, IntArray | None]:
        """Packed tokens whose states are pooled, note by note, and how many each has; None: one each, not pooled."""
        if self.pooling == COMPRESSION:
            return batch.compression, None
        paths = []
        for i, (first, compressed) in enumerate(zip(batch.root_tokens, batch.compression, strict=True)):
            path = batch.path(i)
            paths.append(path[first : np.flatnonzero(path == compressed)[0] + 1])
        return np.concatenate(paths), np.array([len(path) for path in paths])

    def logits(self, labelled: Tensor, dtype: Dtype = "fp32") -> Tensor:
        """Next-token logits of some states, all at once.

        Args:
            labelled: Shape ``(M, D)``, as in `TrainingStates`.
            dtype: Of the matrix product, see `notellm.resolve_dtype`.

        Returns:
            Shape ``(M, V)``, fp32 (fp64 for fp64), with a graph.
        """
        return _core.models.head_logits(labelled, self.head_weight, compute_dtype(dtype, labelled.device))

    def on_device(self, values: Any) -> Tensor:
        """Whole numbers as an int64 tensor on the model's device; the host does not wait for a GPU."""
        host = torch.tensor(values, dtype=torch.int64)
        return (host.pin_memory() if self.device.type == "cuda" else host).to(self.device, non_blocking=True)

    def embed(
        self,
        notes: Notes,
        *,
        pooling: str | None = None,
        projected: bool = True,
        dtype: Dtype = "auto",
        options: EmbedOptions | None = None,
        progress: ProgressFn | None = None,
        **changes: "Unpack[EmbedKeywords]",
    ) -> Tensor:
        """Embeds notes with the category prompt; see `notellm.embedding.embed`."""
        with naming_notes(notes.ids):
            return embed(
                self,
                self.prompt.tokenize(notes),
                pooling=pooling,
                projected=projected,
                dtype=dtype,
                options=options,
                progress=progress,
                **changes,
            ).vectors

    def generate_category(self, notes: Notes, **options: Any) -> list[str]:
        """Generates the category of each note; options as in `notellm.generation.generate_category`."""
        return generate_category(self, notes, **options)

    def generate_hashtags(self, notes: Notes, count: int, **options: Any) -> list[list[str]]:
        """Generates hashtags for each note; options as in `notellm.generation.generate_hashtags`."""
        return generate_hashtags(self, notes, count, **options)


def _as_prompt(prompt: str | Path | PromptConfig) -> PromptConfig:
    return prompt if isinstance(prompt, PromptConfig) else load_prompt(prompt)
