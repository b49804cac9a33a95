"""Figures from records, and how they are written: ranges of rounds, the strongest baseline, a link to the record."""

import json
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

Record = Mapping[str, Any]
SETS = ["avx512_bf16", "avx512", "avx2", "none"]
NAMES = {
    "transformers": "transformers",
    "transformers_prefix": "transformers, instruction kept",
    "torch_compile_prefix": "torch.compile, instruction kept",
    "sentence_transformers": "sentence-transformers",
    "openvino_prefix": "OpenVINO, instruction kept",
    "openvino_prefix_int8": "OpenVINO int8, instruction kept",
    "labels_only": "logits at labels alone",
    "linear_cross_entropy": "linear_cross_entropy",
    "all_positions": "logits of all positions",
    "plain_torch": "plain torch",
    "ctranslate2_fp32": "CTranslate2",
    "ctranslate2_int8": "CTranslate2 int8",
    "1_process": "one process",
}
NOT_BASELINES = ("notellm", "bare_products")


class Records:
    """The records of a folder that may be shown: not those made beside other work.

    Args:
        folder: Of ``NAME.INSTRUCTION_SET.json`` files.
        link: What stands before a file's name in a link.
    """

    def __init__(self, folder: Path, link: str = "benchmarks/results/") -> None:
        self.folder, self.link = folder, link

    def get(self, name: str, instruction_set: str) -> Record | None:
        """A record, if it is there and quiet; older ones did not watch, and may be shown."""
        return self._read(f"{name}.{instruction_set}.json")

    def alone(self, name: str) -> Record | None:
        """A record of what no instruction set decides, likewise."""
        return self._read(f"{name}.json")

    def _read(self, file: str) -> Record | None:
        path = self.folder / file
        if not path.is_file():
            return None
        record: Record = json.loads(path.read_text())
        return record if record.get("quiet", True) else None

    def of_all_sets(self, name: str) -> dict[str, Record]:
        """Those of one benchmark by instruction set, the widest first."""
        found = {one: self.get(name, one) for one in SETS}
        return {one: record for one, record in found.items() if record is not None}

    def sets(self, names: Iterable[str]) -> list[str]:
        """The instruction sets for which any of these benchmarks has a record."""
        listed = list(names)
        return [one for one in SETS if any(self.get(name, one) for name in listed)]

    def linked(self, name: str, instruction_set: str) -> str:
        """A link to a record."""
        return self.linked_alone(f"{name}.{instruction_set}")

    def linked_alone(self, name: str) -> str:
        """A link to a record of what no instruction set decides."""
        return f"[record]({self.link}{name}.json)"


class Comparison(NamedTuple):
    """Ours beside the strongest of some baselines."""

    ours: float
    """Median seconds."""
    theirs: float
    """Median seconds of the baseline."""
    baseline: str
    """Its key in the record."""
    low: float
    """The smallest of the rounds' ratios, theirs to ours."""
    high: float
    """The largest."""


def compare(rounds: Mapping[str, list[float]], only: Iterable[str] | None = None) -> Comparison | None:
    """Ours against the baseline with the smallest median, of these or of all in their precision (no int8).

    None where a record has none of them.
    """
    keys = [key for key in rounds if key not in NOT_BASELINES and not key.endswith("int8")]
    keys = [key for key in only if key in rounds] if only is not None else keys
    if not keys:
        return None
    ours = rounds["notellm"]
    best = min(keys, key=lambda key: median(rounds[key]))
    ratios = [theirs / own for theirs, own in zip(rounds[best], ours, strict=True)]
    return Comparison(median(ours), median(rounds[best]), best, min(ratios), max(ratios))


def times(low: float, high: float) -> str:
    """Such as ``1.5 to 1.6 x``."""
    first, last = (f"{one:.2f}" for one in (low, high))
    return f"{first} x" if first == last else f"{first} to {last} x"


def number(value: float) -> str:
    """Three digits, or all before the point."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 1:
        return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
    return f"{value:.3g}"


def rate(rounds: Mapping[str, list[float]], items: float, only: Iterable[str] | None = None) -> str:
    """Items a second of ours and of the strongest baseline, who that is, and the ratio's range."""
    found = compare(rounds, only)
    if found is None:
        return ""
    ours, theirs = number(items / found.ours), number(items / found.theirs)
    return f"{ours} against {theirs} ({NAMES[found.baseline]}): **{times(found.low, found.high)}**"


def duration(rounds: Mapping[str, list[float]]) -> str:
    """Milliseconds of ours and of the strongest baseline, and how many times faster we are."""
    found = compare(rounds)
    if found is None:
        return ""
    ours, theirs = (number(1000 * seconds) for seconds in (found.ours, found.theirs))
    return f"{ours} against {theirs} ms: **{times(found.low, found.high)}**"


def memory(mib: Mapping[str, list[float] | float]) -> str:
    """MiB of ours and of the baseline with the least, and ours as a share of it."""
    middle = {who: median(own) if isinstance(own, list) else own for who, own in mib.items()}
    ours = middle.pop("notellm")
    best = min(middle, key=middle.__getitem__)
    return f"{ours:,.0f} against {middle[best]:,.0f} ({NAMES[best]}): **{ours / max(middle[best], 1):.2f} x**"


def listed(parts: Iterable[str]) -> str:
    """None, one, or ``a, b and c``."""
    *first, last = parts or [""]
    return f"{', '.join(first)} and {last}" if first else last


def machine(record: Record) -> str:
    """Its processor, and what that was limited to."""
    found = record.get("machine") or record["run"]["machine"]
    amx = ", AMX" if "AMX bf16" in found["instruction_sets"] else ""
    limited = f", limited to {found['instruction_set']} for all libraries" if found.get("limits") else ""
    return f"{found['cpu']}, {found['cores']} cores{limited or amx}"


def wrapped(text: str) -> list[str]:
    """A paragraph's lines, links left whole."""
    return textwrap.wrap(" ".join(text.split()), 118, break_long_words=False, break_on_hyphens=False)


def table(head: list[str], rows: Iterable[list[str]]) -> list[str]:
    """The lines of a Markdown table."""
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return [lines[0], "|---" * len(head) + "|", *lines[1:]]
