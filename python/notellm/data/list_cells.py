"""Lists in one cell of a table without list columns: joined by ``|``, or as JSON and Python write them."""

import ast
import json
import re

__all__ = ["LOOKS_LIKE_A_LIST", "TOPIC_SEPARATOR", "list_cell", "split_cell"]

TOPIC_SEPARATOR = "|"
"""Joins the items of a cell."""

LOOKS_LIKE_A_LIST = r"^\s*(?:[\[({]|(?:array|deque|set|frozenset)\()"
"""How a cell begins that may be a list; `split_cell` decides."""

_CALL = re.compile(r"(array|deque|set|frozenset)\((.*?)(?:,\s*dtype=[^()]*)?\)", re.DOTALL)
"""How Python and NumPy write what is neither a list nor a tuple."""
_BRACKETS = {"[": "]", "(": ")", "{": "}"}
_ITEM = r"""\s*(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|None|null|nan|NaN)\s*"""
_LIST = re.compile(rf"[\[({{](?:{_ITEM}(?:,{_ITEM})*,?)?\s*[\])}}]", re.DOTALL)
_ITEMS = re.compile(_ITEM, re.DOTALL)


def split_cell(cell: str) -> list[str] | None:
    """The items of a cell; None if it is in square brackets but not a list of quoted texts.

    Example:
        >>> split_cell("tea|hot drink"), split_cell('["tea", "a|b"]'), split_cell("['tea']"), split_cell("")
        (['tea', 'hot drink'], ['tea', 'a|b'], ['tea'], [])
        >>> split_cell("['tea' 'mud']"), split_cell("(tea)"), split_cell("array(['tea'], dtype=object)")
        (None, ['(tea)'], ['tea'])
    """
    text = cell.strip()
    call = _CALL.fullmatch(text)
    if call and (call[2][:1] in _BRACKETS or not call[2]):
        text = call[2]
    if not text:
        return []
    if _BRACKETS.get(text[0]) == text[-1]:
        if _LIST.fullmatch(text):
            return [_unquoted(item.strip()) for item in _ITEMS.findall(text, 1, len(text) - 1)]
        if text[0] == "[":
            return None
    return cell.split(TOPIC_SEPARATOR)


def list_cell(items: list[str]) -> str:
    """A cell that `split_cell` reads as these items: joined if that is unambiguous, otherwise JSON."""
    joined = TOPIC_SEPARATOR.join(items)
    return joined if split_cell(joined) == items else json.dumps(items, ensure_ascii=False)


def _unquoted(item: str) -> str:
    if item[0] not in "\"'":
        return ""  # a null
    if item[0] == '"':
        try:
            return str(json.loads(item, strict=False))
        except ValueError:  # an escape that only Python has
            pass
    try:
        return str(ast.literal_eval(item))
    except (ValueError, SyntaxError):  # not an escape at all, as in a Windows path
        return item[1:-1]
