"""Packed batches as padded ones, and states back to packed tokens."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from notellm import _core

IntArray = npt.NDArray[np.int64]

_MORE_POSITIONS = 2
"""Rows that a table of positions may have beyond the context: OPT's begins with two that it does not use."""


class Padded(NamedTuple):
    """Sequences of token ids, filled on the right to one length, and where in them the wanted tokens are."""

    ids: Tensor
    """Shape ``(m, L)`` int64."""
    mask: Tensor
    """Shape ``(m, L)`` int64: 1 for a token, 0 for what was filled in."""
    owner: Tensor
    """Shape ``(R,)`` int64: the sequence of each wanted token."""
    place: Tensor
    """Shape ``(R,)`` int64: its place in the sequence."""


def padded(batch: "_core.prompts.PackedBatch", rows: IntArray) -> Padded:
    """The sequences whose states are wanted, each cut after the last wanted token; equal prompts once.

    A packed token belongs to every prompt whose path leads over it, always at the same place, and with the same tokens
    before it: so any of these prompts gives its state.

    Args:
        batch: The packed batch.
        rows: Shape ``(R,)``: the wanted packed tokens, ascending and distinct.
    """
    owner = np.full(len(batch.tokens), -1)
    place = np.zeros(len(batch.tokens), np.int64)
    paths = [batch.path(i) for i in range(len(batch))]
    # a longer prompt comes last, so that it is asked for the tokens that it shares with shorter ones
    for i in sorted(range(len(paths)), key=lambda i: len(paths[i])):
        owner[paths[i]] = i
        place[paths[i]] = np.arange(len(paths[i]))
    needed, sequence = np.unique(owner[rows], return_inverse=True)
    ends = np.zeros(len(needed), np.int64)
    np.maximum.at(ends, sequence, place[rows] + 1)
    ids = np.zeros((len(needed), ends.max(initial=0)), np.int64)
    mask = np.zeros_like(ids)
    for line, (prompt, end) in enumerate(zip(needed.tolist(), ends.tolist(), strict=True)):
        ids[line, :end] = batch.tokens[paths[prompt][:end]]
        mask[line, :end] = 1
    return Padded(*map(torch.from_numpy, (ids, mask, sequence.reshape(-1), place[rows])))


def batches_by_length(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Sequences of about the same length together, in batches of so many tokens, what is filled in included.

    Args:
        lengths: Tokens of each sequence.
        budget: Tokens of a batch; a sequence that is longer is a batch of its own.

    Returns:
        Numbers of sequences, the longest ones first.
    """
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if not batches or (len(batches[-1]) + 1) * lengths[batches[-1][0]] > budget:
            batches.append([])
        batches[-1].append(i)
    return batches


def learned_positions(model: Any) -> int:
    """How many positions a model of transformers has learned, and thus can be given at most; 0: it computes them."""
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 0
    tables = (one for one in model.base_model.modules() if isinstance(one, nn.Embedding))
    others = [one.num_embeddings for one in tables if one is not model.get_input_embeddings()]
    has_table = any(context <= rows <= context + _MORE_POSITIONS for rows in others)
    return int(context) if has_table else 0


def check_positions(wanted: Padded, most: int) -> None:
    """Refuses sequences that are longer than a model's learned positions.

    Raises:
        ValueError: If one is; ``most`` of 0 allows any length.
    """
    longest = wanted.ids.size(1)
    if most and longest > most:
        raise ValueError(
            f"TransformersNoteLLM: a prompt must have at most {most} tokens, the positions that the model has learned, "
            f"but has up to {longest}; try a smaller prompt.content_tokens"
        )


def states_of(decoder: Any, wanted: Padded, device: torch.device) -> Tensor:
    """The states of the wanted tokens.

    Args:
        decoder: A model of transformers without its head.
        wanted: From `padded`.
        device: Of the model.

    Returns:
        Shape ``(R, D)``, in the dtype of the model.
    """
    mask = None if bool(wanted.mask.all()) else wanted.mask.to(device)
    found = decoder(input_ids=wanted.ids.to(device), attention_mask=mask, use_cache=False)
    states: Tensor = found.last_hidden_state[wanted.owner.to(device), wanted.place.to(device)]
    return states
