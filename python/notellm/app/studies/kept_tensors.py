"""The files of tensors that a finished cell keeps, read without trust."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from notellm.errors import DataError


@dataclass(frozen=True)
class KeptTensors:
    """The rows of a file.

    Attributes:
        path: The file.
        tensors: By name.
        about: The file's own words on it.
    """

    path: Path
    tensors: dict[str, torch.Tensor]
    about: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> KeptTensors:
        """Reads a file.

        Raises:
            DataError: If it is damaged.
        """
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                return cls(path, tensors, dict(file.metadata() or {}))
        except (OSError, SafetensorError) as error:
            raise DataError(f"{path}: must be a readable safetensors file, but: {error}") from None

    def row(self, name: str, *dtypes: torch.dtype) -> torch.Tensor:
        """A tensor of one dimension.

        Raises:
            DataError: If there is none of this name and of one of these dtypes.
        """
        found = self.tensors.get(name)
        if found is None or found.dtype not in dtypes or found.dim() != 1:
            kinds = " or ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
            raise DataError(
                f"{self.path}: must hold {name}, a row of {kinds}, but does not; try the row again (--again)"
            )
        return found

    def whole_numbers(self, name: str) -> torch.Tensor:
        """A row of whole numbers, as int64; older files have them so wide, too.

        Raises:
            DataError: If there is none of this name.
        """
        return self.row(name, torch.int32, torch.int64).long()
