"""GGUF files for llama.cpp: the backbone, whose state at the last token is the embedding before the projection.

llama.cpp has no place for a projection of these families, so that lies beside the file.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from notellm import _core
from notellm.errors import NotSupportedError
from notellm.export.gguf_tokenizer import gguf_tokenizer
from notellm.io.home import expanded
from notellm.models import tensors
from notellm.models.gguf import paired
from notellm.models.lora import merged_parameters
from notellm.models.notellm import NoteLLM
from notellm.models.notellm_folder import new_folder, write_extra
from notellm.optional import importing
from notellm.pooling import COMPRESSION, pooling_name

__all__ = ["MODEL_FILE", "PROJECTION_FILE", "export_gguf"]

MODEL_FILE, PROJECTION_FILE = "model.gguf", "projection.npy"

_ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
"""By ``model_type``: where llama.cpp computes the same."""

_ROTATES_NEIGHBOURS = ("llama",)
"""Architectures in which llama.cpp rotates neighbouring rows, where Hugging Face rotates the halves of a head."""

_ENDLESS = 1 << 17
"""Context length where the configuration has none."""


def export_gguf(model: NoteLLM, folder: str | Path, *, projected: bool = True, card: str = "") -> None:
    """Writes a folder with ``model.gguf``, for llama.cpp with last-token pooling, and ``projection.npy``.

    A note's vector is ``projection @ state``, normalised, where ``state`` is what llama.cpp gives for the note's prompt
    (`text_form` says what stands around a text). Matrices have the model's dtype; all else is fp32.

    Args:
        model: The model; adapters are merged in the file.
        folder: The folder to create; one made by an earlier call is replaced.
        projected: Whether vectors are projected, as in `NoteLLM.embed`; otherwise there is no projection.
        card: Its README.md, if it is to have one.

    Raises:
        NotSupportedError: If llama.cpp has no such tokenizer, part of a block or pooling, or the ``gguf`` package is
            missing.
        FileExistsError: If there is a folder with other things in it, or with a model that `save_pretrained` wrote.
    """
    if model.pooling != COMPRESSION:
        raise NotSupportedError(
            f"export_gguf: the pooling must be {COMPRESSION}, but is {pooling_name(model.pooling)}: llama.cpp's mean "
            "counts the instruction's tokens, too"
        )
    _check_spares_weights(expanded(folder))
    with new_folder(folder, card) as target:
        _write_model(model, target / MODEL_FILE)
        write_extra(target, model.dim, model.nested_dims, COMPRESSION, model.prompt.config)
        if projected:
            np.save(target / PROJECTION_FILE, model.projection_weight.detach().float().cpu().numpy())


def _check_spares_weights(folder: Path) -> None:
    """Refuses a folder with the only form that can be trained on; an export has a card, and its model elsewhere."""
    if any(folder.glob("model*.safetensors")) and not (folder / "README.md").exists():
        raise FileExistsError(
            f"{folder}: must be absent, empty or an export, but holds a model's weights; try another folder"
        )


def _write_model(model: NoteLLM, path: Path) -> None:
    with importing(str(path), "gguf"):
        import gguf
    architecture = _ARCHITECTURES[model.hf_config["model_type"]]
    names = gguf.get_tensor_name_map(
        next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture),
        model.model.config.layers,
    )
    writer = gguf.GGUFWriter(path, architecture)
    _add_shape(writer, model, gguf)
    _add_tokenizer(writer, model)
    for name, value in _weights(model, architecture):
        theirs = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if theirs is None or (architecture == "qwen3" and name.endswith(".bias")):
            raise NotSupportedError(
                f"export_gguf: llama.cpp must have a place for every tensor, but {name} has none"
            )
        _add_tensor(writer, theirs, value, gguf)
    if model.model.config.rope.is_llama3:
        writer.add_tensor("rope_freqs.weight", _frequency_divisors(model.model.config.rope))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_shape(writer: Any, model: NoteLLM, gguf: Any) -> None:
    shape = model.model.config
    writer.add_name("NoteLLM")
    kinds = {torch.bfloat16: gguf.LlamaFileType.MOSTLY_BF16}
    writer.add_file_type(kinds.get(model.model.embed_tokens.weight.dtype, gguf.LlamaFileType.ALL_F32))
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.max_positions or _ENDLESS)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.inner_width)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.key_heads)
    writer.add_key_length(shape.rope.head_dim)
    writer.add_value_length(shape.rope.head_dim)
    writer.add_rope_dimension_count(shape.rope.head_dim)
    writer.add_rope_freq_base(shape.rope.theta)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_pooling_type(gguf.PoolingType.LAST)


def _add_tokenizer(writer: Any, model: NoteLLM) -> None:
    keys = gguf_tokenizer(model.tokenizer, model.model.config.vocabulary)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(keys.pre)
    writer.add_token_list(keys.tokens)
    writer.add_token_types(keys.types)
    writer.add_token_merges(keys.merges)
    begin, ends = model.prompt.bos_token_ids, model.end_tokens
    if len(begin) > 1:
        raise NotSupportedError(
            f"export_gguf: the tokenizer must put one token before texts, but puts {len(begin)}"
        )
    writer.add_add_bos_token(bool(begin))
    writer.add_add_eos_token(False)
    if begin:
        writer.add_bos_token_id(begin[0])
    writer.add_eos_token_id(ends[0])
    if len(ends) > 1:
        writer.add_eot_token_id(ends[1])


def _weights(model: NoteLLM, architecture: str) -> Iterator[tuple[str, Tensor]]:
    """Weights by Hugging Face's names, their rows in llama.cpp's order."""
    shape = model.model.config
    heads = {"q_proj": shape.heads, "k_proj": shape.key_heads}
    for name, value in merged_parameters(model.model):
        count = heads.get(name.split(".")[-2]) if architecture in _ROTATES_NEIGHBOURS else None
        yield f"model.{name}", value if count is None else paired(value, count)
    if model.lm_head is not None:
        yield tensors.HEAD, model.lm_head.weight.detach()


def _add_tensor(writer: Any, name: str, value: Tensor, gguf: Any) -> None:
    numbers = value.detach().float().cpu().contiguous().numpy()
    if value.dtype == torch.bfloat16 and value.dim() > 1:
        kind = gguf.GGMLQuantizationType.BF16
        writer.add_tensor(name, gguf.quants.quantize(numbers, kind), raw_dtype=kind)
    else:
        writer.add_tensor(name, numbers)


def _frequency_divisors(rope: "_core.models.RopeOptions") -> npt.NDArray[np.float32]:
    """What llama.cpp divides each frequency by, where a model's context was extended as Llama 3's; shape ``(E/2)``."""
    exponents = np.arange(0, rope.head_dim, 2) / rope.head_dim
    turns = rope.original_max_positions * rope.theta**-exponents / (2 * math.pi)  # in the original context
    low, high = rope.low_frequency_factor, rope.high_frequency_factor
    kept = np.clip((turns - low) / (high - low), 0, 1)  # 1: as it was; 0: divided by the whole factor
    return (1 / (kept + (1 - kept) / rope.factor)).astype(np.float32)
