"""Who else writes hashtags greedily after the same prompts: transformers in two ways, CTranslate2.

Each is a function of rows and a batch size that returns token ids, the end left out. All sort by length. What all
prompts begin with, the instruction, is computed once by those that keep its keys and values.
"""

import json
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from devices import is_gpu
from embedders import Sequences, prefix_states, shared_cache
from transformers import AutoModelForCausalLM, AutoTokenizer

Writer = Callable[[Sequence[int], int], list[list[int]]]
"""Rows and a batch size to what is written after each row's prompt."""


class Greedy:
    """What all writers have in common.

    Attributes:
        prompts: Token ids up to where the output begins.
        end: The token that ends an output.
        new_tokens: At most so many are written.
    """

    def __init__(self, prompts: Sequences, end: int, new_tokens: int) -> None:
        self.prompts, self.end, self.new_tokens = prompts, end, new_tokens

    def cut(self, ids: list[int]) -> list[int]:
        """What stands before the end."""
        return ids[: ids.index(self.end)] if self.end in ids else ids

    def in_batches(
        self, rows: Sequence[int], batch_size: int, write: Callable[[list[int]], list[list[int]]]
    ) -> list[list[int]]:
        """Outputs in the rows' order, written in batches of similar lengths, the longest first."""
        order = sorted(range(len(rows)), key=lambda i: -len(self.prompts.ids[rows[i]]))
        written: list[list[int]] = [[] for _ in rows]
        for begin in range(0, len(order), batch_size):
            chosen = order[begin : begin + batch_size]
            for i, ids in zip(chosen, write([rows[i] for i in chosen]), strict=True):
                written[i] = self.cut(ids)
        return written


def transformers_writer(model: Any, greedy: Greedy, *, keep_prefix: bool) -> Writer:
    """``generate`` with its own cache on left-padded batches; the prefix in the cache beforehand, or not."""
    prompts = greedy.prompts
    prefix = prompts.prefix if keep_prefix else 0
    states = prefix_states(model, prompts) if keep_prefix else []

    def write(rows: list[int]) -> list[list[int]]:
        longest = max(len(prompts.ids[row]) for row in rows)
        ids = torch.full((len(rows), longest), greedy.end)  # prefix, padding, the rest
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            own = prompts.ids[row]
            for begin, part in ((0, own[:prefix]), (longest - len(own) + prefix, own[prefix:])):
                ids[i, begin : begin + len(part)] = part
                mask[i, begin : begin + len(part)] = 1
        outputs = model.generate(
            input_ids=ids.to(prompts.device),
            attention_mask=mask.to(prompts.device),
            past_key_values=shared_cache(states, len(rows)) if keep_prefix else None,
            max_new_tokens=greedy.new_tokens,
            do_sample=False,
            eos_token_id=greedy.end,
            pad_token_id=greedy.end,
        )
        return outputs[:, longest:].tolist()

    @torch.inference_mode()
    def written(rows: Sequence[int], batch_size: int) -> list[list[int]]:
        return greedy.in_batches(rows, batch_size, write)

    return written


def load_transformers(folder: Path, dtype: torch.dtype, device: str) -> Any:
    """The same weights with an LM head."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval().to(device)


def ctranslate2_missing(device: torch.device | str) -> str | None:
    """What of the package is absent: all, or its use of a GPU where it is to compute on one."""
    if find_spec("ctranslate2") is None:
        return "ctranslate2"
    import ctranslate2

    return "ctranslate2 for CUDA" if is_gpu(device) and not ctranslate2.get_cuda_device_count() else None


def place_of(device: torch.device | str) -> tuple[str, int]:
    """A device as CTranslate2 names it: its kind and its number."""
    named = torch.device(device)
    return named.type, named.index or 0


def ctranslate2_writer(folder: Path, greedy: Greedy, compute_type: str) -> Writer:
    """CTranslate2's generator, ``"float32"`` or ``"int8"``; the instruction is its static prompt, which it caches."""
    import ctranslate2
    from ctranslate2.converters import TransformersConverter

    tokenizer = AutoTokenizer.from_pretrained(folder)
    names = tokenizer.convert_ids_to_tokens
    kind, number = place_of(greedy.prompts.device)
    with TemporaryDirectory() as kept:
        TransformersConverter(str(folder)).convert(kept, quantization=compute_type, force=True)
        _name_special_tokens(Path(kept, "config.json"), names(greedy.end))
        generator = ctranslate2.Generator(
            kept,
            device=kind,
            device_index=number,
            compute_type=compute_type,
            inter_threads=1,
            intra_threads=torch.get_num_threads(),
        )
    prefix = greedy.prompts.prefix
    static = names(greedy.prompts.ids[0][:prefix].tolist())

    def write(rows: list[int]) -> list[list[int]]:
        results = generator.generate_batch(
            [names(greedy.prompts.ids[row][prefix:].tolist()) for row in rows],
            static_prompt=static,
            cache_static_prompt=True,
            include_prompt_in_result=False,
            max_length=greedy.new_tokens,
            sampling_topk=1,
            end_token=[greedy.end],
        )
        return [result.sequences_ids[0] for result in results]

    def written(rows: Sequence[int], batch_size: int) -> list[list[int]]:
        return greedy.in_batches(rows, batch_size, write)

    return written


def _name_special_tokens(config: Path, end: str) -> None:
    """The generator wants a name for each of them, where the tokenizer may have none."""
    named = json.loads(config.read_text())
    named |= {key: end for key, value in named.items() if key.endswith("_token") and value is None}
    config.write_text(json.dumps(named))
