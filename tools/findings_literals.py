"""Numbers of a template that no record gives: each must be declared, with its reason, and none can be typed by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator

from jinja2 import Environment, nodes

NAMES = (
    r"```.*?```",  # code
    r"`[^`]*`",
    r"\]\([^)]*\)",  # where links lead
    r"<!--.*?-->",
    r"\b[Rr](?:ecall)?@\d+",
    r"\bTables?\s+\d(?:\s+(?:to|and)\s+\d)?",
    r"\b(?:BM25|ROUGE-[12L]|int8|fp32|bf16|all-MiniLM-L6-v2)\b",
)
"""Digits in these are no numbers of the prose."""

WORDS = r"two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|hundred|thousand|million|billion"
NUMBER = re.compile(rf"\d[\d.,]*|\b(?:{WORDS})s?\b", re.IGNORECASE)
GAP = "\0"
"""Stands for what a record gives."""


def typed_numbers(environment: Environment, source: str) -> Iterator[str]:
    """Numbers that stand in a template as they are, each with the words around it.

    Args:
        environment: Whose syntax the template has.
        source: The template.
    """
    text = "".join(value if kind == "data" else GAP for _, kind, value in environment.lex(source))
    text = _without_names(re.sub(f"{GAP}+", GAP, text))
    for found in NUMBER.finditer(text):
        around = text[max(0, found.start() - 25) : found.end() + 25]
        yield " ".join(around.replace(GAP, "{}").split())
    for output in environment.parse(source).find_all((nodes.Output, nodes.Assign)):
        yield from _constants(output)


def declared_numbers(environment: Environment, source: str) -> list[tuple[str, str]]:
    """Numbers with their reasons, from ``literal("NUMBER", "REASON")``."""
    found = []
    for call in environment.parse(source).find_all(nodes.Call):
        if isinstance(call.node, nodes.Name) and call.node.name == "literal":
            number, reason = (argument.as_const() for argument in call.args)
            found.append((number, reason))
    return found


def _without_names(text: str) -> str:
    for name in NAMES:
        text = re.sub(name, lambda found: " " * len(found[0]), text, flags=re.DOTALL)
    return text


def _constants(node: nodes.Node) -> Iterator[str]:
    """Numbers in expressions, outside of what is asked of the records: as in ``{{ 74.4 }}`` or ``{{ "74.4" }}``."""
    if isinstance(node, nodes.Call | nodes.TemplateData):
        return
    if isinstance(node, nodes.Const) and NUMBER.search(_without_names(str(node.value))):
        yield f"{{{{ {node.value} }}}}"
    for name, child in node.iter_fields():
        if isinstance(node, nodes.Getitem) and name == "arg":
            continue  # which one of several
        for one in child if isinstance(child, list) else [child]:
            if isinstance(one, nodes.Node):
                yield from _constants(one)
