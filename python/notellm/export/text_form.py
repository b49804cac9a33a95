"""A prompt for programs that know only strings: what stands before every text, and the tokens behind it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer, processors

from notellm.data.notes import Notes
from notellm.language_model import LanguageModel
from notellm.prompts import Prompt, PromptConfig
from notellm.prompts.config import END_MARK, SLOTS
from notellm.prompts.tokenizing import clean_hashtags, clean_value, plain_tokenizer

NOTE_SLOTS = ("<title>", "<topics>", "<content>")

_BYTES_PER_CHARACTER = 4
"""The most of UTF-8, and so the most tokens of a character: where a tokenizer has none for it, each byte is one."""


@dataclass(frozen=True)
class TextForm:
    """The embedding prompt, cut at its first and behind its last slot.

    A program that puts ``beginning`` before a text, tokenises both, and puts ``end`` behind the tokens, has nearly the
    tokens of the prompt: fields are not cut one by one, and tokens may merge where a field meets the prompt.
    """

    beginning: str
    """What stands before every text."""
    middle: tuple[str, ...]
    """What a text consists of: slots, and the pieces between them."""
    end: tuple[int, ...]
    """The ids behind every text, tokenised piece by piece."""
    end_text: str
    """The same as text, for programs that cannot be given ids."""
    most_tokens: int
    """As many as the longest note's that the prompt's limits allow; so texts within them are not cut."""

    def source(self, config: PromptConfig) -> str:
        """A Python function that makes the text of a note; it needs no package."""
        values = {
            "<title>": f"(f{_braced(config.slot_lead, 'title')} if title else '')",
            "<content>": f"(f{_braced(config.slot_lead, 'content')} if content else '')",
            "<topics>": f"{config.hashtag_separator!r}.join(f{_braced(config.slot_lead, 'topic')} for topic in topics)",
        }
        parts = [values.get(piece, repr(piece)) for piece in self.middle]
        body = "\n".join(f"        {part}," for part in parts)
        return f"def as_text(title, topics, content):\n    return ''.join([\n{body}\n    ])"


def text_form(prompt: Prompt) -> TextForm:
    """The embedding prompt of a model as a beginning and an end.

    Args:
        prompt: ``model.prompt``.
    """
    config, tokenizer = prompt.config, prompt.piece_tokenizer
    pieces = config.category[: config.category.index("<emb>")]
    slots = [place for place, piece in enumerate(pieces) if piece in NOTE_SLOTS]
    first, last = slots[0], slots[-1]
    eos = tokenizer.token_text(prompt.eos_token_id)
    ends = [eos if piece == END_MARK else piece for piece in pieces[last + 1 :]]
    end = [_ids(prompt, piece) for piece in pieces[last + 1 :]]
    if config.state == "at":
        ends.append(tokenizer.token_text(prompt.emb_token_id))
        end.append([prompt.emb_token_id])
    fixed = [_ids(prompt, piece) for piece in pieces if piece not in SLOTS]
    around_hashtag = len(f"{config.slot_lead}{config.hashtag_separator}".encode())
    of_hashtag = around_hashtag + _BYTES_PER_CHARACTER * config.max_hashtag_chars
    longest = {
        "<title>": config.title_tokens,
        "<content>": config.content_tokens,
        "<topics>": config.max_hashtags * of_hashtag,
    }
    most = len(prompt.bos_token_ids) + sum(map(len, fixed)) + (config.state == "at")
    return TextForm(
        beginning="".join(eos if piece == END_MARK else piece for piece in pieces[:first]),
        middle=tuple(eos if piece == END_MARK else piece for piece in pieces[first : last + 1]),
        end=tuple(token for ids in end for token in ids),
        end_text="".join(ends),
        most_tokens=most + sum(longest[pieces[place]] for place in slots),
    )


def note_texts(model: LanguageModel, notes: Notes) -> list[str]:
    """What stands between the beginning and the end of each note's embedding prompt; no field is cut.

    Args:
        model: Its prompt says how.
        notes: N notes.

    Returns:
        N texts, in the form that a model exported with ``takes="text"`` reads.
    """
    form, config = text_form(model.prompt), model.prompt.config
    fields = zip(notes.titles, notes.topics, notes.contents, strict=True)
    return ["".join(_filled(form, config, *field)) for field in fields]


def text_tokenizer(prompt: Prompt, tokenizer: Tokenizer) -> Tokenizer:
    """A tokenizer that puts the prompt's end behind every text, after truncation; before it what ours puts there."""
    copy = plain_tokenizer(tokenizer)
    begin, end = list(prompt.bos_token_ids), list(text_form(prompt).end)
    special: list[dict[str, Any]] = [
        {"id": name, "ids": ids, "tokens": [copy.id_to_token(token) for token in ids]}
        for name, ids in (("begin", begin), ("end", end))
        if ids
    ]
    template = [entry["id"] for entry in special]
    template.insert(1 if begin else 0, "$A")
    copy.post_processor = processors.TemplateProcessing(single=" ".join(template), special_tokens=special)
    return copy


def _ids(prompt: Prompt, piece: str) -> list[int]:
    return [prompt.eos_token_id] if piece == END_MARK else prompt.piece_tokenizer.encode_text(piece)


def _filled(
    form: TextForm, config: PromptConfig, title: str, topics: list[str], content: str
) -> Iterator[str]:
    tags = [config.slot_lead + tag for tag in clean_hashtags(topics, config)]
    values = {"<topics>": config.hashtag_separator.join(tags)}
    for slot, value in (("<title>", clean_value(title)), ("<content>", clean_value(content))):
        values[slot] = config.slot_lead + value if value else ""
    return (values.get(piece, piece) for piece in form.middle)


def _braced(lead: str, name: str) -> str:
    """A literal for an f-string: the lead, and a name in braces."""
    return repr(lead.replace("{", "{{").replace("}", "}}") + "{" + name + "}")
