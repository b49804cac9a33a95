"""How far vectors are from the reference's: by cosine, and by which notes they find."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from notellm.retrieval import neighbours

NEIGHBOURS = 10


def neighbours_kept(rows: Tensor, reference: Tensor) -> float:
    """Mean share of a note's `NEIGHBOURS` nearest notes by cosine that are its nearest by the reference too."""
    own = torch.arange(len(rows))[:, None]
    k = min(NEIGHBOURS, len(rows) - 1)
    found, expected = (
        neighbours(unit, unit, k, exclude=own).indices
        for unit in (normalize(rows, dim=1), normalize(reference, dim=1))
    )
    return (found[:, :, None] == expected[:, None, :]).any(2).double().mean().item()


def centred(rows: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Both without the reference's mean: raw states of a language model all point much the same way."""
    rows, reference = rows.double(), reference.double()
    mean = reference.mean(0)
    return rows - mean, reference - mean


def cosines(rows: Tensor, reference: Tensor) -> dict[str, float]:
    """Smallest and mean cosine of rows to those of the reference."""
    cosine = torch.nn.functional.cosine_similarity(rows, reference, dim=1)
    return {"smallest_cosine": cosine.min().item(), "mean_cosine": cosine.mean().item()}
