"""Writes `python/notellm/_core/options.pyi` from the descriptions of the options in the core.

python tools/option_stubs.py            # prints it
python tools/option_stubs.py --write
"""

import sys
from pathlib import Path

from notellm._core import options

FILE = Path(__file__).parents[1] / "python/notellm/_core/options.pyi"
CLASSES = [name for name, value in vars(options).items() if hasattr(value, "to_dict")]
"""In the order in which they are bound: bases first."""

BELOW = "# Below: written by tools/option_stubs.py; `make format` does it anew."


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
    """The whole file: what stands above the mark stays."""
    above = FILE.read_text(encoding="utf-8").partition(BELOW)[0]
    return above + BELOW + "\n" + "\n".join(line for name in CLASSES for line in stub_of(name)) + "\n"


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        FILE.write_text(stubs(), encoding="utf-8")
    else:
        sys.stdout.write(stubs())
