"""The options of decoding, and the call that does it."""

from collections.abc import Sequence

from notellm import _core
from notellm._core.options import DecodingOptions
from notellm.language_model import ClosedSet, LanguageModel, WriteCall
from notellm.precision import Dtype, compute_dtype
from notellm.progress import ProgressFn


def write(
    model: LanguageModel,
    tokenized: "_core.prompts.TokenizedNotes",
    rows: Sequence["_core.prompts.NotePrompt"],
    decoding: DecodingOptions,
    *,
    seed: int,
    stop: Sequence[str | int],
    dtype: Dtype,
    closed: ClosedSet | None = None,
    banned: Sequence[Sequence[int]] = (),
    progress: ProgressFn | None = None,
) -> list[str]:
    """The texts that a model generates after some prompts.

    Args:
        model: The model.
        tokenized: The notes.
        rows: What to ask about which note.
        decoding: How outputs are found.
        seed: Seed of sampling. A draw depends only on the seed, the prompt and the place in the output, not on the
            batch or on other notes; equal prompts get equal outputs.
        stop: Tokens that end an output besides the model's own end token: ids, or tokens as the tokenizer names them.
            Not used with a closed set, whose values end by themselves.
        dtype: Of the matrix products, see `notellm.resolve_dtype`: ``"auto"``, ``"fp32"``, ``"bf16"`` or ``"fp64"``.
        closed: The allowed values; default: any text.
        banned: By row: indices of values that may not be written; or empty.
        progress: Called with (notes done, notes).

    Raises:
        ValueError: If an option is out of its range, a stop token or the dtype is unknown, or a prompt with its output
            is longer than the model's context.
    """
    how = WriteCall(
        decoding,
        closed,
        banned,
        seed,
        stop_tokens=list(dict.fromkeys([*model.end_tokens, *_stop_tokens(model, stop)])),
        compute=compute_dtype(dtype, model.device),
        progress=progress,
    )
    outputs = model.write_tokens(tokenized, rows, how)
    # in a known value a special token stands for what the tokenizer does not know
    return model.tokenizer.decode_batch(outputs, skip_special_tokens=closed is None)


def _stop_tokens(model: LanguageModel, stop: Sequence[str | int]) -> list[int]:
    if isinstance(stop, str):
        raise ValueError(f"generate: stop must be a list of tokens, but is a text; try stop=({stop!r},)")
    ids = []
    for token in stop:
        known = model.tokenizer.token_to_id(token) if isinstance(token, str) else token
        if known is None or not 0 <= known < model.vocabulary:
            raise ValueError(
                f"generate: stop tokens must be known to the tokenizer, but {token!r} is not; "
                "try an id or a name that tokenizer.get_vocab() lists"
            )
        ids.append(known)
    return ids
