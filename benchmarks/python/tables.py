"""Writes the figures of README.md and benchmarks/README.md from the records: between markers nothing is typed by hand.

python benchmarks/python/tables.py            # writes
python benchmarks/python/tables.py --check    # says whether both are what the records give
"""

import argparse
import difflib
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from cells import Records
from demo_section import demo_section
from details_section import details_section
from speed_section import main_speed_section, speed_section

ROOT = Path(__file__).parents[2]
Section = Callable[[Records], list[str]]
SECTIONS: dict[str, dict[str, Section]] = {
    "README.md": {"demo": demo_section, "speed": main_speed_section},
    "benchmarks/README.md": {"speed": speed_section, "details": details_section},
}
"""By the file that they stand in."""


def write_sections(text: str, sections: Mapping[str, Section], records: Records) -> str:
    """A text with what stands between ``<!-- begin: NAME -->`` and ``<!-- end: NAME -->`` made anew.

    Raises:
        ValueError: If a section's markers are missing or stand twice.
    """
    for name, make in sections.items():
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
    parser.add_argument("--root", type=Path, default=ROOT, help="the folder of README.md and benchmarks")
    options = parser.parse_args()
    results = options.root / "benchmarks" / "results"
    wrong = False
    for name, sections in SECTIONS.items():
        path = options.root / name
        # links are relative to the file
        records = Records(results, link=f"{os.path.relpath(results, path.parent)}/")
        old = path.read_text()
        new = write_sections(old, sections, records)
        if options.check:
            sys.stdout.writelines(
                difflib.unified_diff(old.splitlines(True), new.splitlines(True), name, "records")
            )
            wrong |= old != new
        else:
            path.write_text(new)
    sys.exit(int(wrong))


if __name__ == "__main__":
    main()
