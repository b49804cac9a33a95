"""What a prompt looks like to the model: its pieces, tokens, compressed position and labels."""

from dataclasses import dataclass

from notellm._core.prompts import NotePrompt, PackedBatch, PieceKind, TokenizedNotes, piece_spans
from notellm.prompts.prompt import Prompt


@dataclass(frozen=True)
class ExplainedPiece:
    """One piece of a prompt.

    Attributes:
        name: ``"bos"``, ``"text"``, or the slot as it is written in the prompt file, such as ``"<title>"``.
        text: The text of the piece; for a slot, the value after truncation.
        begin: Index of its first token.
        end: One past its last token; equal to ``begin`` if the value is empty.
    """

    name: str
    text: str
    begin: int
    end: int


@dataclass(frozen=True)
class ExplainedToken:
    """One token of a prompt.

    Attributes:
        id: Id in the vocabulary.
        text: The decoded text; the vocabulary's spelling if the token is only a part of a character.
        is_shared: Whether it comes before the first slot, so that all notes of a batch share it.
        is_compression: Whether its state is the note's embedding.
        label: The token that its state must predict; None if it takes no part in the loss.
        label_text: The text of the label.
    """

    id: int
    text: str
    is_shared: bool
    is_compression: bool
    label: int | None
    label_text: str | None


@dataclass(frozen=True)
class PromptExplanation:
    """One note's training prompt, piece by piece and token by token.

    Attributes:
        task: ``"category"`` or ``"hashtags"``.
        count: How many hashtags are asked for; 0 in the category task.
        text: The whole prompt, decoded, without EOS.
        pieces: In order; together they cover the tokens.
        tokens: In order.
        shared: This many first tokens are the same for every note, so they are computed once in a batch. Notes
            with a longer common prefix share more.
        compression: Index of the token whose state is the embedding.
    """

    task: str
    count: int
    text: str
    pieces: tuple[ExplainedPiece, ...]
    tokens: tuple[ExplainedToken, ...]
    shared: int
    compression: int


def explain_prompt(
    prompt: Prompt,
    tokenized: TokenizedNotes,
    note: int,
    *,
    task: str = "category",
    count: int = 1,
    row: NotePrompt | None = None,
) -> PromptExplanation:
    """Explains the training prompt of one note, as the core lays it out.

    Args:
        prompt: The compiled prompt.
        tokenized: From :meth:`Prompt.tokenize`.
        note: Index of the note.
        task: ``"category"`` or ``"hashtags"``.
        count: Hashtag task: how many hashtags are asked for and written; they are the note's first ones.
        row: A row of a batch plan to explain instead of ``note``, ``task`` and ``count``.

    Returns:
        Pieces, tokens, the compressed position and the labels.

    Raises:
        ValueError: If the task is unknown, or the note has no hashtags to write.
        IndexError: If the note does not exist.
    """
    row = row or prompt.rows(tokenized, note, task=task, count=count)[0]
    batch = prompt.pack_rows(tokenized, [row])
    return PromptExplanation(
        task=row.task.name,
        count=row.count if row.task.name == "hashtags" else 0,
        text=prompt.piece_tokenizer.decode(batch.tokens.tolist()),
        pieces=_explain_pieces(prompt, tokenized, row, batch),
        tokens=_explain_tokens(prompt, batch),
        shared=int(batch.root_tokens[0]),
        compression=int(batch.compression[0]),
    )


def _explain_pieces(
    prompt: Prompt, tokenized: TokenizedNotes, row: NotePrompt, batch: PackedBatch
) -> tuple[ExplainedPiece, ...]:
    kinds = [kind for kind, _ in prompt.config.pieces(row.task.name)]
    pieces = []
    for piece, begin, end in piece_spans(prompt.core, tokenized, row):
        kind = PieceKind.text if piece < 0 else kinds[piece]
        name = "bos" if piece < 0 else "text" if kind is PieceKind.text else f"<{kind.name}>"
        text = prompt.piece_tokenizer.decode(batch.tokens[begin:end].tolist())
        pieces.append(ExplainedPiece(name, text, begin, end))
    return tuple(pieces)


def _explain_tokens(prompt: Prompt, batch: PackedBatch) -> tuple[ExplainedToken, ...]:
    labels = dict(zip(batch.label_positions.tolist(), batch.labels.tolist(), strict=True))
    text_of = prompt.piece_tokenizer.token_text
    tokens = []
    for position, token in enumerate(batch.tokens.tolist()):
        label = labels.get(position)
        tokens.append(
            ExplainedToken(
                id=token,
                text=text_of(token),
                is_shared=bool(position < batch.root_tokens[0]),
                is_compression=position == batch.compression[0],
                label=label,
                label_text=None if label is None else text_of(label),
            )
        )
    return tuple(tokens)
