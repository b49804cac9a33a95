"""The category of a note: written freely, written as one of a closed set, or the best of the set by its score."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from notellm import _core
from notellm.data.notes import Notes
from notellm.generation.decoding import Decoding, write
from notellm.models.language_model import LanguageModel
from notellm.precision import Dtype, compute_dtype
from notellm.progress import ProgressFn
from notellm.prompts.tokenizing import token_lists

if TYPE_CHECKING:
    from typing import Unpack

    from notellm._core.options import DecodingKeywords


def generate_category(
    model: LanguageModel,
    notes: Notes,
    *,
    categories: Sequence[str] | None = None,
    decoding: Decoding | None = None,
    seed: int = 0,
    stop: Sequence[str | int] = (),
    dtype: Dtype = "auto",
    progress: ProgressFn | None = None,
    **changes: "Unpack[DecodingKeywords]",
) -> list[str]:
    """Writes the category of each note with the category prompt.

    Args:
        model: The model.
        notes: Their categories are not looked at.
        categories: Only these may be written: at every step the tokens that go on to one of them. Greedily, that need
            not lead to the most probable category; `score_categories` finds it. Default: anything may be written.
        decoding: How the output is found, see `Decoding`; by default greedily.
        seed: Of the draws. Neither the batch nor the other notes change them, and equal prompts get equal outputs.
        stop: Tokens that end an output besides the model's own end: ids, or tokens as the tokenizer names them. Where
            only known values may be written, these end by themselves, and it does not count.
        dtype: Of the matrix products, see `notellm.resolve_dtype`: ``"auto"``, ``"fp32"``, ``"bf16"`` or ``"fp64"``.
        progress: Called with (notes done, notes).
        changes: Single options, such as ``beams=4``, in place of those of ``decoding`` or the defaults.
            Unless ``max_new_tokens`` is among them, one of ``categories`` may be as long as the longest of them.

    Returns:
        One string a note, without surrounding space and the prompt's closing text; without ``categories`` it may be
        none of the known ones ("illusory").

    Raises:
        ValueError: If an option is out of its range or the dtype unknown; if a prompt does not fit the model's context;
            if there is no category, or one is empty or comes twice.
    """
    grammar = None
    if categories is not None:
        _refuse_a_text("generate_category", categories)
        grammar = _core.generation.OutputGrammar(
            model.prompt.core,
            token_lists(model.prompt.encode_values(list(categories))),
            _core.prompts.Task.category,
            1,
        )
        changes = {"max_new_tokens": grammar.longest_value(), **changes}
    tokenized = model.prompt.tokenize(notes)
    outputs = write(
        model,
        tokenized,
        model.prompt.rows(tokenized, range(len(notes)), task="category", mode="generate"),
        (decoding or Decoding()).replace(**changes),
        seed=seed,
        stop=stop,
        dtype=dtype,
        grammar=grammar,
        progress=progress,
    )
    return [model.prompt.parse_category(output) for output in outputs]


class ScoredCategories(NamedTuple):
    """What a model thinks of every category of a closed set, note by note.

    Attributes:
        categories: ``C`` names, in the order given.
        log_probs: Shape ``(n, C)`` fp64: log p(category | note), the end of the text included; divided by the number of
            tokens where lengths are normalised.
        probabilities: Shape ``(n, C)`` fp64: the softmax of these over the closed set.
        best: The most probable category of each note; of equal ones the first.
        confidence: Shape ``(n,)`` fp64: its probability.
    """

    categories: list[str]
    log_probs: Tensor
    probabilities: Tensor
    best: list[str]
    confidence: Tensor


def score_categories(
    model: LanguageModel,
    notes: Notes,
    categories: Sequence[str],
    *,
    normalise_length: bool = False,
    dtype: Dtype = "auto",
    batch_tokens: int = Decoding().batch_tokens,
    max_logits: int = 1 << 24,
    progress: ProgressFn | None = None,
) -> ScoredCategories:
    """The best category of each note among a closed set, by log p of every one of them in one pass: no search.

    The categories hang below the note as a trie, so that what they begin with alike is computed once; a note costs
    itself and the trie.

    Args:
        model: The model.
        notes: Their own categories are not looked at.
        categories: The closed set, distinct; one may begin another.
        normalise_length: Whether log p is divided by the number of tokens, the end included: without it, long names
            are less probable than short ones.
        dtype: Of the matrix products, see `notellm.resolve_dtype`: ``"auto"``, ``"fp32"``, ``"bf16"`` or ``"fp64"``.
        batch_tokens: Tokens computed at once, shared ones counted once: bounds memory.
        max_logits: Logits computed at once: bounds memory.
        progress: Called with (notes done, notes).

    Raises:
        ValueError: If there is no category, one is empty or comes twice, a limit is below 1 or the dtype unknown.
    """
    _refuse_a_text("score_categories", categories)
    names = list(categories)
    candidates = _core.generation.category_candidates(
        model.prompt.core, token_lists(model.prompt.encode_values(names))
    )
    log_probs = _core.generation.score_categories(
        model.language_model(),
        model.prompt.core,
        model.prompt.tokenize(notes),
        range(len(notes)),
        candidates,
        compute_dtype(dtype, model.device),
        batch_tokens,
        max_logits,
        progress,
    )
    if normalise_length:
        log_probs = log_probs / torch.tensor(candidates.labels)
    probabilities = log_probs.softmax(1)
    best = log_probs.argmax(1)
    confidence = probabilities.gather(1, best[:, None]).squeeze(1)
    return ScoredCategories(names, log_probs, probabilities, [names[i] for i in best.tolist()], confidence)


def _refuse_a_text(where: str, categories: Sequence[str]) -> None:
    """A text is a sequence of texts, too, but nobody means its letters."""
    if isinstance(categories, str):
        raise ValueError(f"{where}: categories must be a list of names, but are a text")
