"""HTML by functions: what is not marked as HTML is escaped, so no note can break the page."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape


class Html(str):
    """Text that is HTML already and goes into the page as it is."""

    __slots__ = ()


Content = str | Html | Iterable["str | Html"] | None
VOID = {"br", "meta"}


def el(tag: str, *content: Content, **attributes: str | None) -> Html:
    """One element; plain strings inside and attribute values are escaped.

    Args:
        tag: Element name.
        *content: Strings, elements, iterables of them; ``None`` is left out.
        **attributes: ``class_`` is written ``class``, other underscores become hyphens, ``None`` is left out.

    Returns:
        The element as HTML.

    Example:
        >>> el("p", "1 < 2", el("b", "!"), class_="note")
        '<p class="note">1 &lt; 2<b>!</b></p>'
    """
    names = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
    opening = "".join(f' {name}="{escape(value)}"' for name, value in names.items() if value is not None)
    if tag in VOID:
        return Html(f"<{tag}{opening}>")
    return Html(f"<{tag}{opening}>{join(*content)}</{tag}>")


def join(*content: Content) -> Html:
    """Content one after the other, escaped where it is not HTML.

    Example:
        >>> join("a & b", None, [Html("<br>"), "c"])
        'a &amp; b<br>c'
    """
    return Html("".join(_one(part) for part in content))


def _one(part: Content) -> str:
    if part is None:
        return ""
    if isinstance(part, Html):
        return part
    if isinstance(part, str):
        return escape(part, quote=False)
    return join(*part)
