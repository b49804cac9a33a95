"""A prompt configuration compiled for one tokenizer."""

import enum
from collections.abc import Sequence
from functools import partial
from itertools import takewhile
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from tokenizers import Tokenizer

from notellm._core import prompts as core
from notellm.errors import ConfigError
from notellm.hashtags import clean_hashtags
from notellm.progress import ProgressFn
from notellm.prompts.config import END_MARK, PromptConfig
from notellm.prompts.tokenizing import NoteTexts, PieceTokenizer, hashtag_rule, tokenize_notes

UNIFORM_LIMIT = 5
"""The most hashtags that ``hashtag_count: uniform`` asks for."""

_Enum = TypeVar("_Enum", bound=enum.Enum)


class Prompt:
    """A prompt configuration compiled for one tokenizer: tokenises notes and assembles batches.

    Every fixed piece and every slot value is tokenised separately and the ids are concatenated. No dummy space is
    added; the tokenizer's beginning-of-sequence token comes first if its own configuration adds one.

    Args:
        config: The strings and limits.
        tokenizer: The model's tokenizer, with the compression token added; it is copied, not changed.
        emb_token_id: The id of the compression token [EMB].
        eos_token_id: The token that must follow the output; from the model's configuration.
        bos_token_ids: Ids to put before every prompt, instead of those in the tokenizer's configuration.

    Raises:
        ValueError: If the tokenizer lacks the compression token.
        ConfigError: If a fixed piece has no tokens.

    Attributes:
        config: The configuration.
        emb_token_id: As given.
        eos_token_id: As given.
        bos_token_ids: The ids before every prompt; may be empty.
    """

    def __init__(
        self,
        config: PromptConfig,
        tokenizer: Tokenizer,
        emb_token_id: int,
        eos_token_id: int,
        *,
        bos_token_ids: Sequence[int] | None = None,
    ) -> None:
        self.config = config
        self.emb_token_id = emb_token_id
        self.eos_token_id = eos_token_id
        self.piece_tokenizer = PieceTokenizer(tokenizer)
        if not self.piece_tokenizer.has_token(emb_token_id):
            raise ValueError(
                f"Prompt: the tokenizer must have the compression token {emb_token_id}, but has "
                f"{self.piece_tokenizer.size()} tokens and not this one; try add_special_tokens(['[EMB]'])"
            )
        self.bos_token_ids = list(self.piece_tokenizer.bos() if bos_token_ids is None else bos_token_ids)
        self.core = core.PromptSet(
            category=self._compile("category"),
            hashtags=[self._compile("hashtags", count=j + 1) for j in range(config.max_hashtags)],
            bos=self.bos_token_ids,
            separator=self._text_ids(config.hashtag_separator),
            eos=eos_token_id,
            reads_emb=config.state == "at",
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles compile the configuration again."""
        again = partial(type(self), bos_token_ids=self.bos_token_ids)
        return again, (self.config, self.piece_tokenizer.tokenizer, self.emb_token_id, self.eos_token_id)

    def tokenize(self, notes: NoteTexts, *, progress: ProgressFn | None = None) -> core.TokenizedNotes:
        """Tokenises and truncates every field of every note, once for all prompts.

        Newlines in a value become spaces, and names of special tokens in it are plain text. Hashtags are
        limited and cut as configured, and repeated ones dropped; empty values have no tokens. Only the beginning of
        titles and contents is read, far enough that the tokens kept are those of the whole text: at first
        max(2048, 32 times the limit in tokens) characters, and never more than 2^20.

        Args:
            notes: N notes.
            progress: Called with (notes done, N).

        Returns:
            The N tokenised notes, in the same order.

        Raises:
            DataError: If a field is no Unicode text; names the note by its number.
        """
        return tokenize_notes(self.piece_tokenizer, self.config, notes, progress)

    def encode_values(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of texts as slot values, not truncated; for example of all categories."""
        return self.piece_tokenizer.encode_values(texts, self.config.slot_lead)

    def rows(
        self,
        tokenized: core.TokenizedNotes,
        notes: ArrayLike,
        *,
        task: str = "category",
        mode: str = "train",
        count: int = 1,
    ) -> list[core.NotePrompt]:
        """Makes the rows of a batch that ask the same of each of some notes.

        Args:
            tokenized: From :meth:`tokenize`.
            notes: Shape ``(n,)``; indices of notes.
            task: ``"category"`` or ``"hashtags"``.
            mode: As in :meth:`pack`.
            count: Hashtag task: how many are asked for. In mode ``"train"`` they are the note's first
                ``count`` (fewer if it has fewer); a training run draws them, see :meth:`sampler`. In the
                other modes the prompt shows none, and asks for ``count`` even if the note has fewer.

        Returns:
            One row for each note.

        Raises:
            ValueError: If the task or the mode is unknown.
            IndexError: If a note does not exist.
        """
        asked = _member(core.Task, "task", task)
        is_answered = (
            asked is core.Task.hashtags and _member(core.PackMode, "mode", mode) is core.PackMode.train
        )
        indices = np.atleast_1d(np.asarray(notes, dtype=np.int64))
        if not is_answered:
            return [core.NotePrompt(note, asked, count) for note in indices.tolist()]
        owned = np.diff(tokenized.hashtag_offsets)[indices]
        rows = []
        for note, tags in zip(indices.tolist(), owned.tolist(), strict=True):
            written = min(count, tags) if tags else count
            rows.append(core.NotePrompt(note, asked, written, range(min(written, tags))))
        return rows

    def pack(
        self,
        tokenized: core.TokenizedNotes,
        notes: ArrayLike,
        *,
        task: str = "category",
        mode: str = "train",
        count: int = 1,
    ) -> core.PackedBatch:
        """Assembles the prompts of some notes into one batch, in which common prefixes are laid out once.

        Args:
            tokenized: From :meth:`tokenize`.
            notes: Shape ``(n,)``; indices of notes.
            task: ``"category"`` or ``"hashtags"``.
            mode: ``"train"``: with output and labels; ``"embed"``: up to the token whose state is the
                embedding (the one before [EMB], or [EMB] itself); ``"generate"``: up to where the output begins.
            count: Hashtag task: how many hashtags are asked for, see :meth:`rows`.

        Returns:
            The batch; its fields are NumPy views of the core's memory. ``batch.path(i)`` gives the indices of the
            tokens of prompt ``i``, which it may share with others.

        Raises:
            ValueError: If the task or mode is unknown, the count is not in 1 ... ``max_hashtags``, or a note
                without hashtags has the hashtag task in mode ``"train"``.
            IndexError: If a note does not exist.
        """
        return self.pack_rows(
            tokenized, self.rows(tokenized, notes, task=task, mode=mode, count=count), mode=mode
        )

    def pack_rows(
        self, tokenized: core.TokenizedNotes, rows: Sequence[core.NotePrompt], *, mode: str = "train"
    ) -> core.PackedBatch:
        """Assembles planned rows into one batch, as :meth:`pack` does; rows may be any slice of a plan."""
        return core.pack(self.core, tokenized, rows, _member(core.PackMode, "mode", mode))

    def sampler(
        self,
        tokenized: core.TokenizedNotes,
        sources: ArrayLike,
        targets: ArrayLike,
        *,
        pairs_per_step: int,
        hashtag_ratio: float,
        seed: int = 0,
        negatives: tuple[ArrayLike, ArrayLike] | None = None,
        negatives_per_pair: int = 1,
    ) -> core.PairSampler:
        """Plans the batches of a training run; each depends only on the seed and the step.

        Args:
            tokenized: From :meth:`tokenize`.
            sources: Shape ``(P,)``; index of the first note of each pair.
            targets: Shape ``(P,)``; index of the second one.
            pairs_per_step: B, over all processes.
            hashtag_ratio: r; round(r 2B) notes of a batch take the hashtag task, if that many have hashtags.
            seed: Seed of every draw.
            negatives: Offsets ``(P + 1,)`` and indices of notes: the hard negatives of each pair, see
                `notellm.hard_negatives.HardNegatives`. Default: none.
            negatives_per_pair: How many of them a pair brings into its batch; fewer if it has fewer.

        Returns:
            A sampler: ``steps_per_epoch``, and ``plan(step)`` with ``note_ids`` (2B + H; rows 2b and 2b + 1 are
            pair b, the last H are negatives), ``prompts`` (the same rows for :meth:`pack_rows`), ``pairs`` (B),
            ``negative_offsets`` and ``hashtag_shortfall``.

        Raises:
            ValueError: If there are fewer pairs than one step takes, or an option is out of its range.
            IndexError: If a pair or a negative is a note that does not exist.
        """
        offsets, notes = negatives or ([], [])
        longest = self.config.max_hashtags
        is_uniform = self.config.hashtag_count == "uniform"
        return core.PairSampler(
            np.asarray(sources, dtype=np.int64),
            np.asarray(targets, dtype=np.int64),
            np.diff(tokenized.hashtag_offsets),
            pairs_per_step=pairs_per_step,
            hashtag_ratio=hashtag_ratio,
            seed=seed,
            count_policy=core.CountPolicy[self.config.hashtag_count],
            max_count=min(UNIFORM_LIMIT, longest) if is_uniform else longest,
            negative_offsets=np.asarray(offsets, dtype=np.int64),
            negatives=np.asarray(notes, dtype=np.int64),
            negatives_per_pair=negatives_per_pair,
        )

    def parse_category(self, output: str) -> str:
        """Reads a generated category: removes the text that follows the slot, and surrounding space."""
        return self._strip_tail(output, "category")

    def parse_hashtags(self, output: str, *, count: int = 1) -> list[str]:
        """Reads generated hashtags from one text with separators; cleans them like those that prompts show.

        Args:
            output: What was written.
            count: How many were asked for, which the text that follows the slot may say, too.
        """
        written = self._strip_tail(output, "hashtags", count=count)
        return clean_hashtags([written], hashtag_rule(self.config))

    def _strip_tail(self, output: str, task: str, *, count: int = 1) -> str:
        pieces = self.config.pieces(task, count=count)
        slot = next(i for i, (kind, _) in enumerate(pieces) if kind.name == task)
        following = (text for _, text in pieces[slot + 1 :])
        tail = "".join(takewhile(lambda text: text != END_MARK, following))  # there an output ends
        return output.strip().removesuffix(tail.strip()).strip()

    def _compile(self, task: str, *, count: int = 1) -> list[tuple[core.PieceKind, list[int]]]:
        return [(kind, self._fixed_ids(kind, text)) for kind, text in self.config.pieces(task, count=count)]

    def _fixed_ids(self, kind: core.PieceKind, text: str) -> list[int]:
        if kind is core.PieceKind.emb:
            return [self.emb_token_id]
        if kind is not core.PieceKind.text:
            return []
        if text == END_MARK:
            return [self.eos_token_id]
        return self._text_ids(text)

    def _text_ids(self, text: str) -> list[int]:
        ids = self.piece_tokenizer.encode_text(text)
        if not ids:
            raise ConfigError(f"prompt {self.config.name!r}: the tokenizer must have tokens for {text!r}")
        return ids


def _member(choices: type[_Enum], what: str, name: Any) -> _Enum:
    if name not in choices.__members__:
        raise ValueError(f"Prompt: {what} must be one of {', '.join(choices.__members__)}, but is {name!r}")
    return choices[name]
