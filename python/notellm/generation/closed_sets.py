"""The values of a closed set as tokens, refused by their names: the core knows their numbers only."""

from collections.abc import Sequence

from notellm import _core
from notellm.language_model import LanguageModel
from notellm.prompts.tokenizing import token_lists

__all__ = ["tokens_of_values"]


def tokens_of_values(
    model: LanguageModel, values: Sequence[str], where: str, what: str
) -> tuple[list[list[int]], "_core.prompts.TokenLists"]:
    """The tokens of the values that may be written.

    Args:
        model: Whose prompt and tokenizer are used.
        values: The values.
        where: The function, for messages.
        what: What the values are, in the plural.

    Returns:
        The tokens of each value, as lists and as the core takes them.

    Raises:
        ValueError: If there is no value, one has no token, or two have the same tokens; names them.
    """
    if not len(values):
        raise ValueError(f"{where}: there must be {what} to choose from, but there are none")
    ids = model.prompt.encode_values(list(values))
    first: dict[tuple[int, ...], int] = {}
    for number, own in enumerate(ids):
        value, earlier = values[number], first.setdefault(tuple(own), number)
        if not own:
            raise ValueError(f"{where}: {what} must have text, but number {number + 1} is {value!r}")
        if earlier != number and values[earlier] == value:
            raise ValueError(f"{where}: {what} must be given once each, but {value!r} is given twice")
        if earlier != number:
            raise ValueError(
                f"{where}: {what} must differ for the tokenizer, but {values[earlier]!r} and {value!r} have the same "
                "tokens"
            )
    return ids, token_lists(ids)
