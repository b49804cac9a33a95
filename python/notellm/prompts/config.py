"""The strings and limits of a prompt, as written in a YAML file."""

import difflib
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from notellm._core.prompts import PieceKind, Task, check_pieces
from notellm.errors import ConfigError
from notellm.io.home import expanded
from notellm.options import Options, made, option, read_options

SLOTS = {f"<{kind.name}>": kind for kind in PieceKind if kind is not PieceKind.text}
"""The spelling of slots and of the compression token in a list of pieces."""

COUNT_MARK = "<j>"
"""Inside a piece of the hashtag prompt, it is replaced by the number of hashtags asked for."""

END_MARK = "<eos>"
"""A piece that stands for the model's end token, for prompts that read the embedding at that token."""

_PACKAGED = Path(__file__).parents[1] / "conf" / "prompt"
_LOOKS_LIKE_A_SLOT = re.compile(r"<[a-z_]+>")


class PromptConfig(Options):
    """The compression prompt: fixed pieces and slots, each tokenised alone.

    In ``category`` and ``hashtags`` each string is one piece. A string that is exactly ``<title>``,
    ``<topics>``, ``<content>``, ``<category>`` or ``<hashtags>`` is a slot, ``<emb>`` is the compression
    token, and ``<j>`` inside a piece of the hashtag prompt is replaced by the number of hashtags asked for.

    Raises:
        ConfigError: If a value is out of its range or a list of pieces is not a valid prompt; names the key.
    """

    name: str = option("Named in every result that used the prompt.", default="", not_empty=True)
    slot_lead: str = option(
        "Put before every slot value, and every hashtag, before it is tokenised; an empty value stays empty.",
        default=" ",
    )
    title_tokens: int = option("Titles are cut to so many tokens.", default=20, at_least=1, unit="tokens")
    content_tokens: int = option("Contents are cut to so many tokens.", default=80, at_least=1, unit="tokens")
    max_hashtags: int = option(
        "A note keeps its first so many hashtags; also the most that can be asked for.",
        default=10,
        at_least=1,
        at_most=1000,
        unit="hashtags",
    )
    max_hashtag_chars: int = option(
        "Each hashtag is cut to so many characters.", default=16, at_least=1, unit="characters"
    )
    hashtag_separator: str = option("The fixed piece between two hashtags.", default=",", not_empty=True)
    hashtag_count: str = option(
        "How many hashtags training asks for: one, 1 to 5 with equal odds, or all; never more than the note has.",
        default="uniform",
        choices=("one", "uniform", "all"),
    )
    topics_in_hashtag_prompt: str = option(
        "Whether the hashtag prompt has <topics>: none; or those hashtags that are not to be written (unsampled), none "
        "at all when hashtags are generated.",
        default="none",
        choices=("none", "unsampled"),
    )
    state: str = option(
        "Whose state is the embedding: that of the token before [EMB] (the paper), or of [EMB] itself, whose row in "
        "the token table is learned.",
        default="before",
        choices=("before", "at"),
    )
    category: tuple[str, ...] = option("The pieces of the category prompt.", default=())
    hashtags: tuple[str, ...] = option("The pieces of the hashtag prompt.", default=())

    def mismatch(self) -> str:
        """The first reason why the pieces are not a valid prompt."""
        problem = next(_problems(self), "")
        return f"prompt {self.name!r}: {problem}" if problem else ""

    def pieces(self, task: str, *, count: int = 1) -> list[tuple[PieceKind, str]]:
        """The pieces of one prompt.

        Args:
            task: ``"category"`` or ``"hashtags"``.
            count: The number that replaces ``<j>``.

        Returns:
            Kind and text of each piece; the text of a slot is its spelling in the file.

        Raises:
            ValueError: If the task is unknown.

        Example:
            >>> load_prompt("paper").pieces("hashtags", count=3)[9]
            (<PieceKind.text: 0>, ' The 3 topics are:')
        """
        forms = {"category": self.category, "hashtags": self.hashtags}
        if task not in forms:
            raise ValueError(f"prompt: task must be one of {', '.join(forms)}, but is {task!r}")
        pieces = forms[task]
        return [(SLOTS.get(piece, PieceKind.text), piece.replace(COUNT_MARK, str(count))) for piece in pieces]


def prompt_names() -> list[str]:
    """The prompts that come with the package.

    Example:
        >>> prompt_names()
        ['bare', 'paper', 'release_zh', 'repllama']
    """
    return sorted(path.stem for path in _PACKAGED.glob("*.yaml"))


def load_prompt(name_or_path: str | Path) -> PromptConfig:
    """Reads a prompt configuration.

    Args:
        name_or_path: One of :func:`prompt_names`, or the path of a YAML file of the same form.

    Returns:
        The configuration.

    Raises:
        ConfigError: If there is no such prompt, or the file is not a valid configuration; names file and key.

    Example:
        >>> load_prompt("paper").title_tokens
        20
    """
    path = expanded(name_or_path)
    if not path.suffix:
        path = _PACKAGED / f"{name_or_path}.yaml"
    if not path.is_file():
        known = prompt_names()
        raise ConfigError(
            f"load_prompt: there must be a prompt or a YAML file {str(name_or_path)!r}, but there is none"
            f"{_nearest(str(name_or_path), known)}; the prompts of the package are {', '.join(known)}"
        )
    config: PromptConfig = made(
        PromptConfig, read_options(path, [PromptConfig.GROUP], fills_in=True), str(path)
    )
    return config


def _nearest(name: str, known: Collection[str]) -> str:
    matches = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def _problems(config: PromptConfig) -> Iterator[str]:
    yield from _piece_problems("category", config.category)
    yield from _piece_problems("hashtags", config.hashtags)
    yield from _topics_problems(config)


def _piece_problems(key: str, pieces: tuple[str, ...]) -> Iterator[str]:
    for piece in pieces:
        if piece in SLOTS:
            continue
        if not piece:
            yield f"{key}: a piece must have at least one character, but one is empty"
        if _LOOKS_LIKE_A_SLOT.fullmatch(piece) and piece not in (COUNT_MARK, END_MARK):
            yield f"{key}: there is no slot {piece}{_nearest(piece, SLOTS)}"
        for slot in (*SLOTS, END_MARK):
            if slot in piece and slot != piece:
                yield f"{key}: {slot} must be a piece of its own, but is inside {piece!r}"
        if key == "category" and COUNT_MARK in piece:
            yield f"{key}: {COUNT_MARK} belongs to the hashtag prompt, but is inside {piece!r}"
    try:
        check_pieces([SLOTS.get(piece, PieceKind.text) for piece in pieces], Task[key])
    except ConfigError as error:
        yield f"{key}: {str(error).removeprefix('prompt: ')}"


def _topics_problems(config: PromptConfig) -> Iterator[str]:
    shows_topics = "<topics>" in config.hashtags
    if shows_topics and config.topics_in_hashtag_prompt == "none":
        yield (
            "hashtags: <topics> must not be there with topics_in_hashtag_prompt 'none', but is; "
            "try 'unsampled'"
        )
    if not shows_topics and config.topics_in_hashtag_prompt == "unsampled":
        yield "hashtags: <topics> must be there with topics_in_hashtag_prompt 'unsampled', but is not"
