"""Searches by several processes, each in some shards of a pool; runs in processes of its own."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from notellm import Embeddings, neighbours, target_ranks
from notellm.processes import Processes


def search_and_save(pool: str, given: str, results: str) -> None:
    """In one of several processes: ranks and neighbours of what the file holds; saves what it is told."""
    shards, inputs, us = Embeddings.open(pool), load_file(given), Processes.current()
    own = {"exclude": inputs["own"], "processes": us}
    ranks = target_ranks(inputs["queries"], shards, inputs["targets"], **own)
    several = target_ranks(inputs["queries"], shards, inputs["several"], processes=us)
    nearest = neighbours(inputs["queries"], shards, 9, **own)
    found = ranks._asdict() | {"of_several": several.greater} | nearest._asdict()
    save_file({k: v.contiguous() for k, v in found.items()}, Path(results) / f"{us.rank}.safetensors")


def saved(results: Path, rank: int) -> dict[str, torch.Tensor]:
    """What one process was told."""
    return load_file(results / f"{rank}.safetensors")
