"""Values of a JSON tree that know their place, so that an error can name it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from notellm.errors import DataError


@dataclass(frozen=True)
class Node:
    """A value and its place, such as ``evaluation.json: systems[0].recall``."""

    value: Any
    where: str

    def at(self, key: str) -> Node:
        """The entry of a key that must exist."""
        if not isinstance(self.value, Mapping):
            raise DataError(f"{self.where}: must be an object with {key!r}, but is {shortened(self.value)}")
        if key not in self.value:
            raise DataError(
                f"{self.where}: must hold {key!r}, but holds {', '.join(self.value) or 'nothing'}"
            )
        separator = "." if ": " in self.where else ": "
        return Node(self.value[key], f"{self.where}{separator}{key}")

    def maybe(self, key: str) -> Node | None:
        """The entry of a key, or ``None`` if it is absent or null."""
        present = isinstance(self.value, Mapping) and self.value.get(key) is not None
        return self.at(key) if present else None

    def items(self) -> list[Node]:
        """The members of a list."""
        if not isinstance(self.value, list):
            raise DataError(f"{self.where}: must be a list, but is {shortened(self.value)}")
        return [Node(member, f"{self.where}[{number}]") for number, member in enumerate(self.value)]

    def texts(self, key: str) -> list[str]:
        """The strings of the list at a key; none if it is absent."""
        return [node.as_text() for node in self.list(key)]

    def list(self, key: str) -> list[Node]:
        """The members of the list at a key; none if it is absent."""
        node = self.maybe(key)
        return [] if node is None else node.items()

    def entries(self, key: str) -> dict[str, Node]:
        """The entries of the object at a key; none if it is absent."""
        node = self.maybe(key)
        if node is None:
            return {}
        if not isinstance(node.value, Mapping):
            raise DataError(f"{node.where}: must be an object, but is {shortened(node.value)}")
        for name in node.value:
            if not isinstance(name, str):  # YAML has keys of other types
                raise DataError(f"{node.where}: must have strings as keys, but has {shortened(name)}")
        return {name: node.at(name) for name in node.value}

    def number(self) -> float:
        """The value as a finite number; true and false are none."""
        is_number = isinstance(self.value, int | float) and not isinstance(self.value, bool)
        if not is_number or not abs(self.value) <= sys.float_info.max:
            raise DataError(f"{self.where}: must be a number, but is {shortened(self.value)}")
        return float(self.value)

    def whole(self) -> int:
        """The value as a whole number of at most 64 bits."""
        if not self.number().is_integer() or abs(self.value) >= 2**63:
            raise DataError(f"{self.where}: must be a whole number, but is {shortened(self.value)}")
        return int(self.value)

    def count(self, key: str) -> int:
        """The whole number at a key."""
        return self.at(key).whole()

    def as_text(self) -> str:
        """The value as a string."""
        if not isinstance(self.value, str):
            raise DataError(f"{self.where}: must be a string, but is {shortened(self.value)}")
        return self.value

    def text(self, key: str, default: str | None = None) -> str:
        """The string at a key."""
        node = self.at(key) if default is None else self.maybe(key)
        return (default or "") if node is None else node.as_text()


def shortened(value: object) -> str:
    """A value for a message, cut to at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
