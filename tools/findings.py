"""Writes what documents say of the studies from their records, by templates, or shows where the two differ.

python tools/findings.py             # compares; status 1, with the differences, if a document is not what records give
python tools/findings.py --write     # writes the documents, and the studies' tables and pictures
python tools/findings.py --literals  # lists the numbers that no record gives, with their reasons
"""

from __future__ import annotations

import argparse
import csv
import difflib
import itertools
import math
import os
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from findings_literals import declared_numbers, typed_numbers
from findings_records import Records
from jinja2 import Environment, StrictUndefined

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- begin: findings -->\n", "<!-- end: findings -->\n"
WHOLE, BETWEEN_MARKERS = ("", ""), (BEGIN, END)
PAGES = {
    "experiments/README.md": ("experiments/README.md.j2", WHOLE),
    "README.md": ("experiments/summary.md.j2", BETWEEN_MARKERS),
}
"""The template of each document, and of what in it."""

LAST_DIGITS = 1e-5
"""Numbers that differ by less, relatively or in points, are what another processor makes of the same records."""

WIDTH = 120
TOGETHER = "\x1f"
"""A space where no line may end."""

ENVIRONMENT = Environment(
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    extensions=["jinja2.ext.do"],
)


class Claims:
    """What a template says in words about numbers, each with whether the records still bear it out."""

    def __init__(self) -> None:
        self.broken: list[str] = []

    def holds(self, is_true: object, words: str) -> None:
        """Claims something: it becomes a complaint if it is not true."""
        if not is_true:
            self.broken.append(words)


def rendered(template: str, records: Records, claims: Claims) -> str:
    """What a template gives, in lines of `WIDTH` letters.

    Args:
        template: Its text.
        records: What its numbers are computed from.
        claims: Takes what it says in words.
    """
    found = ENVIRONMENT.from_string(template).render(
        study=records.study,
        not_run=records.not_run,
        ledger=records.ledger,
        holds=claims.holds,
        literal=lambda number, reason: number,
    )
    return "\n".join(_wrapped(found)).rstrip("\n") + "\n"


def documents(records: Records) -> Iterator[tuple[str, str, str]]:
    """Each document of the current directory: its name, what it holds, and what it must hold. Then tables, likewise.

    Args:
        records: Of the results in the current directory.

    Raises:
        ValueError: If a template claims what the records do not bear out, or has a number of its own; if ledger and
            ranks do not agree.
    """
    for name, (path, markers) in PAGES.items():
        template, claims = Path(path).read_text(encoding="utf-8"), Claims()
        typed = list(typed_numbers(ENVIRONMENT, template))
        if typed:
            raise ValueError(f"{path}: numbers must come from records or be declared: {'; '.join(typed)}")
        new, old = rendered(template, records, claims), Path(name).read_text(encoding="utf-8")
        if claims.broken:
            raise ValueError(f"{path}: these claims must hold, but do not: {'; '.join(claims.broken)}")
        yield name, old, new if markers == WHOLE else _put(new, old, name)
    for found in records.whole_studies():
        if disagreements := list(found.disagreements()):
            raise ValueError("; ".join(disagreements))
        for table, new in found.table_files():
            old = table.read_text(encoding="utf-8") if table.exists() else ""
            yield str(table), old, old if table.suffix == ".csv" and _agree(old, new) else new


def _agree(old: str, new: str) -> bool:
    """Whether two tables as CSV, whose numbers are not rounded, say the same but for their numbers' last digits."""
    before, after = (list(csv.reader(text.splitlines())) for text in (old, new))
    if [*map(len, before)] != [*map(len, after)]:
        return False
    cells = zip(itertools.chain(*before), itertools.chain(*after), strict=True)
    return all(a == b or _is_near(a, b) for a, b in cells)


def _is_near(a: str, b: str) -> bool:
    try:
        return math.isclose(float(a), float(b), rel_tol=LAST_DIGITS, abs_tol=LAST_DIGITS)
    except ValueError:  # words, which must be equal
        return False


def _put(new: str, old: str, name: str) -> str:
    """A document with something else between its markers."""
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{name}: must hold the lines {BEGIN.strip()} and {END.strip()}, but does not")
    return before + begin + new + end + after


def _wrapped(text: str) -> Iterator[str]:
    """Paragraphs in lines of one length; code, tables and headings stay as they are."""
    is_code = False
    for block in re.split(r"\n{2,}", text.strip("\n")):
        is_text = not (is_code or re.match(r"[#|<]|```", block))
        is_code ^= block.count("```") % 2 == 1
        lines = block.split("\n")
        fence = next((place for place, line in enumerate(lines) if line.startswith(("```", "|"))), len(lines))
        head = _filled(lines[:fence]) if is_text else lines[:fence]
        yield from [*head, *lines[fence:], ""]


def _filled(lines: list[str]) -> list[str]:
    """No line begins as the entry of a list does, such as with ``0.``, which stays with the word before it."""
    text = re.sub(r"\s(?=(?:\d+[.)]|[-+*])\s)", TOGETHER, " ".join(lines))
    filled = textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)
    return [line.replace(TOGETHER, " ") for line in filled]


def main() -> None:
    """Compares, writes or lists."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write documents, tables and pictures")
    parser.add_argument("--literals", action="store_true", help="list numbers that no record gives")
    parser.add_argument("--root", type=Path, default=ROOT, help="the folder of README.md and experiments")
    options = parser.parse_args()
    os.chdir(options.root)
    if options.literals:
        for path, _ in PAGES.values():
            for number, reason in declared_numbers(ENVIRONMENT, Path(path).read_text(encoding="utf-8")):
                print(f"{path}: {number}: {reason}")
        return
    differ, records = False, Records()
    try:
        for name, old, new in documents(records):
            differ |= old != new
            if options.write:
                Path(name).write_text(new, encoding="utf-8")
            else:
                shown = difflib.unified_diff(old.splitlines(True), new.splitlines(True), name, "records")
                sys.stdout.writelines(shown)
        for picture in records.pictures():
            if picture.is_current:
                continue
            differ = True
            if options.write:
                picture.write()
            else:
                print(f"{picture.path}: must be drawn of what the records are now, but is not; try --write")
    except ValueError as error:
        sys.exit(str(error))
    sys.exit(differ and not options.write)


if __name__ == "__main__":
    main()
