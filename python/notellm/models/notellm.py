"""NoteLLM: one backbone, read at the compression position for embeddings and at the output for categories and tags."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer
from torch import Tensor, nn

from notellm import _core
from notellm.cache import cache_folder
from notellm.data.notes import Notes
from notellm.errors import ConfigError, DataError
from notellm.files import atomic_folder
from notellm.models import folder as model_folder
from notellm.models.adapted import Adapted
from notellm.models.decoder import Decoder, check_plain
from notellm.models.lora import merged_parameters
from notellm.progress import ProgressFn
from notellm.prompts import Prompt, PromptConfig, load_prompt

EMB_TOKEN = "[EMB]"
FORMAT = 1
"""Version of `notellm.json`; a reader refuses what is newer."""

EXTRA_CONFIG, EXTRA_WEIGHTS = "notellm.json", "notellm.safetensors"


@dataclass
class TrainingStates:
    """What one forward pass over a packed training batch yields."""

    embeddings: Tensor
    """Shape ``(n, d)``: projected states at the compression positions, not yet normalised."""
    labelled: Tensor
    """Shape ``(M, D)``: states at the label positions, which `notellm.losses.csft_head_term` takes to the loss."""


class NoteLLM(Adapted):
    """A Llama-family backbone with the [EMB] token, a projection to ``d`` dimensions and a learnable ``tau``.

    Use `from_pretrained`; the constructor leaves the weights random.

    Args:
        hf: The backbone's ``config.json``; ``vocab_size`` must have room for [EMB].
        tokenizer: The backbone's tokenizer; [EMB] must be one of its tokens.
        prompt: What notes are wrapped in.
        dim: Width ``d`` of the embeddings.
        tau: Initial log-scale of the contrastive loss.

    Attributes:
        model: The decoder. lm_head: its head, or None where it is tied to the token embedding.
        projection: Linear ``(d, D)`` without bias. tau: Scalar parameter.
        lora: What `add_lora` was called with, or None.
    """

    def __init__(
        self,
        hf: dict[str, Any],
        tokenizer: Tokenizer,
        prompt: PromptConfig,
        *,
        dim: int = 128,
        tau: float = 3.0,
    ) -> None:
        super().__init__()
        if dim < 1:
            raise ValueError(f"NoteLLM: dim must be at least 1, but is {dim}")
        self.hf_config = hf
        self.tokenizer = tokenizer
        self.model = Decoder(hf)
        width, vocabulary = self.model.config.width, self.model.config.vocabulary
        self.lm_head = None if hf.get("tie_word_embeddings") else nn.Linear(width, vocabulary, bias=False)
        self.projection = nn.Linear(width, dim, bias=False)
        self.tau = nn.Parameter(torch.tensor(float(tau)))
        self.emb_token_id = _emb_token_id(tokenizer)
        self.eos_token_id = _first_eos(hf)
        self.prompt = Prompt(
            prompt, tokenizer, emb_token_id=self.emb_token_id, eos_token_id=self.eos_token_id
        )

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        dim: int | None = None,
        prompt: str | Path | PromptConfig | None = None,
        tau: float = 3.0,
        seed: int = 0,
        progress: ProgressFn | None = None,
    ) -> Self:
        """Loads a backbone folder as it comes from its makers, or a NoteLLM folder made by `save_pretrained`.

        Args:
            path: Folder with ``config.json``, safetensors (sharded or not) and ``tokenizer.json``; or
                ``"smollm2-135m"``, which is made ready in the cache folder at first use.
            dim: Width of the embeddings. Default: 128, or what the NoteLLM folder says.
            prompt: Name of a shipped prompt, a YAML file or a `PromptConfig`. Default: ``"paper"``, or what the
                NoteLLM folder says.
            tau: Initial log-scale for a fresh backbone.
            seed: Seed of the fresh projection.
            progress: Told of the download and conversion of ``"smollm2-135m"``.

        Returns:
            The model on the CPU in fp32, in evaluation mode.

        Raises:
            DataError: If a file is missing or damaged, or ``dim`` contradicts a NoteLLM folder.
            NotSupportedError: If the backbone is of a family the core cannot compute.
        """
        path = _resolve(path, progress)
        if (path / EXTRA_CONFIG).exists():
            return cls._load_own(path, dim, prompt)
        config = _as_prompt("paper" if prompt is None else prompt)
        return cls._load_backbone(path, 128 if dim is None else dim, config, tau, seed)

    @classmethod
    def _load_backbone(cls, path: Path, dim: int, prompt: PromptConfig, tau: float, seed: int) -> Self:
        hf, tokenizer = model_folder.read_json(path / "config.json"), _read_tokenizer(path)
        rows = hf["vocab_size"]
        # some checkpoints have spare rows behind their tokenizer's last id; [EMB] takes the first of them
        hf = hf | {"vocab_size": max(rows, _emb_token_id(tokenizer) + 1)}
        model = cls(hf, tokenizer, prompt, dim=dim, tau=tau)
        weights = model_folder.read_weights(path)
        for name in ("model.embed_tokens.weight", "lm_head.weight"):
            if name in weights:
                weights[name] = _with_emb_row(weights[name], model.emb_token_id)
        model._copy_backbone(weights, path)
        generator = torch.Generator().manual_seed(seed)
        nn.init.orthogonal_(
            model.projection.weight, generator=generator
        )  # keeps cosines better than random rows
        return model.eval()

    @classmethod
    def _load_own(cls, path: Path, dim: int | None, prompt: str | Path | PromptConfig | None) -> Self:
        extra = model_folder.read_json(path / EXTRA_CONFIG)
        if extra.get("format") != FORMAT:
            raise DataError(f"{path / EXTRA_CONFIG}: format must be {FORMAT}, but is {extra.get('format')!r}")
        if dim not in (None, extra["dim"]):
            raise DataError(f"{path}: dim must be {extra['dim']} as it was trained, but {dim} is asked for")
        config = PromptConfig.from_dict(extra["prompt"]) if prompt is None else _as_prompt(prompt)
        hf, tokenizer = model_folder.read_json(path / "config.json"), model_folder.read_tokenizer(path)
        model = cls(hf, tokenizer, config, dim=extra["dim"])
        model._copy_backbone(model_folder.read_weights(path), path)
        own = model_folder.read_weights(path, single=EXTRA_WEIGHTS)
        model_folder.load_tensor(model.projection.weight, own["projection.weight"], "projection.weight", path)
        model_folder.load_tensor(model.tau, own["tau"], "tau", path)
        return model.eval()

    def _copy_backbone(self, weights: dict[str, Tensor], path: Path) -> None:
        parameters: dict[str, Tensor] = {f"model.{name}": p for name, p in self.model.named_parameters()}
        if self.lm_head is not None:
            parameters["lm_head.weight"] = self.lm_head.weight
        missing = sorted(parameters.keys() - weights.keys())
        if missing:
            raise DataError(
                f"{path}: must hold the tensor {missing[0]}, but lacks it and {len(missing) - 1} others"
            )
        for name, parameter in parameters.items():
            model_folder.load_tensor(parameter, weights[name], name, path)

    def save_pretrained(self, path: str | Path) -> None:
        """Writes a folder that `from_pretrained` reads, and whose backbone part transformers reads too.

        The folder appears complete or not at all; one that an earlier call made is replaced. With LoRA the adapters
        are merged into what is written, not into the model; `save_peft` writes them alone.

        Args:
            path: The folder to make.

        Raises:
            FileExistsError: If there is a folder with other things in it.
        """
        path = Path(path)
        if path.is_dir() and any(path.iterdir()) and not (path / EXTRA_CONFIG).exists():
            raise FileExistsError(f"{path}: must be absent, empty or a saved NoteLLM, but holds other files")
        with atomic_folder(path, replace=True) as target:
            backbone = {f"model.{name}": value for name, value in merged_parameters(self.model)}
            if self.lm_head is not None:
                backbone["lm_head.weight"] = self.lm_head.weight.detach()
            save_file(backbone, target / model_folder.SINGLE, metadata={"format": "pt"})
            own = {"projection.weight": self.projection.weight.detach(), "tau": self.tau.detach()}
            save_file(own, target / EXTRA_WEIGHTS, metadata={"format": "pt"})
            (target / "config.json").write_text(json.dumps(self.hf_config, indent=2), encoding="utf-8")
            extra = {"format": FORMAT, "dim": self.dim, "prompt": self.prompt.config.to_dict()}
            text = json.dumps(extra, indent=2, ensure_ascii=False)
            (target / EXTRA_CONFIG).write_text(text, encoding="utf-8")
            self.tokenizer.save(str(target / "tokenizer.json"))

    @property
    def dim(self) -> int:
        """Width ``d`` of the embeddings."""
        return self.projection.out_features

    @property
    def head_weight(self) -> Tensor:
        """Shape ``(V, D)``: the LM head, which is the token embedding where the two are tied."""
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

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.tau.device

    def forward(
        self,
        batch: "_core.prompts.PackedBatch",
        dtype: torch.dtype = torch.float32,
        *,
        checkpoint: bool = False,
        dropout_seed: int | None = None,
    ) -> TrainingStates:
        """One pass over a packed training batch, for both losses.

        Args:
            batch: From `Prompt.pack` in training mode: ``n`` notes, ``M`` labels.
            dtype: Of the matrix products.
            checkpoint: Whether the backward pass computes each layer again, see `Decoder.forward`.
            dropout_seed: Of the adapters' dropout, `notellm.models.lora.dropout_seed`; None: without dropout.

        Returns:
            Embeddings ``(n, d)`` and states ``(M, D)`` at the labels, fp32 (fp64 for fp64), with a graph.
        """
        segments = _core.models.Segments(batch.segment_offsets.tolist(), batch.segment_parents.tolist())
        # equal notes are compressed at the same token, and a label's state may be a compressed one
        wanted = np.concatenate([batch.compression, batch.label_positions])
        rows, places = np.unique(wanted, return_inverse=True)
        plan = self.model.plan(segments, dtype, rows.tolist())
        if dropout_seed is not None:
            plan = _core.models.with_dropout(plan, segments, batch.tokens.tolist(), dropout_seed)
        states = self.model(self.on_device(batch.tokens), plan, checkpoint=checkpoint)  # (R, D)
        notes = len(batch.compression)
        compressed = states.index_select(0, self.on_device(places[:notes]))
        embeddings = nn.functional.linear(compressed, self.projection_weight.to(compressed.dtype))
        labelled = states.index_select(0, self.on_device(places[notes:]))
        return TrainingStates(embeddings, labelled)

    def logits(self, labelled: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Next-token logits of some states, all at once.

        Args:
            labelled: Shape ``(M, D)``, as in `TrainingStates`.
            dtype: Of the matrix product.

        Returns:
            Shape ``(M, V)``, fp32 (fp64 for fp64), with a graph.
        """
        return _core.models.head_logits(labelled, self.head_weight, dtype)

    def on_device(self, values: Any) -> Tensor:
        """Whole numbers as an int64 tensor on the model's device; a GPU does not make the host wait."""
        host = torch.tensor(values, dtype=torch.int64)
        if self.device.type != "cuda":
            return host.to(self.device)
        return host.pin_memory().to(self.device, non_blocking=True)

    def embed(
        self,
        notes: Notes,
        *,
        pooling: str = "compression",
        projected: bool = True,
        dtype: str = "fp32",
        batch_tokens: int = 8192,
        weights: str = "same",
        progress: ProgressFn | None = None,
    ) -> Tensor:
        """Embeds notes with the category prompt; see `notellm.embedding.embed`."""
        from notellm.embedding import embed

        return embed(
            self,
            self.prompt.tokenize(notes),
            pooling=pooling,
            projected=projected,
            dtype=dtype,
            batch_tokens=batch_tokens,
            weights=weights,
            progress=progress,
        ).vectors

    def generate_category(self, notes: Notes, **options: Any) -> list[str]:
        """Writes the category of each note; see `notellm.generation.generate_category`, whose options it takes."""
        from notellm.generation import generate_category

        return generate_category(self, notes, **options)

    def generate_hashtags(self, notes: Notes, count: int, **options: Any) -> list[list[str]]:
        """Writes hashtags for each note; see `notellm.generation.generate_hashtags`, whose options it takes."""
        from notellm.generation import generate_hashtags

        return generate_hashtags(self, notes, count, **options)


def read_prompt(path: str | Path, config: PromptConfig) -> Prompt:
    """A prompt compiled for the tokenizer of a backbone folder, without its weights.

    Args:
        path: As in `NoteLLM.from_pretrained`.
        config: The prompt.

    Raises:
        DataError: If a file is missing or damaged.
    """
    folder = _resolve(path, None)
    hf, tokenizer = model_folder.read_json(folder / "config.json"), _read_tokenizer(folder)
    return Prompt(config, tokenizer, emb_token_id=_emb_token_id(tokenizer), eos_token_id=_first_eos(hf))


def _read_tokenizer(folder: Path) -> Tokenizer:
    """The folder's tokenizer, with [EMB] added where it lacks it."""
    tokenizer = model_folder.read_tokenizer(folder)
    if tokenizer.token_to_id(EMB_TOKEN) is None:
        tokenizer.add_special_tokens([AddedToken(EMB_TOKEN, special=True, normalized=False)])
    return tokenizer


def _resolve(path: str | Path, progress: ProgressFn | None) -> Path:
    if str(path) == "smollm2-135m":
        from notellm.models import smollm2

        return smollm2.prepare(cache_folder("smollm2-135m"), progress)
    return Path(path)


def _as_prompt(prompt: str | Path | PromptConfig) -> PromptConfig:
    return prompt if isinstance(prompt, PromptConfig) else load_prompt(prompt)


def _emb_token_id(tokenizer: Tokenizer) -> int:
    token = tokenizer.token_to_id(EMB_TOKEN)
    if token is None:
        raise DataError(f"NoteLLM: the tokenizer must have the token {EMB_TOKEN}, but has not")
    return int(token)


def _first_eos(hf: dict[str, Any]) -> int:
    eos = hf.get("eos_token_id")
    if isinstance(eos, Sequence) and eos:
        eos = eos[0]
    if not isinstance(eos, int):
        raise ConfigError(f"NoteLLM: config.json must name an eos_token_id, but says {eos!r}")
    return eos


def _with_emb_row(weight: Tensor, emb_token_id: int) -> Tensor:
    """The matrix with row ``emb_token_id`` set to the mean of its rows, one row longer where it must be."""
    mean = weight.float().mean(0, keepdim=True).to(weight.dtype)
    if emb_token_id == len(weight):
        return torch.cat([weight, mean])
    weight[emb_token_id] = mean[0]
    return weight
