"""LoRA on a whole model: adding, merging, unmerging, PEFT folders."""

from pathlib import Path
from typing import Self

from torch import nn

from notellm.io.home import expanded
from notellm.models import lora, peft_folder
from notellm.models.adapter import LoraOptions
from notellm.models.decoder import Decoder
from notellm.models.note_model import NoteModel


class Adapted(NoteModel):
    """The methods of `NoteLLM` for LoRA.

    Attributes:
        lora: The options given to `add_lora`, or None.
    """

    model: Decoder
    lm_head: nn.Linear | None

    def __init__(self) -> None:
        super().__init__()
        self._unmerged: lora.Unmerged | None = None

    def add_lora(self, options: LoraOptions | None = None, *, seed: int = 0) -> Self:
        """Freezes the backbone and adds adapters, which change nothing until they are trained.

        After this, only the adapters, the projection, tau, and the input row of [EMB] are trained. If head and
        embedding table are tied, the head's row for [EMB] follows, but has no gradient of its own: [EMB] is never a
        label.

        Args:
            options: Rank, scale, dropout, targets.
            seed: Seed of the adapters' ``A``.

        Returns:
            The model itself.

        Raises:
            ValueError: If it has LoRA already, or merged LoRA that `unmerge_lora` could restore.
        """
        if self._unmerged is not None:
            raise ValueError(
                "add_lora: the model must be without LoRA, but keeps what it has merged; try unmerge_lora() first"
            )
        self.lora = self._new_lora(options)
        lora.add(self.model, self.lora, self.emb_token_id, seed)
        self._freeze_head()
        return self

    def merge_lora(self, *, keep: bool = False) -> Self:
        """Merges the adapters and [EMB]'s row into the weights and removes them: a plain model, nothing frozen.

        Args:
            keep: Whether `unmerge_lora` can undo this exactly. It needs memory for a copy of the matrices.

        Returns:
            The model itself.

        Raises:
            ValueError: If it has no LoRA.
        """
        self._unmerged = lora.merge(self.model, self._with_lora("merge_lora"), keep=keep)
        self.lora = None
        if self.lm_head is not None:
            self.lm_head.requires_grad_(True).to(self.model.embed_tokens.weight.dtype)
        return self

    def unmerge_lora(self) -> Self:
        """Undoes ``merge_lora(keep=True)``: restores the frozen matrices and the adapters, bit for bit.

        Changes made to the merged matrices since then are lost.

        Returns:
            The model itself.

        Raises:
            ValueError: If nothing was kept.
        """
        if self._unmerged is None:
            raise ValueError(
                "unmerge_lora: there must be kept weights, but are none; try merge_lora(keep=True)"
            )
        self.lora, unmerged = self._unmerged.options, self._unmerged
        self._unmerged = None
        lora.unmerge(self.model, unmerged)
        self._freeze_head()
        return self

    def save_peft(self, path: str | Path, *, base_model: str | None = None) -> None:
        """Writes adapters, projection, tau and [EMB]'s row; see `notellm.models.peft_folder.save`."""
        options, own = self._with_lora("save_peft"), self.own_parameters()
        peft_folder.save(self.model, own, options, expanded(path), base_model=base_model)

    def load_peft(self, path: str | Path) -> Self:
        """Adds the adapters of a folder that `save_peft` or `peft` made; see `notellm.models.peft_folder.load`."""
        peft_folder.load(self.model, self.own_parameters(), expanded(path), add=self.add_lora)
        return self

    def _freeze_head(self) -> None:
        """Freezes the head, and stores what is frozen as the options say."""
        if self.lm_head is not None:
            self.lm_head.requires_grad_(False)
        assert self.lora is not None
        if self.lora.frozen_bf16:
            for part in (self.model, self.lm_head):
                if part is not None:
                    lora.store_frozen(part)

    def _with_lora(self, where: str) -> LoraOptions:
        if self.lora is None:
            raise ValueError(f"{where}: the model must have LoRA, but has not; try add_lora() first")
        return self.lora
