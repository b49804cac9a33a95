"""Converts a GGUF file of a Llama model into a Hugging Face folder, from which backbones are read."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from notellm.errors import DataError, NotSupportedError
from notellm.io.files import atomic_folder
from notellm.io.home import expanded
from notellm.models.folder import check_tensor
from notellm.optional import importing
from notellm.progress import ProgressFn

__all__ = ["gguf_to_folder"]

_CONTROL, _USER_DEFINED = 3, 4
"""Values of ``tokenizer.ggml.token_type`` that mark an added token."""

_TENSORS = {
    r"token_embd\.weight": "model.embed_tokens.weight",
    r"output_norm\.weight": "model.norm.weight",
    r"output\.weight": "lm_head.weight",
    r"blk\.(\d+)\.attn_norm\.weight": r"model.layers.\1.input_layernorm.weight",
    r"blk\.(\d+)\.attn_([qkv])\.weight": r"model.layers.\1.self_attn.\2_proj.weight",
    r"blk\.(\d+)\.attn_output\.weight": r"model.layers.\1.self_attn.o_proj.weight",
    r"blk\.(\d+)\.ffn_norm\.weight": r"model.layers.\1.post_attention_layernorm.weight",
    r"blk\.(\d+)\.ffn_(gate|up|down)\.weight": r"model.layers.\1.mlp.\2_proj.weight",
}

_PRE_TOKENIZERS: dict[str, Callable[[], list[Any]]] = {
    "gpt-2": lambda: [],
    "smollm": lambda: [pre_tokenizers.Digits(individual_digits=True)],
}
"""The pre-tokenizers before the byte level, by ``tokenizer.ggml.pre``."""


_READ = frozenset(
    [
        *("block_count", "context_length", "embedding_length", "feed_forward_length", "attention.head_count"),
        *("attention.head_count_kv", "attention.key_length", "attention.layer_norm_rms_epsilon"),
        *("rope.dimension_count", "rope.freq_base", "rope.scaling.type"),
    ]
)
"""Keys after the prefix ``llama.`` that decide what is computed."""

_HARMLESS = {
    "llama.vocab_size": "the embedding's rows say it",
    "llama.pooling_type": "is of vectors that others make of the states",
    "llama.rope.scaling.original_context_length": "is of scalings, of which there is none",
    "llama.rope.scaling.finetuned": "says how the model was trained",
    "tokenizer.ggml.add_eos_token": "ends are set by prompts here",
    "tokenizer.ggml.add_sep_token": "no separators are added",
    "tokenizer.ggml.scores": "is of unigram tokenizers; BPE has merges",
    "tokenizer.ggml.token_type_count": "counts what is listed",
    "tokenizer.huggingface.json": "is the tokenizer once more",
    "split.no": "counts from 0 where there is one file",
    "split.tensors.count": "is checked against the tensors themselves",
}
"""Keys that change no number computed here, each with the reason. The same holds, by the format's own rule, for all
keys that belong neither to the architecture nor to the tokenizer, and for the ids of tokens that nothing inserts."""

_NEUTRAL: dict[str, tuple[object, ...]] = {
    "llama.attention.causal": (True,),
    "llama.use_parallel_residual": (False,),
    "llama.expert_count": (0,),
    "llama.expert_used_count": (0,),
    "llama.attention.sliding_window": (0,),
    "llama.logit_scale": (1, 0),
    "llama.embedding_scale": (1, 0),
    "llama.residual_scale": (1, 0),
    "llama.attention.scale": (0,),
    "llama.rope.scaling.factor": (1, 0),
    "tokenizer.ggml.add_space_prefix": (False,),
    "tokenizer.ggml.remove_extra_whitespaces": (False,),
    "split.count": (0, 1),
}
"""Values with which a key changes nothing; for a scale, 0 means in this format that it is not set."""

_TOKENIZER_READ = frozenset(["model", "pre", "tokens", "token_type", "merges", "add_bos_token"])


def gguf_to_folder(gguf_path: str | Path, folder: str | Path, *, progress: ProgressFn | None = None) -> Path:
    """Writes a Hugging Face folder with the weights, configuration and tokenizer of a GGUF file.

    The weights become float32: a block-quantised value is ``scale * q + minimum`` with ``scale`` and ``minimum`` in
    float16; float16 or bfloat16 would not be precise enough for the result.

    Args:
        gguf_path: A GGUF file of architecture ``llama`` with a byte-level BPE tokenizer.
        folder: Where to write; must be absent or empty, and appears only when it is complete.
        progress: Called as ``(done, total)`` in tensors.

    Returns:
        ``folder``, holding config.json, generation_config.json, model.safetensors, tokenizer.json
        and tokenizer_config.json.

    Raises:
        DataError: If the file is not a GGUF file, lacks or repeats a tensor, or has a weight that is not finite.
        NotSupportedError: If the architecture, the tokenizer, the RoPE scaling or one of their keys is not known
            here, or the ``gguf`` package is not installed.
        FileExistsError: If ``folder`` holds files.
    """
    folder = expanded(folder)
    source = _Source(expanded(gguf_path))
    config = _model_config(source)
    source.refuse_unknown(config["head_dim"])
    tokenizer = _tokenizer(source)
    with atomic_folder(folder) as out:
        save_file(_weights(source, config, progress), out / "model.safetensors", {"format": "pt"})
        _write_json(out / "config.json", config)
        _write_json(out / "generation_config.json", _special_ids(source) | _end_ids(source))
        _write_json(out / "tokenizer_config.json", _tokenizer_config(source, config))
        tokenizer.save(str(out / "tokenizer.json"))
    return folder


class _Source:
    """The key-value pairs and tensors of one GGUF file, with errors that name it."""

    def __init__(self, path: Path) -> None:
        with importing(str(path), "gguf"):
            import gguf
        if not path.is_file():
            raise FileNotFoundError(f"{path}: must be a GGUF file, but does not exist")
        self.path = path
        self._dequantize = gguf.quants.dequantize
        try:
            reader = gguf.GGUFReader(path)
        except (ValueError, KeyError, IndexError) as error:
            raise DataError(f"{path}: must be a GGUF file, but {error}") from error
        self._fields = reader.fields
        self.tensors = reader.tensors

    def get(self, key: str, default: Any = None) -> Any:
        field = self._fields.get(key)
        return default if field is None else field.contents()

    def need(self, key: str) -> Any:
        if key not in self._fields:
            raise DataError(f"{self.path}: must have the key {key}, but has not")
        return self.get(key)

    def refuse_unknown(self, head_dim: int) -> None:
        """Refuses every key of the architecture and the tokenizer that is not read, harmless or neutral."""
        known = {f"llama.{name}" for name in _READ} | {f"tokenizer.ggml.{name}" for name in _TOKENIZER_READ}
        neutral = _NEUTRAL | {"llama.attention.value_length": (head_dim,)}
        for key in self._fields:
            is_ours = key.startswith(("llama.", "tokenizer.", "split."))
            is_id = key.startswith("tokenizer.ggml.") and key.endswith("_token_id")
            if (
                not is_ours
                or is_id
                or key in known
                or key in _HARMLESS
                or key.startswith("tokenizer.chat_template")
            ):
                continue
            if key not in neutral:
                raise self.unsupported("every key", key, "known here")
            if self.get(key) not in neutral[key]:
                raise self.unsupported(key, self.get(key), neutral[key][0])

    def whole(self, key: str, default: Any = None) -> int:
        """A positive whole number."""
        value = self.need(key) if default is None else self.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise DataError(f"{self.path}: {key} must be a whole number above 0, but is {value!r}")
        return value

    def values(self, tensor: Any) -> npt.NDArray[np.float32]:
        """The tensor's numbers in float32, with the shape as in PyTorch."""
        return np.array(self._dequantize(tensor.data, tensor.tensor_type), np.float32, order="C")

    def unsupported(self, what: str, value: object, known: object) -> NotSupportedError:
        return NotSupportedError(f"{self.path}: {what} must be {known}, but is {value}")


def _model_config(source: _Source) -> dict[str, Any]:
    architecture = source.need("general.architecture")
    if architecture != "llama":
        raise source.unsupported("general.architecture", architecture, "llama")
    heads = source.whole("llama.attention.head_count")
    width = source.whole("llama.embedding_length")
    head_width = source.whole("llama.attention.key_length", width // heads)
    if source.get("llama.rope.dimension_count", head_width) != head_width:
        raise source.unsupported("rope.dimension_count", "part of the head", head_width)
    scaling = source.get("llama.rope.scaling.type", "none")
    if scaling != "none":
        raise source.unsupported("rope.scaling.type", scaling, "none")
    names = {tensor.name: tensor for tensor in source.tensors}
    if "token_embd.weight" not in names:
        raise DataError(f"{source.path}: must have the tensor token_embd.weight, but has not")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": int(names["token_embd.weight"].shape[1]),
        "hidden_size": width,
        "intermediate_size": source.whole("llama.feed_forward_length"),
        "num_hidden_layers": source.whole("llama.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": source.whole("llama.attention.head_count_kv", heads),
        "head_dim": head_width,
        "max_position_embeddings": source.whole("llama.context_length"),
        "rms_norm_eps": _shortest(source.need("llama.attention.layer_norm_rms_epsilon")),
        "rope_theta": _shortest(source.get("llama.rope.freq_base", 10000.0)),
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": "output.weight" not in names,
        "dtype": "float32",
        **_special_ids(source),
    }


def _shortest(value: float) -> float:
    """The decimal number that was meant: GGUF stores 1e-5 as the float32 9.999999747378752e-06."""
    return float(str(np.float32(value)))


def _special_ids(source: _Source) -> dict[str, int]:
    names = {"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding"}
    ids = {name: source.get(f"tokenizer.ggml.{key}_token_id") for name, key in names.items()}
    return {name: int(value) for name, value in ids.items() if value is not None}


def _end_ids(source: _Source) -> dict[str, list[int]]:
    """The end tokens if there are several: of a text, a turn or a message. llama.cpp stops at each of them."""
    ids = [source.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")]
    ends = list(dict.fromkeys(int(number) for number in ids if number is not None))
    return {"eos_token_id": ends} if len(ends) > 1 else {}


def _weights(source: _Source, config: dict[str, Any], progress: ProgressFn | None) -> dict[str, torch.Tensor]:
    heads = {"q": config["num_attention_heads"], "k": config["num_key_value_heads"]}
    weights = {}
    for done, tensor in enumerate(source.tensors, 1):
        name = _hugging_face_name(source, tensor.name)
        values = torch.from_numpy(source.values(tensor))
        projection = re.fullmatch(r"blk\.\d+\.attn_([qk])\.weight", tensor.name)
        weights[name] = _unpaired(values, heads[projection[1]]) if projection else values
        check_tensor(weights[name], tensor.name, values.shape, source.path)
        if progress:
            progress(done, len(source.tensors))
    expected = 9 * config["num_hidden_layers"] + (2 if config["tie_word_embeddings"] else 3)
    if len(weights) != expected:
        raise DataError(f"{source.path}: must have {expected} tensors, but has {len(weights)}")
    return weights


def _hugging_face_name(source: _Source, name: str) -> str:
    for pattern, replacement in _TENSORS.items():
        match = re.fullmatch(pattern, name)
        if match:
            return match.expand(replacement)
    raise source.unsupported("every tensor", name, "one of a Llama decoder")


def paired(values: torch.Tensor, heads: int) -> torch.Tensor:
    """Puts the rows of a query or key projection, or its bias, into the order of llama.cpp.

    RoPE rotates pairs of rows. llama.cpp pairs neighbours, so its files interleave the two halves of each head that
    Hugging Face pairs: row 2i + h there is row h * E/2 + i here.
    """
    halves = values.reshape(heads, 2, -1, *values.shape[1:])  # (heads, 2, E/2, ...)
    return halves.transpose(1, 2).reshape(values.shape)


def _unpaired(values: torch.Tensor, heads: int) -> torch.Tensor:
    """Puts the rows back into the order of Hugging Face."""
    pairs = values.reshape(heads, -1, 2, *values.shape[1:])  # (heads, E/2, 2, ...)
    return pairs.transpose(1, 2).reshape(values.shape)


def _tokenizer(source: _Source) -> Tokenizer:
    kind = source.need("tokenizer.ggml.model")
    if kind != "gpt2":
        raise source.unsupported("tokenizer.ggml.model", kind, "gpt2 (byte-level BPE)")
    before = source.get("tokenizer.ggml.pre", "gpt-2")
    if before not in _PRE_TOKENIZERS:
        raise source.unsupported("tokenizer.ggml.pre", before, f"one of {sorted(_PRE_TOKENIZERS)}")
    tokens: list[str] = source.need("tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in source.need("tokenizer.ggml.merges")]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*_PRE_TOKENIZERS[before](), byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    types = source.need("tokenizer.ggml.token_type")
    for token, token_type in zip(tokens, types, strict=True):
        if token_type == _CONTROL:
            tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False)])
        elif token_type == _USER_DEFINED:
            tokenizer.add_tokens([AddedToken(token, normalized=False)])
    if source.get("tokenizer.ggml.add_bos_token", False):
        number = source.need("tokenizer.ggml.bos_token_id")
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{tokens[number]} $A", special_tokens=[(tokens[number], number)]
        )
    return tokenizer


def _tokenizer_config(source: _Source, config: dict[str, Any]) -> dict[str, Any]:
    tokens = source.need("tokenizer.ggml.tokens")
    names = {"bos": "bos_token", "eos": "eos_token", "padding": "pad_token", "unknown": "unk_token"}
    ids = {name: source.get(f"tokenizer.ggml.{key}_token_id") for key, name in names.items()}
    template = source.get("tokenizer.chat_template")
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config["max_position_embeddings"],
        "clean_up_tokenization_spaces": False,
        "add_prefix_space": False,
        **{name: tokens[number] for name, number in ids.items() if number is not None},
        **({} if template is None else {"chat_template": template}),
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
