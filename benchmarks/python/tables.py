"""Writes the README's figures from the records under benchmarks/results: between its markers nothing is typed by hand.

python benchmarks/python/tables.py            # writes
python benchmarks/python/tables.py --check    # says whether the README is what the records give
"""

import argparse
import difflib
import re
import sys
from collections.abc import Callable
from pathlib import Path

from cells import Records
from demo_section import demo_section
from speed_section import speed_section

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
SECTIONS: dict[str, Callable[[Records], list[str]]] = {"demo": demo_section, "speed": speed_section}


def write_sections(text: str, records: Records) -> str:
    """A text with what stands between ``<!-- begin: NAME -->`` and ``<!-- end: NAME -->`` made anew.

    Raises:
        ValueError: If a section's markers are missing or stand twice.
    """
    for name, make in SECTIONS.items():
        begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
        pattern = re.compile(f"{re.escape(begin)}\n.*?{re.escape(end)}", re.S)
        count = len(pattern.findall(text))
        if count != 1:
            raise ValueError(f"tables: {begin} and {end} must stand once, but stand {count} times")
        body = "\n".join(make(records)).strip("\n")
        text = pattern.sub(lambda _, new=f"{begin}\n{body}\n{end}": new, text)
    return text


def main() -> None:
    """Writes or checks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; status 1 if it would")
    parser.add_argument("--readme", type=Path, default=README)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    old = options.readme.read_text()
    new = write_sections(old, Records(options.results))
    if not options.check:
        options.readme.write_text(new)
    elif old != new:
        sys.stdout.writelines(
            difflib.unified_diff(old.splitlines(True), new.splitlines(True), "README", "records")
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
