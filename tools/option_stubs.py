"""Writes `python/notellm/_core/options.pyi` from the descriptions of the options in the core.

python tools/option_stubs.py            # prints it
python tools/option_stubs.py --write
"""

import sys
from pathlib import Path

from notellm._core import options

FILE = Path(__file__).parents[1] / "python/notellm/_core/options.pyi"
CLASSES = ("MiningOptions", "EmbedOptions", "DecodingOptions", "GenerationOptions")

HEAD = '''"""Written by tools/option_stubs.py: `make format` does it anew."""

from collections.abc import Sequence
from typing import Any, Self, TypedDict

Value = bool | int | float | str | Sequence[str] | Sequence[int]

class Option:
    def __init__(
        self,
        name: str,
        standard: Value,
        meaning: str,
        *,
        low: float | None = None,
        high: float | None = None,
        excludes_low: bool = False,
        excludes_high: bool = False,
        choices: Sequence[str] = ...,
        must_not_be_empty: bool = False,
        unit: str = "",
        decides_cost: bool = False,
    ) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def standard(self) -> Any: ...
    @property
    def meaning(self) -> str: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def excludes_low(self) -> bool: ...
    @property
    def excludes_high(self) -> bool: ...
    @property
    def choices(self) -> list[str]: ...
    @property
    def must_not_be_empty(self) -> bool: ...
    @property
    def unit(self) -> str: ...
    @property
    def decides_cost(self) -> bool: ...

class OptionGroup:
    def __init__(self, name: str, meaning: str, options: Sequence[Option]) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def meaning(self) -> str: ...
    @property
    def options(self) -> list[Option]: ...

def core_groups() -> list[OptionGroup]: ...
def check(
    values: dict[str, Any], groups: Sequence[OptionGroup], *, name: str = "", fills_in: bool = False
) -> dict[str, Any]: ...
def read_yaml(text: str, groups: Sequence[OptionGroup], *, name: str = "") -> dict[str, Any]: ...
def to_yaml(values: dict[str, Any], groups: Sequence[OptionGroup]) -> str: ...
def keys_of(groups: Sequence[OptionGroup]) -> list[str]: ...
def unknown_key(groups: Sequence[OptionGroup], key: str) -> str: ...
'''


def stub_of(name: str) -> list[str]:
    """The lines of one class, and of its options as keyword arguments."""
    cls = getattr(options, name)
    types = {option: (type(value).__name__, value) for option, value in cls().to_dict().items()}
    base = cls.__mro__[1].__name__
    lines = [f"class {name}{f'({base})' if base in CLASSES else ''}:", "    def __init__("]
    lines += ["        self,", "        *,"]
    lines += [
        f"        {option}: {kind} = {value!r},".replace("'", '"') for option, (kind, value) in types.items()
    ]
    lines += ["    ) -> None: ..."]
    for option, (kind, _) in types.items():
        lines += ["    @property", f"    def {option}(self) -> {kind}: ..."]
    lines += [
        "    def to_dict(self) -> dict[str, Any]: ...",
        "    def replace(self, **changes: Any) -> Self: ...",
    ]
    lines += ["", f"class {name.replace('Options', 'Keywords')}(TypedDict, total=False):"]
    lines += [f"    {option}: {kind}" for option, (kind, _) in types.items()]
    return ["", *lines]


def stubs() -> str:
    """The whole file."""
    return HEAD + "\n".join(line for name in CLASSES for line in stub_of(name)) + "\n"


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        FILE.write_text(stubs(), encoding="utf-8")
    else:
        sys.stdout.write(stubs())
