"""A model of notes, whoever computes its states: a prompt, [EMB], a projection to embeddings, a learned scale."""

from collections.abc import Sequence
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
from notellm.generation import generate_category, generate_hashtags
from notellm.language_model import LanguageModel, TrainingStates
from notellm.losses import LossTerm
from notellm.models import backbone, notellm_folder, tensors
from notellm.models import folder as model_folder
from notellm.models.adapter import LoraOptions
from notellm.models.decoder import check_plain
from notellm.models.options import CORE, ModelOptions
from notellm.pooling import COMPRESSION, PoolingFn, check_pooling, mean_pooling
from notellm.precision import Dtype
from notellm.progress import ProgressFn
from notellm.prompts import Prompt, PromptConfig, load_prompt

if TYPE_CHECKING:
    from typing import Unpack

    from notellm._core.options import EmbedKeywords

IntArray = npt.NDArray[np.int64]


class NoteModel(nn.Module, LanguageModel):
    """What `NoteLLM`, computed by the core, and `TransformersNoteLLM`, computed by transformers, have in common.

    Attributes:
        tokenizer: Of the backbone, with [EMB]. prompt: The prompt for notes. emb_token_id: The id of [EMB].
        end_tokens: Ids that end an output; the first, ``eos_token_id``, is the one used in training.
        projection: Linear ``(d, D)`` without bias. tau: Scalar parameter.
        pooling: ``"compression"``, ``"mean"`` or a function; may be set.
        lora: The options given to `add_lora`, or None.
        nested_dims: Widths below ``dim`` to which its embeddings were trained to be cut; `Trainer` sets them.
    """

    backend = CORE
    """Who computes it: a choice of ``model.backend``."""

    def __init__(self) -> None:
        super().__init__()
        self.lora: LoraOptions | None = None
        self.nested_dims: tuple[int, ...] = ()
        self._kept: dict[str, bytes] = {}

    def _complete(
        self,
        tokenizer: Tokenizer,
        prompt: PromptConfig,
        width: int,
        dim: int,
        tau: float,
        pooling: str | PoolingFn,
        end_tokens: Sequence[int],
    ) -> None:
        """Adds what stands on the backbone; the projection is random."""
        if dim < 1:
            raise ValueError(f"NoteLLM: dim must be at least 1, but is {dim}")
        self.pooling = pooling
        self.tokenizer = tokenizer
        self.projection = nn.Linear(width, dim, bias=False)
        self.tau = nn.Parameter(torch.tensor(float(tau)))
        self.emb_token_id = backbone.emb_token_id(tokenizer)
        self.end_tokens = tuple(end_tokens)
        self.eos_token_id = self.end_tokens[0]
        self.prompt = Prompt(
            prompt, tokenizer, emb_token_id=self.emb_token_id, eos_token_id=self.eos_token_id
        )

    def _draw_projection(self, seed: int) -> None:
        """An orthogonal projection, which keeps cosines better than random rows."""
        generator = torch.Generator().manual_seed(seed)
        nn.init.orthogonal_(self.projection.weight, generator=generator)

    def _new_lora(self, options: LoraOptions | None) -> LoraOptions:
        """The options of adapters that may be added."""
        if self.lora is not None:
            raise ValueError("add_lora: the model must be without LoRA, but has it; try merge_lora() first")
        chosen = options or LoraOptions()
        if chosen.r < 1:
            raise ValueError(f"add_lora: r must be at least 1, but is {chosen.r}")
        return chosen

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
        """Loads an original backbone folder, or a folder made by `save_pretrained`.

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
            NotSupportedError: If the backbone is quantised; for the core, if it is of another family or has an unknown
                tensor or field, which it names; otherwise, if transformers is not installed.
            ConfigError: If neither ``config.json`` nor ``generation_config.json`` names an end token.
        """
        path = backbone.resolve(path, progress)
        config = None if prompt is None else as_prompt(prompt)
        if not (path / notellm_folder.EXTRA_CONFIG).exists():
            model = cls._on(
                cls._read(path, layers),
                config or as_prompt("paper"),
                dim=ModelOptions.dim if dim is None else dim,
                tau=tau,
                pooling=pooling or COMPRESSION,
            )
            model._draw_projection(seed)
            return model.eval()
        extra = notellm_folder.read_extra(path)
        found = cls._read(path, 0)
        notellm_folder.check_asked(path, extra, found.layers, dim, layers, pooling)
        if config is None:
            where = str(path / notellm_folder.EXTRA_CONFIG)
            config = PromptConfig.from_dict(extra["prompt"], where=where)
        model = cls._on(found, config, dim=extra["dim"], tau=tau, pooling=pooling or extra["pooling"])
        model.nested_dims = tuple(extra["nested_dims"])
        model._load_own_parameters(path, seed)
        return model.eval()

    # What depends on who computes, beside the methods of LanguageModel.

    @property
    def width(self) -> int:
        """Width ``D`` of the states."""
        return self.projection.in_features

    @classmethod
    def _read(cls, path: Path, layers: int) -> Any:
        """Reads a backbone's first so many layers, 0 = all, for `_on`; its ``layers`` are those that it has then."""
        raise NotImplementedError

    @classmethod
    def _on(cls, found: Any, prompt: PromptConfig, *, dim: int, tau: float, pooling: str | PoolingFn) -> Self:
        """A model on what `_read` has read."""
        raise NotImplementedError

    @property
    def layers(self) -> int:
        """Number of layers of the backbone."""
        raise NotImplementedError

    def token_states(
        self,
        batch: "_core.prompts.PackedBatch",
        rows: IntArray,
        dtype: Dtype,
        *,
        checkpoint: bool = False,
        dropout_seed: int | None = None,
    ) -> Tensor:
        """States after the final norm of some packed tokens, with a graph.

        Args:
            batch: The packed batch.
            rows: Shape ``(R,)``: the tokens, ascending and distinct.
            dtype: As in `forward`, as for the other options.
            checkpoint: See `forward`.
            dropout_seed: See `forward`.

        Returns:
            Shape ``(R, D)``, fp32 (fp64 for fp64).
        """
        raise NotImplementedError

    def logits(self, labelled: Tensor, dtype: Dtype = "fp32") -> Tensor:
        """Next-token logits of some states, all at once.

        Args:
            labelled: Shape ``(M, D)``, as in `TrainingStates`.
            dtype: Of the matrix product, see `notellm.resolve_dtype`.

        Returns:
            Shape ``(M, V)``, fp32 (fp64 for fp64), with a graph.
        """
        raise NotImplementedError

    def generative_term(
        self,
        labelled: Tensor,
        labels: Tensor,
        label_offsets: Tensor,
        *,
        reduction: str = "note",
        dtype: Dtype = "fp32",
    ) -> LossTerm:
        """The generative loss of states at label positions; arguments as in `notellm.csft_head_loss`."""
        raise NotImplementedError

    def add_lora(self, options: LoraOptions | None = None, *, seed: int = 0) -> Any:
        """Freezes the backbone and adds adapters."""
        raise NotImplementedError

    def save_pretrained(self, path: str | Path, *, card: str = "") -> None:
        """Writes a folder for ``from_pretrained``."""
        raise NotImplementedError

    # What is the same.

    def own_parameters(self) -> dict[str, Tensor]:
        """The parameters that are not the backbone's: projection, tau, and those of a pooling that is a module."""
        pooling = {name: p for name, p in self.named_parameters() if name.startswith("pooling.")}
        return {"projection.weight": self.projection_weight, "tau": self.tau, **pooling}

    def _save_own(self, target: Path, hf: dict[str, Any]) -> None:
        """Writes what a folder has beside the weights and the ``config.json`` of its backbone, which is ``hf``."""
        own = {name: parameter.detach() for name, parameter in self.own_parameters().items()}
        save_file(own, target / notellm_folder.EXTRA_WEIGHTS, metadata={"format": "pt"})
        pooling = self.pooling if isinstance(self.pooling, str) else None
        notellm_folder.write_extra(
            target, self.dim, self.nested_dims, pooling, self.prompt.config, self.backend
        )
        self.tokenizer.save(str(target / "tokenizer.json"))
        for name, content in model_folder.completed(self._kept, hf, self.tokenizer, self.end_tokens).items():
            (target / name).write_bytes(content)

    def _load_own_parameters(self, path: Path, seed: int) -> None:
        """Reads the weights that `_save_own` wrote."""
        file = path / notellm_folder.EXTRA_WEIGHTS
        own, parameters = notellm_folder.read_own(path), self.own_parameters()
        if "projection.weight" not in own and not file.exists():  # it was not exported: it begins anew
            self._draw_projection(seed)
            own["projection.weight"] = self.projection_weight.detach()
        tensors.check_places(own, parameters, file)
        for name, parameter in parameters.items():
            model_folder.load_tensor(parameter, own[name], name, file)

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
    def projection_weight(self) -> Tensor:
        """Shape ``(d, D)``."""
        check_plain(self.projection, nn.Linear, "projection")
        return self.projection.weight

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.tau.device

    def forward(
        self,
        batch: "_core.prompts.PackedBatch",
        dtype: Dtype = "fp32",
        *,
        pooling: str | PoolingFn | None = None,
        checkpoint: bool = False,
        dropout_seed: int | None = None,
    ) -> TrainingStates:
        """One pass over a packed batch, for both losses.

        Args:
            batch: From `Prompt.pack`, for training or embedding: ``n`` notes, ``M`` labels.
            dtype: Of the matrix products, see `notellm.resolve_dtype`.
            pooling: Instead of the model's own.
            checkpoint: Whether the backward pass recomputes each layer.
            dropout_seed: Of the adapters' dropout, `notellm.models.lora.dropout_seed`; None: without dropout.

        Returns:
            Embeddings ``(n, d)`` and states ``(M, D)`` at the labels, fp32 (fp64 for fp64), with a graph.
        """
        chosen = self.pooling if pooling is None else pooling
        # equal notes share their compressed token, and a compressed token may also have a label
        pooled, lengths = _pooled_tokens(batch, chosen)
        wanted = np.concatenate([pooled, batch.label_positions])
        rows, places = np.unique(wanted, return_inverse=True)
        states = self.token_states(
            batch, rows, dtype, checkpoint=checkpoint, dropout_seed=dropout_seed
        )  # (R, D)
        vectors = states.index_select(0, self.on_device(places[: len(pooled)]))
        if lengths is not None:
            pool: PoolingFn = mean_pooling if isinstance(chosen, str) else chosen
            vectors = pool(vectors, self.on_device(lengths))  # (n, D)
        embeddings = nn.functional.linear(vectors, self.projection_weight.to(vectors.dtype))
        labelled = states.index_select(0, self.on_device(places[len(pooled) :]))
        return TrainingStates(vectors, embeddings, labelled)

    def on_device(self, values: Any, dtype: torch.dtype = torch.int64) -> Tensor:
        """Numbers, by default whole, as a tensor on the model's device; the host does not wait for a GPU."""
        host = torch.tensor(values, dtype=dtype)
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


def _pooled_tokens(
    batch: "_core.prompts.PackedBatch", pooling: str | PoolingFn
) -> tuple[IntArray, IntArray | None]:
    """Packed tokens whose states are pooled, note by note, and how many each has; None: one each, not pooled."""
    if pooling == COMPRESSION:
        return batch.compression, None
    paths = []
    for i, (first, compressed) in enumerate(zip(batch.root_tokens, batch.compression, strict=True)):
        path = batch.path(i)
        paths.append(path[first : np.flatnonzero(path == compressed)[0] + 1])
    return np.concatenate(paths), np.array([len(path) for path in paths])


def as_prompt(prompt: str | Path | PromptConfig) -> PromptConfig:
    """A prompt that is given by its name, its file, or as it is."""
    return prompt if isinstance(prompt, PromptConfig) else load_prompt(prompt)
