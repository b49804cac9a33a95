"""The category of a note: generated freely, generated from a closed set, or the one of the set with the best score."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from notellm import _core
from notellm._core.options import DecodingOptions
from notellm.data.named_notes import naming_notes
from notellm.data.notes import Notes
from notellm.generation.closed_sets import tokens_of_values
from notellm.generation.decoding import write
from notellm.language_model import ClosedSet, LanguageModel, ScoreCall
from notellm.precision import Dtype, compute_dtype
from notellm.progress import ProgressFn

if TYPE_CHECKING:
    from typing import Unpack

    from notellm._core.options import DecodingKeywords


def generate_category(
    model: LanguageModel,
    notes: Notes,
    *,
    categories: Sequence[str] | None = None,
    decoding: DecodingOptions | None = None,
    seed: int = 0,
    stop: Sequence[str | int] = (),
    dtype: Dtype = "auto",
    progress: ProgressFn | None = None,
    **changes: "Unpack[DecodingKeywords]",
) -> list[str]:
    """Generates the category of each note with the category prompt.

    Args:
        model: The model.
        notes: The notes; their categories are not used.
        categories: The closed set: at every step only tokens that lead to one of them are allowed. Greedy decoding
            does not always find the most probable category; `score_categories` does. Default: any text.
        decoding: How the output is found, see `DecodingOptions`; by default greedily.
        seed: Seed of sampling. Sampling does not depend on the batch or on other notes, and equal prompts get equal
            outputs.
        stop: Tokens that end an output besides the model's own end token: ids, or tokens as the tokenizer names them.
            Not used with a closed set, whose values end by themselves.
        dtype: Of the matrix products, see `notellm.resolve_dtype`: ``"auto"``, ``"fp32"``, ``"bf16"`` or ``"fp64"``.
        progress: Called with (notes done, notes).
        changes: Single options, such as ``beams=4``, that replace those of ``decoding`` or the defaults. If
            ``max_new_tokens`` is not among them and ``categories`` is given, it is the length of the longest category.

    Returns:
        One string per note, without surrounding space and the prompt's closing text; without ``categories`` it may be
        a category that does not exist ("illusory").

    Raises:
        ValueError: If an option is out of its range or the dtype unknown; if a prompt does not fit the model's context;
            if there is no category, or one is empty or repeated.
    """
    closed, names = None, dict[str, str]()
    if categories is not None:
        _refuse_a_text("generate_category", categories)
        ids, tokens = tokens_of_values(model, categories, "generate_category", "categories")
        # a tokenizer may change letters, or know some only as unknown: what it writes stands for the name
        as_written = map(
            model.prompt.parse_category, model.tokenizer.decode_batch(ids, skip_special_tokens=False)
        )
        names = dict(zip(as_written, (name.strip() for name in categories), strict=True))
        grammar = _core.generation.OutputGrammar(model.prompt.core, tokens, _core.prompts.Task.category, 1)
        changes = {"max_new_tokens": grammar.longest_value(), **changes}
        closed = ClosedSet(ids, grammar)
    tokenized = model.prompt.tokenize(notes)
    with naming_notes(notes.ids):
        outputs = write(
            model,
            tokenized,
            model.prompt.rows(tokenized, range(len(notes)), task="category", mode="generate"),
            (decoding or DecodingOptions()).replace(**changes),
            seed=seed,
            stop=stop,
            dtype=dtype,
            closed=closed,
            progress=progress,
        )
    written = [model.prompt.parse_category(output) for output in outputs]
    return [names.get(text, text) for text in written]


class ScoredCategories(NamedTuple):
    """The scores of every category of a closed set, note by note.

    Attributes:
        categories: ``C`` names, in the order given.
        log_probs: Shape ``(n, C)`` fp64: log p(category | note), the end token included; divided by the number of
            tokens if lengths are normalised.
        probabilities: Shape ``(n, C)`` fp64: the softmax of these over the closed set.
        best: The most probable category of each note; the first if several are equal.
        confidence: Shape ``(n,)`` fp64: the probability of ``best``.
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
    batch_tokens: int = DecodingOptions().batch_tokens,
    max_logits: int = 1 << 24,
    progress: ProgressFn | None = None,
) -> ScoredCategories:
    """The best category of each note in a closed set, by log p of all of them in one forward pass, without search.

    The categories are laid out as a trie below the note, so that their common prefixes are computed once. The cost of
    a note is its prompt and the trie.

    Args:
        model: The model.
        notes: The notes; their own categories are not used.
        categories: The closed set, distinct; one may be a prefix of another.
        normalise_length: Whether log p is divided by the number of tokens, the end token included: otherwise long
            names are less probable than short ones.
        dtype: Of the matrix products, see `notellm.resolve_dtype`: ``"auto"``, ``"fp32"``, ``"bf16"`` or ``"fp64"``.
        batch_tokens: Tokens computed at once, shared ones counted once; limits memory.
        max_logits: Logits computed at once; limits memory.
        progress: Called with (notes done, notes).

    Raises:
        ValueError: If there is no category, one is empty or repeated, a limit is below 1 or the dtype unknown.
    """
    _refuse_a_text("score_categories", categories)
    names = list(categories)
    _, tokens = tokens_of_values(model, names, "score_categories", "categories")
    with naming_notes(notes.ids):
        how = ScoreCall(compute_dtype(dtype, model.device), batch_tokens, max_logits, progress)
        log_probs, lengths = model.score_values(model.prompt.tokenize(notes), tokens, how)
    if normalise_length:
        log_probs = log_probs / torch.tensor(lengths)
    probabilities = log_probs.softmax(1)
    best = log_probs.argmax(1)
    confidence = probabilities.gather(1, best[:, None]).squeeze(1)
    return ScoredCategories(names, log_probs, probabilities, [names[i] for i in best.tolist()], confidence)


def _refuse_a_text(where: str, categories: Sequence[str]) -> None:
    """Refuses a single text: it is a sequence of texts, too, but of its letters."""
    if isinstance(categories, str):
        raise ValueError(f"{where}: categories must be a list of names, but are a text")
