"""How results name the tokenisation of their texts."""

from collections.abc import Iterable

from notellm.text.patterns import patterns

_AND = " and "


def cut_by(analyzer: str, tokens: Iterable[str]) -> str:
    """A short name for what an analyzer has cut texts into.

    Args:
        analyzer: A name of `ANALYZERS`, or of another tokenizer.
        tokens: The tokens; punctuation does not matter.

    Returns:
        For ``"auto"`` what it has found: ``"words"``, ``"characters"``, both (``"words and characters"``), or
        ``"auto"`` if the texts have neither. For others their name.

    Example:
        >>> cut_by("auto", ["tea"]), cut_by("auto", ["tea", "\u8336"]), cut_by("characters", ["t"])
        ('words', 'words and characters', 'characters')
    """
    if analyzer != "auto":
        return analyzer
    kinds = set[str]()
    for token in tokens:
        if token.isascii():
            if "words" not in kinds and any(map(str.isalnum, token)):
                kinds.add("words")
        elif patterns().characters.search(token):
            kinds.add("characters" if patterns().without_spaces.match(token) else "words")
        if len(kinds) == 2:
            break
    return together(kinds or {analyzer})


def bleu_cut_by(analyzer: str, tokens: Iterable[str]) -> str:
    """The same for BLEU, whose words and punctuation are those of mteval-v13a.

    Example:
        >>> bleu_cut_by("auto", ["tea"]), bleu_cut_by("auto", ["\u8336"]), bleu_cut_by("characters", ["\u8336"])
        ('13a', '13a and characters', 'characters')
    """
    name = cut_by(analyzer, tokens)
    if analyzer == "auto":
        return "13a and characters" if "characters" in name else "13a"
    return "13a" if name == "words" else name


def together(names: Iterable[str]) -> str:
    """One name for the tokenisation of several texts.

    Example:
        >>> together(["words", "auto", "words and characters"])
        'words and characters'
    """
    parts = {part for name in names for part in name.split(_AND)}
    if len(parts) > 1:
        parts.discard("auto")  # a text with neither
    return _AND.join(sorted(parts, key=lambda part: (part == "characters", part)))
