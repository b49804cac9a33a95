"""A tokenizer as the keys of a GGUF file: what llama.cpp splits and merges as the `tokenizers` library does."""

import json
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

from notellm.errors import NotSupportedError

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
"""Values of ``tokenizer.ggml.token_type``."""

_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{numbers}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SPLITS = {_WORDS.format(numbers=r"\p{N}{1,3}"): "llama-bpe", _WORDS.format(numbers=r"\p{N}"): "qwen2"}
"""Names that llama.cpp has for regular expressions before a byte level that does not split by itself."""


@dataclass(frozen=True)
class GgufTokenizer:
    """Values of keys below ``tokenizer.ggml``."""

    pre: str
    tokens: list[str]
    types: list[int]
    merges: list[str]


def gguf_tokenizer(tokenizer: Tokenizer, rows: int) -> GgufTokenizer:
    """The keys of a tokenizer.

    Args:
        tokenizer: Byte-level BPE.
        rows: Of the token embedding; ids beyond the tokenizer's are unused.

    Raises:
        NotSupportedError: If llama.cpp has no name for what it does, or it is no byte-level BPE.
    """
    spec = json.loads(tokenizer.to_str())
    pre = _pre_name(spec)
    _check_model(spec["model"], pre)
    names = {number: token for token, number in tokenizer.get_vocab(with_added_tokens=True).items()}
    types = {number: NORMAL for number in names}
    for number, token in tokenizer.get_added_tokens_decoder().items():
        types[number] = CONTROL if token.special else USER_DEFINED
    return GgufTokenizer(
        pre=pre,
        tokens=[names.get(number, f"[PAD{number}]") for number in range(rows)],
        types=[types.get(number, UNUSED) for number in range(rows)],
        merges=[" ".join(merge) for merge in spec["model"]["merges"]],
    )


def _pre_name(spec: dict[str, Any]) -> str:
    """llama.cpp's name for what splits a text into words."""
    normalizer = spec["normalizer"]
    kinds = [
        step["type"] for step in (normalizer or {}).get("normalizers", [normalizer] if normalizer else [])
    ]
    if any(kind != "NFC" for kind in kinds):  # llama.cpp normalises nothing; NFC changes few texts
        raise _unsupported("without a normalizer other than NFC", kinds)
    steps = spec["pre_tokenizer"] or {}
    *before, last = steps.get("pretokenizers", [steps])
    if last.get("type") != "ByteLevel" or last.get("add_prefix_space"):
        raise _unsupported("a byte-level BPE without a space put before texts", last)
    if last.get("use_regex", True):
        digits = [{"type": "Digits", "individual_digits": True}]
        names = {"[]": "gpt-2", json.dumps(digits): "smollm"}
        name = names.get(json.dumps(before))
    else:
        regexes = [
            step.get("pattern", {}).get("Regex") for step in before if step.get("behavior") == "Isolated"
        ]
        name = _SPLITS.get(regexes[0]) if len(regexes) == len(before) == 1 else None
    if name is None:
        raise _unsupported(
            "one whose words llama.cpp has a name for (gpt-2, smollm, llama-bpe, qwen2)", before
        )
    return name


def _check_model(model: dict[str, Any], pre: str) -> None:
    if model["type"] != "BPE" or model.get("byte_fallback"):
        raise _unsupported("a byte-level BPE", model["type"])
    if bool(model.get("ignore_merges")) != (pre == "llama-bpe"):
        raise _unsupported(
            "one that ignores merges if its words are llama-bpe's alone", model.get("ignore_merges")
        )
    for name in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(name):
            raise _unsupported(f"without {name}", model[name])


def _unsupported(must: str, found: object) -> NotSupportedError:
    return NotSupportedError(f"export_gguf: the tokenizer must be {must}, but has {found!r}; try --to hf")
