"""NoteLLM: mine related notes, train one model to embed and to describe them, evaluate it exactly."""

import torch

from notellm import _core

if torch.__version__ != _core.__torch_version__:
    raise ImportError(
        f"notellm: this build needs torch {_core.__torch_version__}, but {torch.__version__} is installed; "
        "build again with `pip install --no-build-isolation --no-deps .` in the source folder"
    )

from notellm._core.util import num_threads, set_num_threads
from notellm.data import Interactions, Notes, select_pairs, split_by_group
from notellm.embedding import load_embeddings, save_embeddings
from notellm.errors import ConfigError, DataError, NotSupportedError
from notellm.losses import csft_loss, gcl_loss, joint_loss
from notellm.metrics import bootstrap_difference, bootstrap_mean, hits_at, mrr, recall_at
from notellm.mining import Pairs, mine_pairs
from notellm.models.notellm import NoteLLM
from notellm.prompts import Prompt, PromptConfig, explain_prompt, load_prompt
from notellm.retrieval import NeighbourIndex, Ranks, neighbours, target_ranks
from notellm.training import Trainer, TrainOptions

__version__ = _core.__version__

__all__ = [
    "ConfigError",
    "DataError",
    "Interactions",
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
    "bootstrap_difference",
    "bootstrap_mean",
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
    "num_threads",
    "recall_at",
    "save_embeddings",
    "select_pairs",
    "set_num_threads",
    "split_by_group",
    "target_ranks",
]
