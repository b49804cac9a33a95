"""The hashtags of a note: generated freely, or from a known vocabulary."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from notellm import _core
from notellm._core.options import DecodingOptions
from notellm.data.named_notes import naming_notes
from notellm.data.notes import Notes
from notellm.generation.closed_sets import tokens_of_values
from notellm.generation.decoding import write
from notellm.hashtags import HashtagRule, clean_hashtags
from notellm.language_model import ClosedSet, LanguageModel
from notellm.precision import Dtype
from notellm.progress import ProgressFn
from notellm.prompts.tokenizing import hashtag_rule
from notellm.text.analyzers import OVERLAP_TOKENS

if TYPE_CHECKING:
    from typing import Unpack

    from notellm._core.options import DecodingKeywords


_tokens = OVERLAP_TOKENS["auto"]


def generate_hashtags(
    model: LanguageModel,
    notes: Notes,
    count: int,
    *,
    vocabulary: Sequence[str] | None = None,
    banned: Sequence[Collection[str]] | None = None,
    ban_in_text: bool = False,
    decoding: DecodingOptions | None = None,
    seed: int = 0,
    stop: Sequence[str | int] = (),
    dtype: Dtype = "auto",
    progress: ProgressFn | None = None,
    **changes: "Unpack[DecodingKeywords]",
) -> list[list[str]]:
    """Generates hashtags with the hashtag prompt that asks for ``count`` of them.

    Args:
        model: The model.
        notes: The notes; their hashtags are not used.
        count: How many to ask for, from 1 to the prompt's ``max_hashtags``. Without a vocabulary the model may write
            fewer or more, with one at most ``count``.
        vocabulary: The allowed hashtags, each at most once per note: at every step only tokens that lead to one of
            them are allowed. They are cleaned as the prompt cleans hashtags (one with a separator in it counts as
            several). Default: any text.
        banned: By note: hashtags that it must not get, cut like all others. With a vocabulary they are never written;
            without one they are removed from the output.
        ban_in_text: Whether hashtags that occur in the note's title or content are banned, too (`hashtags_in_text`).
        decoding: How the output is found, see `DecodingOptions`; by default greedily.
        seed: Seed of sampling. Sampling does not depend on the batch or on other notes, and equal prompts get equal
            outputs.
        stop: Tokens that end an output besides the model's own end token: ids, or tokens as the tokenizer names them.
            Not used with a vocabulary, whose values end by themselves.
        dtype: Of the matrix products, see `notellm.resolve_dtype`: ``"auto"``, ``"fp32"``, ``"bf16"`` or ``"fp64"``.
        progress: Called with (notes done, notes).
        changes: Single options, such as ``beams=4``, that replace those of ``decoding`` or the defaults. With a
            vocabulary, an output that is cut at ``max_new_tokens`` ends with a complete hashtag.

    Returns:
        One list of hashtags per note, split at the prompt's separator, in the order written, without repeats; empty
        if the whole vocabulary is banned.

    Raises:
        ValueError: If the count has no prompt, an option is out of its range or the dtype unknown; if a prompt does not
            fit the model's context; if no hashtag of the vocabulary can be written, or ``banned`` does not have one
            collection per note.
    """
    if banned is not None and len(banned) != len(notes):
        raise ValueError(
            f"generate_hashtags: banned must hold a collection for each of {len(notes)} notes, but holds {len(banned)}"
        )
    closed, numbers, names = None, dict[str, int](), dict[str, str]()
    if vocabulary is not None:
        numbers = _numbered(model, vocabulary)
        ids, tokens = tokens_of_values(model, list(numbers), "generate_hashtags", "hashtags")
        names = _as_written(model, ids, numbers)
        task = _core.prompts.Task.hashtags
        grammar = _core.generation.OutputGrammar(model.prompt.core, tokens, task, count)
        closed = ClosedSet(ids, grammar)
    given = [()] * len(notes) if banned is None else banned
    present = _present(model, notes, vocabulary) if ban_in_text and vocabulary is not None else given
    bans = [set(_clean(model, (*own, *there))) for own, there in zip(given, present, strict=True)]
    tokenized = model.prompt.tokenize(notes)
    with naming_notes(notes.ids):
        outputs = write(
            model,
            tokenized,
            model.prompt.rows(tokenized, range(len(notes)), task="hashtags", mode="generate", count=count),
            (decoding or DecodingOptions()).replace(**changes),
            seed=seed,
            stop=stop,
            dtype=dtype,
            closed=closed,
            banned=[sorted(numbers[tag] for tag in own if tag in numbers) for own in bans] if closed else [],
            progress=progress,
        )
    read = (model.prompt.parse_hashtags(output, count=count) for output in outputs)
    written = [[names.get(tag, tag) for tag in tags] for tags in read]
    if vocabulary is None and ban_in_text:
        for i, tags in enumerate(written):
            bans[i] |= hashtags_in_text(notes.take([i]), tags)[0]
    return [[tag for tag in tags if tag not in own] for tags, own in zip(written, bans, strict=True)]


def _as_written(model: LanguageModel, ids: Sequence[Sequence[int]], tags: Iterable[str]) -> dict[str, str]:
    """The hashtags by what the tokenizer writes for them: it may change letters, or know some only as unknown."""
    written = map(model.prompt.parse_hashtags, model.tokenizer.decode_batch(ids, skip_special_tokens=False))
    return {" ".join(own): tag for own, tag in zip(written, tags, strict=True)}


def _present(model: LanguageModel, notes: Notes, vocabulary: Sequence[str]) -> list[set[str]]:
    """The hashtags of a vocabulary in the text of each note, where they stand uncut."""
    whole = HashtagRule((model.prompt.config.hashtag_separator,))
    return hashtags_in_text(notes, clean_hashtags(vocabulary, whole))


def _clean(model: LanguageModel, tags: Iterable[str]) -> list[str]:
    """Hashtags in the form in which the prompt shows them and the model writes them."""
    return clean_hashtags(tags, hashtag_rule(model.prompt.config))


def _numbered(model: LanguageModel, vocabulary: Sequence[str]) -> dict[str, int]:
    """The distinct hashtags in the form in which the prompt shows them, each with its index."""
    if isinstance(vocabulary, str):
        raise ValueError("generate_hashtags: vocabulary must be a list of hashtags, but is a text")
    tags = _clean(model, vocabulary)
    if not tags:
        raise ValueError(
            "generate_hashtags: vocabulary must have a hashtag that can be written, but has none"
        )
    return {tag: number for number, tag in enumerate(tags)}


def hashtags_in_text(notes: Notes, hashtags: Sequence[str]) -> list[set[str]]:
    """Which of the given hashtags occur in the title or the content of each note.

    A hashtag occurs if its words do, one after the other; case and characters between words are ignored. In scripts
    without spaces between words, each character is a word.

    Args:
        notes: N notes.
        hashtags: The hashtags to look for.

    Returns:
        By note: the hashtags that occur in it.

    Example:
        >>> notes = Notes(["a"], ["Web servers"], ["Fast HTTP/2 server."], [[]], [""])
        >>> sorted(hashtags_in_text(notes, ["web", "http-2", "server fast", "serve"])[0])
        ['http-2', 'web']
    """
    by_words: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for tag in hashtags:
        by_words[tuple(_tokens(tag))].append(tag)
    by_words.pop((), None)
    lengths = sorted({len(words) for words in by_words})
    found = []
    for fields in zip(notes.titles, notes.contents, strict=True):
        runs = (run for field in fields for run in _runs(_tokens(field), lengths))
        found.append({tag for run in runs if run in by_words for tag in by_words[run]})
    return found


def _runs(words: Sequence[str], lengths: Sequence[int]) -> Iterator[tuple[str, ...]]:
    for length in lengths:
        for begin in range(len(words) - length + 1):
            yield tuple(words[begin : begin + length])
