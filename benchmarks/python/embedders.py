"""Who else embeds the same token ids with the same weights: transformers in three ways, sentence-transformers.

Each is a function of rows and a batch size that returns unit vectors. All sort by length and pad batches on the right,
as people do; `openvino_embedder` adds OpenVINO. What all sequences begin with, the prompt's instruction, is computed
once by those that keep its keys and values.
"""

from collections.abc import Callable, Sequence
from os.path import commonprefix
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModel, DynamicCache
from transformers.cache_utils import DynamicLayer

Embedder = Callable[[Sequence[int], int], Tensor]
"""Rows and a batch size to (n, D) unit vectors, fp32."""


class Sequences:
    """Token ids of notes' prompts, and batches of them.

    Attributes:
        ids: One tensor a note.
        prefix: How many tokens all begin with.
    """

    def __init__(self, ids: Sequence[Sequence[int]], device: str = "cpu") -> None:
        self.ids = [torch.tensor(one) for one in ids]
        shortest = min(map(len, ids))
        self.prefix = min(len(commonprefix(list(ids))), shortest - 1)  # each keeps a token to be computed
        self.device = device

    def __len__(self) -> int:
        return len(self.ids)

    def padded(self, rows: Sequence[int], begin: int = 0) -> tuple[Tensor, Tensor]:
        """(n, longest) ids without the first ``begin`` ones, zeros on the right; (n,) how many are real."""
        ids = [self.ids[row][begin:] for row in rows]
        lengths = torch.tensor([len(one) for one in ids])
        return pad_sequence(ids, batch_first=True).to(self.device), lengths.to(self.device)

    def embed(self, rows: Sequence[int], batch_size: int, last_states: Callable[..., Tensor]) -> Tensor:
        """(n, D) unit vectors of rows in their order, computed in batches of similar lengths, the longest first."""
        order = sorted(range(len(rows)), key=lambda i: -len(self.ids[rows[i]]))
        states = []
        for begin in range(0, len(order), batch_size):
            states.append(last_states([rows[i] for i in order[begin : begin + batch_size]]).float().cpu())
        vectors = nn.functional.normalize(torch.cat(states), dim=1)
        return vectors[torch.tensor(order).argsort()]


def padded_transformers(folder: Path, sequences: Sequences, dtype: torch.dtype) -> Embedder:
    """Transformers as people write it: pad, run, read the last token's state."""
    model = AutoModel.from_pretrained(folder, dtype=dtype).eval().to(sequences.device)

    def last_states(rows: list[int]) -> Tensor:
        ids, lengths = sequences.padded(rows)
        mask = (torch.arange(ids.size(1), device=ids.device) < lengths[:, None]).long()
        states = model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        return states[torch.arange(len(rows)), lengths - 1]

    @torch.inference_mode()
    def embed(rows: Sequence[int], batch_size: int) -> Tensor:
        return sequences.embed(rows, batch_size, last_states)

    return embed


States = Sequence[tuple[Tensor, Tensor]]
"""Each layer's keys and values, (1, K, tokens, E)."""


@torch.no_grad()
def prefix_states(model: nn.Module, sequences: Sequences) -> States:
    """What a model, with an LM head or without, keeps of the prefix."""
    ids = sequences.ids[0][None, : sequences.prefix].to(sequences.device)
    layers = model(input_ids=ids, use_cache=True).past_key_values.layers
    return [(layer.keys, layer.values) for layer in layers]


def shared_cache(states: States, count: int) -> DynamicCache:
    """A cache in which ``count`` sequences have the same past, not copied."""
    cache = DynamicCache()
    for keys, values in states:
        layer = DynamicLayer()
        # Set, not updated: OpenVINO cannot convert the empty tensor that a new layer begins with.
        layer.dtype, layer.device, layer.is_initialized = keys.dtype, keys.device, True
        layer.keys, layer.values = (kept.expand(count, -1, -1, -1) for kept in (keys, values))
        cache.layers.append(layer)
    return cache


class PrefixedBackbone(nn.Module):
    """transformers' backbone behind a prefix that was computed once, its keys and values shared by the batch.

    A module of tensors alone, so that it can also be compiled and converted.
    """

    def __init__(self, folder: Path, sequences: Sequences, dtype: torch.dtype) -> None:
        super().__init__()
        self.backbone = AutoModel.from_pretrained(folder, dtype=dtype).eval().to(sequences.device)
        self.prefix = sequences.prefix
        for number, (keys, values) in enumerate(prefix_states(self.backbone, sequences)):
            self.register_buffer(f"keys_{number}", keys)
            self.register_buffer(f"values_{number}", values)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """(n, D) states of the last real tokens behind the prefix.

        Args:
            ids: (n, T) without the prefix, padded on the right.
            lengths: (n,) how many are real.
        """
        count, width = ids.shape
        cache = self._cache(count)
        own = torch.arange(width, device=ids.device)
        positions = self.prefix + own
        seen = torch.arange(self.prefix + width, device=ids.device)
        # A query sees what is before it; what stands right of a sequence's end is never read.
        mask = (seen[None, :] <= positions[:, None])[None, None].expand(
            count, 1, -1, -1
        )  # (n, 1, T, prefix + T)
        states = self.backbone(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions[None].expand(count, -1),
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        return states.gather(1, (lengths - 1)[:, None, None].expand(-1, 1, states.shape[2])).squeeze(1)

    def _cache(self, count: int) -> DynamicCache:
        numbers = range(len(self.backbone.layers))
        states = [(self.get_buffer(f"keys_{i}"), self.get_buffer(f"values_{i}")) for i in numbers]
        return shared_cache(states, count)


def prefixed_transformers(model: nn.Module, sequences: Sequences) -> Embedder:
    """Transformers with the prefix's keys and values kept: a `PrefixedBackbone`, compiled or not."""
    prefix = sequences.prefix

    @torch.inference_mode()
    def embed(rows: Sequence[int], batch_size: int) -> Tensor:
        return sequences.embed(rows, batch_size, lambda chosen: model(*sequences.padded(chosen, prefix)))

    return embed


def compiled(model: PrefixedBackbone) -> nn.Module:
    """The same through torch.compile, weights frozen into the graph so that oneDNN may pack them.

    Where a newer processor behaves like an older one, its own loops are still compiled for the newer one.
    """
    from torch._inductor import config

    config.freezing = True
    if torch.backends.cpu.get_cpu_capability() == "AVX2":
        config.cpp.simdlen = 256  # it does not look at ATEN_CPU_CAPABILITY, but at the processor
    return torch.compile(model, dynamic=True)


def sentence_transformers(
    folder: Path, sequences: Sequences, dtype: torch.dtype, attention: str = "sdpa"
) -> Embedder:
    """sentence-transformers' own ``encode``, fed with token ids instead of text."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    class FromIds(SentenceTransformer):
        def preprocess(self, inputs, *args, **kwargs):
            ids, lengths = sequences.padded([int(text) for text in inputs])
            mask = (torch.arange(ids.size(1), device=ids.device) < lengths[:, None]).long()
            return {"input_ids": ids, "attention_mask": mask}

        tokenize = preprocess

    backbone = Transformer(str(folder), model_kwargs={"dtype": dtype, "attn_implementation": attention})
    pooling = Pooling(backbone.get_embedding_dimension(), "lasttoken")
    model = FromIds(modules=[backbone, pooling], device=sequences.device)

    def embed(rows: Sequence[int], batch_size: int) -> Tensor:
        # `encode` sorts by the texts' lengths: each is its row number, filled up to as many characters as tokens
        texts = [str(row).ljust(len(sequences.ids[row])) for row in rows]
        vectors = model.encode(texts, batch_size=batch_size, convert_to_tensor=True)
        return nn.functional.normalize(vectors.float().cpu(), dim=1)

    return embed
