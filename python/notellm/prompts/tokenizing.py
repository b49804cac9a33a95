"""Text to token ids, piece by piece; each piece is tokenised separately."""

import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain, takewhile
from typing import Any, Protocol

import numpy as np
from tokenizers import Tokenizer

from notellm._core.prompts import TokenizedNotes, TokenLists
from notellm.errors import DataError
from notellm.hashtags import HashtagRule, one_line
from notellm.hashtags import clean_hashtags as clean_by_rule
from notellm.io.json_tree import shortened
from notellm.progress import ProgressFn
from notellm.prompts.config import PromptConfig

NOTES_PER_CHUNK = 512
"""Notes tokenised between two reports of progress."""

LEAST_CHARS, CHARS_PER_TOKEN, MOST_CHARS = 2_048, 32, 1 << 20
"""Characters of a text that are read to get its first tokens: at least, at first per token, and at most ever."""


class NoteTexts(Protocol):
    """The fields of notes that a prompt can show; ``notellm.Notes`` has them."""

    @property
    def titles(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def contents(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def topics(self) -> Sequence[Sequence[str]]: ...  # noqa: D102
    @property
    def categories(self) -> Sequence[str]: ...  # noqa: D102


class PieceTokenizer:
    """Tokenises pieces of prompts, each separately and without padding.

    Works on its own copy of the tokenizer, set up so that ids can be concatenated: without padding or
    truncation, and without the dummy space that some tokenizers put before every text.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = plain_tokenizer(tokenizer)
        self._plain = Tokenizer.from_str(self.tokenizer.to_str())
        self._plain.encode_special_tokens = True  # names of special tokens are read as plain text

    def bos(self) -> list[int]:
        """The special tokens that the tokenizer's own configuration puts before a text."""
        with _refusals():
            probe = self.tokenizer.encode("a")
        marked = zip(probe.ids, probe.special_tokens_mask, strict=True)
        return [token for token, _ in takewhile(lambda pair: pair[1], marked)]

    def has_token(self, token_id: int) -> bool:
        """Whether the tokenizer knows the id."""
        return self.tokenizer.id_to_token(token_id) is not None

    def size(self) -> int:
        """The number of tokens, added ones included."""
        return int(self.tokenizer.get_vocab_size(with_added_tokens=True))

    def encode_text(self, text: str) -> list[int]:
        """The ids of a fixed piece; names of special tokens in it become those tokens."""
        with _refusals():
            return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def encode_values(self, values: Sequence[str], lead: str, limit: int | None = None) -> list[list[int]]:
        """The ids of slot values, each after ``lead``; newlines become spaces, empty values have no tokens.

        A note cannot contain special tokens: their names are plain text in it.

        With a limit, only the beginning of a long text is read: max(2048, 32 x limit) characters, then twice as many,
        and so on, while the kept tokens might still depend on the rest; never more than 2^20. They no longer depend on
        it if the last kept token lies in a word (of the tokenizer's own pre-tokenizer) before the last word read, or
        ends in the first half of what is read: then merges would have to reach over 1024 characters.

        Args:
            values: N texts.
            lead: Text to put before each.
            limit: How many tokens of each to keep; None: all.

        Returns:
            N lists of ids.
        """
        chars = None if limit is None else max(LEAST_CHARS, CHARS_PER_TOKEN * limit)
        is_short = [chars is None or len(value) <= chars for value in values]
        texts = [_slot_text(value, lead) for value, short in zip(values, is_short, strict=True) if short]
        with _refusals():
            found = iter(self._plain.encode_batch_fast(texts, add_special_tokens=False))
        if limit is None or chars is None:
            return [encoding.ids for encoding in found]
        return [
            next(found).ids[:limit] if short else self._first_ids(value, lead, limit, chars)
            for value, short in zip(values, is_short, strict=True)
        ]

    def _first_ids(self, value: str, lead: str, limit: int, chars: int) -> list[int]:
        """The first ids of a text that is longer than ``chars``."""
        while True:
            text = _slot_text(value, lead, chars)
            with _refusals():
                encoding = self._plain.encode(text, add_special_tokens=False)
            ids: list[int] = encoding.ids[:limit]
            if not text or chars >= min(len(value), MOST_CHARS):
                return ids
            if len(ids) == limit:
                words, end = encoding.word_ids, encoding.offsets[limit - 1][1]
                if words[limit - 1] != words[-1] or end <= len(text) // 2:
                    return ids
            chars *= 2

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, special tokens included."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False))

    def token_text(self, token_id: int) -> str:
        """The text of one token; its spelling in the vocabulary if it is only a part of a character."""
        text = self.decode([token_id])
        return text if text and "\ufffd" not in text else str(self.tokenizer.id_to_token(token_id))


@contextmanager
def _refusals() -> Iterator[None]:
    """The library raises a bare Exception for a text that it has no token for, not even one for the unknown."""
    try:
        yield
    except Exception as error:
        if type(error) is not Exception:
            raise
        raise DataError(f"tokenizer.json: must have tokens for any text, but: {error}") from None


def clean_value(value: str) -> str:
    r"""A value as it goes into a slot: newlines become spaces; a value of only white space becomes empty.

    Example:
        >>> clean_value("one\ntwo"), clean_value(" \n")
        ('one two', '')
    """
    return one_line(value) if value and not value.isspace() else ""


def hashtag_rule(config: PromptConfig) -> HashtagRule:
    """What a prompt can show and read back as a hashtag: without separator, at most ``max_hashtag_chars`` long."""
    return HashtagRule((config.hashtag_separator,), config.max_hashtag_chars)


def clean_hashtags(topics: Iterable[str], config: PromptConfig) -> list[str]:
    """The hashtags of a note as prompts show them, and as they are read back from a perfect output.

    Each is cleaned by `notellm.hashtags.clean_hashtags`: split at the prompt's separator, without white space around
    it, cut to ``max_hashtag_chars`` characters; empty ones and repetitions are left out; the first
    ``max_hashtags`` remain.

    Example:
        >>> from notellm.prompts import load_prompt
        >>> clean_hashtags(["games", "", "games ", "role-playing-and-adventure"], load_prompt("paper"))
        ['games', 'role-playing-and']
    """
    return clean_by_rule(topics, hashtag_rule(config))[: config.max_hashtags]


def _slot_text(value: str, lead: str, chars: int | None = None) -> str:
    """The part of a value to tokenise. It is empty only if the whole value is, not if the part read is."""
    return "" if not value or value.isspace() else lead + one_line(value[:chars])


def tokenize_notes(
    tokenizer: PieceTokenizer, config: PromptConfig, notes: NoteTexts, progress: ProgressFn | None
) -> TokenizedNotes:
    """Tokenises and truncates every field of every note; see :meth:`notellm.prompts.Prompt.tokenize`."""
    encode = partial(tokenizer.encode_values, lead=config.slot_lead)
    titles, contents, categories, hashtags = (_ListBuilder() for _ in range(4))
    hashtag_offsets = array("q", [0])
    total = len(notes.titles)
    for begin in range(0, total, NOTES_PER_CHUNK):
        chunk = slice(begin, begin + NOTES_PER_CHUNK)
        with _naming_no_text(notes, range(total)[chunk]):
            titles.extend(encode(notes.titles[chunk], limit=config.title_tokens))
            contents.extend(encode(notes.contents[chunk], limit=config.content_tokens))
            categories.extend(encode(notes.categories[chunk]))
            tags = [clean_hashtags(topics, config) for topics in notes.topics[chunk]]
            hashtags.extend(encode(list(chain.from_iterable(tags))))
        for own in tags:
            hashtag_offsets.append(hashtag_offsets[-1] + len(own))
        if progress is not None:
            progress(min(begin + NOTES_PER_CHUNK, total), total)
    return TokenizedNotes(
        titles.build(),
        contents.build(),
        categories.build(),
        hashtags.build(),
        np.asarray(hashtag_offsets, dtype=np.int64),
    )


@contextmanager
def _naming_no_text(notes: NoteTexts, rows: range) -> Iterator[None]:
    """Names the note, where there is what Python and the library of tokenizers do not take as text."""
    try:
        yield
    except (TypeError, AttributeError):
        for row in rows:
            fields = {
                "title": [notes.titles[row]],
                "content": [notes.contents[row]],
                "hashtag": notes.topics[row],
            }
            for name, values in (fields | {"category": [notes.categories[row]]}).items():
                for value in values:
                    _check_text(value, f"{name} of note {row}")
        raise


def _check_text(value: object, what: str) -> None:
    if not isinstance(value, str):
        raise DataError(f"tokenize: {what} must be text, but is {shortened(value)}")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise DataError(f"tokenize: {what} must be Unicode text, but is {shortened(value)}")


def token_lists(lists: Iterable[Sequence[int]]) -> TokenLists:
    """Lists of ids in the form that the core takes."""
    builder = _ListBuilder()
    builder.extend(lists)
    return builder.build()


class _ListBuilder:
    """Collects lists of ids in flat arrays, four bytes per id."""

    def __init__(self) -> None:
        self._ids = array("i")
        self._offsets = array("q", [0])

    def extend(self, lists: Iterable[Sequence[int]]) -> None:
        for ids in lists:
            self._ids.extend(ids)
            self._offsets.append(len(self._ids))

    def build(self) -> TokenLists:
        return TokenLists(np.asarray(self._ids, dtype=np.int32), np.asarray(self._offsets, dtype=np.int64))


def plain_tokenizer(tokenizer: Tokenizer) -> Tokenizer:
    """A copy of a tokenizer without padding and truncation, and without what changes texts.

    That is a space before each text, in any of the three forms of the library, and BPE dropout, with which the same
    note would have other tokens each time.
    """
    spec = json.loads(tokenizer.to_str())
    if "dropout" in spec["model"]:
        spec["model"]["dropout"] = None
    spec["normalizer"] = _strip_dummy_space(spec["normalizer"])
    spec["pre_tokenizer"] = _strip_dummy_space(spec["pre_tokenizer"])
    copy = Tokenizer.from_str(json.dumps(spec))
    copy.no_padding()
    copy.no_truncation()
    return copy


def _strip_dummy_space(step: dict[str, Any] | None) -> dict[str, Any] | None:
    if step is None or step["type"] == "Prepend":
        return None
    for key in ("normalizers", "pretokenizers"):
        if key in step:
            kept = [_strip_dummy_space(part) for part in step[key]]
            step = {**step, key: [part for part in kept if part is not None]}
    if step["type"] == "Metaspace":
        step = {**step, "prepend_scheme": "never"}
    if step["type"] == "ByteLevel":
        step = {**step, "add_prefix_space": False}
    return step
