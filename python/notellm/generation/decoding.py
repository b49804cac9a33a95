"""How outputs are searched for or drawn, and the call that does it."""

from collections.abc import Sequence
from dataclasses import dataclass

from notellm import _core
from notellm.models.language_model import LanguageModel
from notellm.precision import compute_dtype
from notellm.progress import ProgressFn


@dataclass(frozen=True)
class Decoding:
    """How an output is found; by default the most probable token at every step (greedy).

    The options mean what they mean in ``transformers.generate``, where ``beams`` is ``num_beams`` and ``stop`` a part
    of ``eos_token_id``.

    Attributes:
        beams: Outputs followed at once; above 1: beam search.
        length_penalty: Beam search compares log p / length ^ ``length_penalty``.
        temperature: Above 0 (at least 1e-6): tokens are drawn, from logits divided by it.
        top_k: Tokens are drawn from so many most probable ones; 0: from all.
        top_p: Of those, from the fewest most probable ones whose probabilities sum up to at least it.
        repetition_penalty: Positive logits of tokens in prompt or output are divided by it, negative ones multiplied.
        seed: Of the draws. A draw is a function of the seed, the prompt and the place in the output: neither the batch
            nor the other notes change it, and equal prompts get equal outputs.
        stop: Tokens that end an output besides the model's own end: ids, or tokens as the tokenizer names them. Where
            only known values may be written, these end by themselves, and it does not count.
    """

    beams: int = 1
    length_penalty: float = 1.0
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int = 0
    stop: tuple[str | int, ...] = ()


GREEDY = Decoding()


def write(
    model: LanguageModel,
    tokenized: "_core.prompts.TokenizedNotes",
    rows: Sequence["_core.prompts.NotePrompt"],
    decoding: Decoding,
    *,
    max_new_tokens: int,
    dtype: str,
    batch_tokens: int,
    grammar: "_core.generation.OutputGrammar | None" = None,
    banned: Sequence[Sequence[int]] = (),
    progress: ProgressFn | None = None,
) -> list[str]:
    """The texts that a model writes after some prompts.

    Args:
        model: The model.
        tokenized: The notes.
        rows: What is asked of which note.
        decoding: How.
        max_new_tokens: Cut for an output that does not end by itself.
        dtype: Of the matrix products, see `notellm.resolve_dtype`: ``"auto"``, ``"fp32"``, ``"bf16"`` or ``"fp64"``.
        batch_tokens: Prompt and output tokens cached at once, shared ones counted once: bounds memory.
        grammar: What may be written; default: anything.
        banned: By row: numbers of the grammar's values that may not be written; or empty.
        progress: Called with (notes done, notes).

    Raises:
        ValueError: If an option is out of its range, a stop token or the dtype is unknown, or a prompt with its output
            is longer than the model's context.
    """
    options = _core.generation.DecodeOptions(
        search=_core.generation.SearchOptions(
            beams=decoding.beams,
            length_penalty=decoding.length_penalty,
            max_new_tokens=max_new_tokens,
            stop_tokens=_stop_tokens(model, decoding.stop),
        ),
        draw=_core.generation.DrawOptions(
            temperature=decoding.temperature,
            top_k=decoding.top_k,
            top_p=decoding.top_p,
            seed=decoding.seed,
        ),
        repetition_penalty=decoding.repetition_penalty,
        compute=compute_dtype(dtype, model.device),
        batch_tokens=batch_tokens,
    )
    outputs = _core.generation.generate(
        model.language_model(),
        model.prompt.core,
        tokenized,
        rows,
        options,
        grammar,
        banned,
        progress,
    )
    return model.tokenizer.decode_batch(outputs, skip_special_tokens=True)


def _stop_tokens(model: LanguageModel, stop: Sequence[str | int]) -> list[int]:
    if isinstance(stop, str):
        raise ValueError(f"Decoding: stop must be a list of tokens, but is a text; try stop=({stop!r},)")
    ids = []
    for token in stop:
        known = model.tokenizer.token_to_id(token) if isinstance(token, str) else token
        if known is None or not 0 <= known < model.model.config.vocabulary:
            raise ValueError(
                f"Decoding: stop tokens must be known to the tokenizer, but {token!r} is not; "
                "try an id or a name that tokenizer.get_vocab() lists"
            )
        ids.append(known)
    return ids
