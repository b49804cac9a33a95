"""NoteLLM: mine related notes, train one model to embed and to describe them, evaluate it exactly.

Public names are imported when they are first used (PEP 562): help and ``notellm doctor`` need neither
PyTorch nor the extension, and importing one part loads no other.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from notellm.extension import ExtensionFinder

if TYPE_CHECKING:
    from notellm._core import __version__ as __version__
    from notellm._core.util import instruction_set, num_threads, set_instruction_set, set_num_threads
    from notellm.data import Interactions, Notes, select_pairs, split_by_group
    from notellm.embedding import EmbedOptions, truncated
    from notellm.errors import ConfigError, DataError, NotSupportedError
    from notellm.generation import DecodingOptions
    from notellm.losses import csft_head_loss, csft_loss, gcl_loss, joint_loss
    from notellm.metrics import bootstrap_difference, bootstrap_mean, hits_at, mrr, recall_at
    from notellm.mining import MiningOptions, Pairs, mine_pairs
    from notellm.models.adapter import LoraOptions
    from notellm.models.fallback import TransformersNoteLLM
    from notellm.models.notellm import NoteLLM
    from notellm.pools.embeddings import Embeddings
    from notellm.precision import resolve_dtype
    from notellm.prompts import Prompt, PromptConfig, explain_prompt, load_prompt
    from notellm.retrieval import NeighbourIndex, Ranks, neighbours, ranks_in_part, target_ranks
    from notellm.training import Trainer, TrainOptions
    from notellm.vector_files import load_embeddings, save_embeddings

__all__ = [
    "ConfigError",
    "DataError",
    "DecodingOptions",
    "Interactions",
    "EmbedOptions",
    "Embeddings",
    "LoraOptions",
    "MiningOptions",
    "NeighbourIndex",
    "NotSupportedError",
    "NoteLLM",
    "Notes",
    "Pairs",
    "Prompt",
    "PromptConfig",
    "Ranks",
    "TrainOptions",
    "Trainer",
    "TransformersNoteLLM",
    "bootstrap_difference",
    "bootstrap_mean",
    "csft_head_loss",
    "csft_loss",
    "explain_prompt",
    "gcl_loss",
    "hits_at",
    "joint_loss",
    "load_embeddings",
    "load_prompt",
    "mine_pairs",
    "mrr",
    "neighbours",
    "instruction_set",
    "num_threads",
    "ranks_in_part",
    "recall_at",
    "resolve_dtype",
    "save_embeddings",
    "select_pairs",
    "set_instruction_set",
    "set_num_threads",
    "split_by_group",
    "target_ranks",
    "truncated",
]

_NAMES = {
    "_core": "__version__",
    "_core.util": "instruction_set num_threads set_instruction_set set_num_threads",
    "data": "Interactions Notes select_pairs split_by_group",
    "embedding": "EmbedOptions truncated",
    "vector_files": "load_embeddings save_embeddings",
    "errors": "ConfigError DataError NotSupportedError",
    "generation": "DecodingOptions",
    "losses": "csft_head_loss csft_loss gcl_loss joint_loss",
    "metrics": "bootstrap_difference bootstrap_mean hits_at mrr recall_at",
    "mining": "MiningOptions Pairs mine_pairs",
    "models.adapter": "LoraOptions",
    "models.fallback": "TransformersNoteLLM",
    "models.notellm": "NoteLLM",
    "pools.embeddings": "Embeddings",
    "precision": "resolve_dtype",
    "prompts": "Prompt PromptConfig explain_prompt load_prompt",
    "retrieval": "NeighbourIndex Ranks neighbours ranks_in_part target_ranks",
    "training": "TrainOptions Trainer",
}
"""The imports above as data, for lazy loading: a module, and the public names to take from it."""

_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}
_PARTS = {module.partition(".")[0] for module in _NAMES}


def _resolve(name: str) -> Any:
    if name in _PARTS:
        return import_module(f"notellm.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'notellm' has no attribute {name!r}")
    value = getattr(import_module(f"notellm.{_HOMES[name]}"), name)
    globals()[name] = value  # the next access finds it without this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_PARTS})


if not TYPE_CHECKING:  # if a type checker saw this function, it would accept any name
    __getattr__ = _resolve

sys.meta_path.insert(0, ExtensionFinder())
