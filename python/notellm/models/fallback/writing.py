"""Writing after prompts, and scoring closed sets, with the functions and the cache of transformers."""

import copy
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from notellm import _core
from notellm.errors import NotSupportedError
from notellm.language_model import ScoredValues
from notellm.models.fallback.padding import batches_by_length
from notellm.progress import ProgressFn
from notellm.prompts import Prompt
from notellm.prompts.tokenizing import token_lists


def write(
    model: Any,
    prompt: Prompt,
    tokenized: "_core.prompts.TokenizedNotes",
    rows: Sequence["_core.prompts.NotePrompt"],
    decoding: "_core.options.DecodingOptions",
    *,
    closed: Sequence[Sequence[int]] | None,
    seed: int,
    stop_tokens: Sequence[int],
    progress: ProgressFn | None,
) -> list[list[int]]:
    """The tokens written after each prompt, without the one that ends them.

    Args:
        model: A model of transformers.
        prompt: Its prompt.
        tokenized: The notes.
        rows: What to ask about which note.
        decoding: How outputs are found.
        closed: The tokens of each allowed category; None: any text.
        seed: Of sampling; a draw depends on it, the prompt and the place alone.
        stop_tokens: What ends an output; not used with a closed set.
        progress: Called with (prompts done, prompts).

    Raises:
        NotSupportedError: For closed sets of hashtags.
        ValueError: If a prompt with its output is longer than the model's context, or no category is short enough.
    """
    prompts = _prompts(prompt, tokenized, rows)
    limit = decoding.max_new_tokens
    _check_length("generate", model, prompts, limit)
    allowed = None
    if closed is not None:
        if rows and rows[0].task is not _core.prompts.Task.category:
            raise NotSupportedError(
                "generate_hashtags: with model.backend=transformers hashtags must be free, but a vocabulary is given; "
                "try vocabulary=None"
            )
        sequences, limit = _short_enough(_outputs(prompt, closed), limit), limit + 1  # and the end token
        allowed, stop_tokens = _Trie(sequences), [prompt.eos_token_id]  # the set says where an output may end
    written: dict[int, list[int]] = {}
    for members in batches_by_length([len(own) + limit for own in prompts], decoding.batch_tokens):
        if progress is not None:
            progress(len(written), len(prompts))
        own = [prompts[i] for i in members]
        found = _write_batch(model, own, decoding, limit, allowed, seed, stop_tokens)
        written |= zip(members, found, strict=True)
    if progress is not None:
        progress(len(prompts), len(prompts))
    return [_ended(written[i], stop_tokens) for i in range(len(prompts))]


def _ended(output: list[int], stop_tokens: Sequence[int]) -> list[int]:
    """The output up to the first token that ends it."""
    return output[: next((place for place, token in enumerate(output) if token in stop_tokens), None)]


def score(
    model: Any,
    prompt: Prompt,
    tokenized: "_core.prompts.TokenizedNotes",
    values: "_core.prompts.TokenLists",
    *,
    max_logits: int,
    progress: ProgressFn | None,
) -> ScoredValues:
    """Log p of each category: the note's prompt once, then the categories from copies of its cache.

    Args:
        model: A model of transformers.
        prompt: Its prompt.
        tokenized: ``n`` notes.
        values: The tokens of ``C`` categories.
        max_logits: Logits computed at once; limits memory.
        progress: Called with (notes done, notes).

    Raises:
        ValueError: If a prompt with a category is longer than the model's context.
    """
    sequences = _outputs(prompt, [own.tolist() for own in np.split(values.ids, values.offsets[1:-1])])
    lengths = [len(own) for own in sequences]
    longest = max(lengths)
    prompts = _prompts(
        prompt, tokenized, prompt.rows(tokenized, range(len(tokenized)), task="category", mode="generate")
    )
    _check_length("score_categories", model, prompts, longest - 1)
    device = model.device
    labels = torch.tensor([own + [0] * (longest - len(own)) for own in sequences], device=device)  # (C, L)
    counts = torch.arange(longest, device=device) < torch.tensor(lengths, device=device).unsqueeze(
        1
    )  # (C, L)
    size = max(1, max_logits // (longest * int(model.get_output_embeddings().weight.shape[0])))
    log_probs = torch.empty(len(prompts), len(sequences), dtype=torch.float64)
    for i, ids in enumerate(prompts):
        if progress is not None:
            progress(i, len(prompts))
        begun = model(input_ids=torch.tensor([ids], device=device), use_cache=True)
        first = begun.logits[0, -1].double().log_softmax(0)  # (V)
        for begin in range(0, len(sequences), size):
            some = slice(begin, begin + size)
            each = _continued(model, begun.past_key_values, first, labels[some])  # (c, L)
            log_probs[i, some] = (each * counts[some]).sum(1).cpu()
    if progress is not None:
        progress(len(prompts), len(prompts))
    return ScoredValues(log_probs, lengths)


def _continued(model: Any, cache: Any, first: Tensor, labels: Tensor) -> Tensor:
    """Log p of each label ``(c, L)`` after a prompt, given those of its first place ``(V)``; fp64."""
    each = [first[labels[:, :1]]]
    if labels.size(1) > 1:
        own = copy.deepcopy(cache)
        own.batch_repeat_interleave(len(labels))
        logits = model(input_ids=labels[:, :-1], past_key_values=own, use_cache=True).logits  # (c, L-1, V)
        each.append(logits.double().log_softmax(2).gather(2, labels[:, 1:, None]).squeeze(2))
    return torch.cat(each, 1)


def _prompts(
    prompt: Prompt, tokenized: "_core.prompts.TokenizedNotes", rows: Sequence["_core.prompts.NotePrompt"]
) -> list[list[int]]:
    """The tokens of each prompt, up to where its output begins."""
    lists = _core.prompts.lay_out(prompt.core, tokenized, rows, _core.prompts.PackMode.generate)
    return [own.tolist() for own in np.split(lists.ids, lists.offsets[1:-1])] if rows else []


def _outputs(prompt: Prompt, values: Sequence[Sequence[int]]) -> list[list[int]]:
    """Each category as an output: with the text that closes the prompt, and the end token, as in training."""
    none = token_lists([[]] * len(values))
    notes = _core.prompts.TokenizedNotes(
        none, none, token_lists(values), token_lists([]), np.zeros(len(values) + 1, np.int64)
    )
    batch = prompt.pack(notes, range(len(values)), task="category", mode="train")
    return [own.tolist() for own in np.split(batch.labels, batch.label_offsets[1:-1])]


def _short_enough(sequences: list[list[int]], limit: int) -> list[list[int]]:
    found = [own for own in sequences if len(own) <= limit + 1]
    if not found:
        raise ValueError(
            f"generate_category: max_new_tokens must be at least that of some category, but is {limit}"
        )
    return found


def _check_length(where: str, model: Any, prompts: Sequence[Sequence[int]], more: int) -> None:
    """Refuses prompts that do not fit the context, if the model says how long that is."""
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    longest = max(map(len, prompts), default=0)
    if context and longest + more > context:
        raise ValueError(
            f"{where}: a prompt with its output must have at most {context} tokens, the model's context, but has up "
            f"to {longest + more}; try a prompt that cuts titles and contents shorter"
        )


def _write_batch(
    model: Any,
    prompts: list[list[int]],
    decoding: "_core.options.DecodingOptions",
    limit: int,
    allowed: "_Trie | None",
    seed: int,
    stop_tokens: Sequence[int],
) -> list[list[int]]:
    from transformers import GenerationConfig, LogitsProcessorList

    width = max(map(len, prompts))
    # filled with tokens of the prompt itself, which the penalty for repetition counts anyway
    ids = torch.tensor([own[:1] * (width - len(own)) + own for own in prompts])
    mask = torch.tensor([[0] * (width - len(own)) + [1] * len(own) for own in prompts])
    config = GenerationConfig(
        max_new_tokens=limit,
        num_beams=decoding.beams,
        length_penalty=decoding.length_penalty,
        repetition_penalty=decoding.repetition_penalty,
        do_sample=False,
        eos_token_id=list(stop_tokens),
        pad_token_id=stop_tokens[0],
    )
    drawing = LogitsProcessorList(
        _drawing(decoding, seed, [tuple(own) for own in prompts], width) if decoding.temperature > 0 else []
    )
    found = model.generate(
        ids.to(model.device),
        attention_mask=mask.to(model.device),
        generation_config=config,
        logits_processor=drawing,
        prefix_allowed_tokens_fn=None if allowed is None else lambda _, so_far: allowed.after(so_far[width:]),
    )
    outputs: list[list[int]] = found[:, width:].tolist()
    return outputs


def _drawing(
    decoding: "_core.options.DecodingOptions", seed: int, prompts: list[tuple[int, ...]], width: int
) -> list[Any]:
    """What makes the best token a drawn one: the usual limits, and then noise of Gumbel's distribution."""
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    steps: list[Any] = [TemperatureLogitsWarper(decoding.temperature)]
    if decoding.top_k:
        steps.append(TopKLogitsWarper(decoding.top_k))
    if decoding.top_p < 1:
        steps.append(TopPLogitsWarper(decoding.top_p))

    def draw(so_far: Tensor, scores: Tensor) -> Tensor:
        place = so_far.size(1) - width
        noise = [_gumbel(seed, own, place, scores.size(1)) for own in prompts]
        return scores + torch.from_numpy(np.stack(noise)).to(scores)

    return [*steps, draw]


def _gumbel(seed: int, prompt: tuple[int, ...], place: int, count: int) -> np.ndarray:
    """Noise that is a function of seed, prompt and place: the maximum of log p plus it is a draw from p."""
    name = hashlib.blake2b(repr((seed, place, prompt)).encode(), digest_size=16).digest()
    generator = np.random.Generator(np.random.Philox(key=np.frombuffer(name, np.uint64)))
    return generator.gumbel(size=count)


class _Trie:
    """Which tokens may follow the beginning of an output."""

    def __init__(self, sequences: Sequence[Sequence[int]]) -> None:
        self.root: dict[int, Any] = {}
        for own in sequences:
            node = self.root
            for token in own:
                node = node.setdefault(token, {})
        self.end = sequences[0][-1]

    def after(self, written: Tensor) -> list[int]:
        """The allowed tokens; behind the end token only that token, with which finished outputs are filled."""
        node = self.root
        for token in written.tolist():
            node = node.get(token, {})
        return list(node) or [self.end]
