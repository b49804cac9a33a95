"""Tags a release, after a look at whether all that names its version agrees; needs nothing but git.

python tools/tag.py              tags the commit that is checked out, here; pushing the tag is left to you
python tools/tag.py --check TAG  is TAG the tag of this commit's version, and is the version ready? for workflows
python tools/tag.py --notes      this version's part of CHANGELOG.md

The version stands in CMakeLists.txt: packages and the extension read it there. CITATION.cff repeats it, and the topmost
heading of CHANGELOG.md dates it: `## 0.2.0 (2026-12-01)`. Versions are MAJOR.MINOR.PATCH (Semantic Versioning): what
breaks callers raises MAJOR, or MINOR while MAJOR is 0.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

HEADING = re.compile(r"^## (?P<version>\S+) \((?P<date>[^)]*)\)\n", re.MULTILINE)


class NotReadyError(Exception):
    """What must be done before there can be a release."""


def find(pattern: str, path: Path) -> str:
    """The group of `pattern` in a file."""
    match = re.search(pattern, path.read_text(encoding="utf-8"), re.MULTILINE)
    if match is None:
        raise NotReadyError(f"{path}: must have a line like {pattern}")
    return match[1]


def version_of(root: Path) -> str:
    """The version of the sources in a folder."""
    version = find(r"^project\(notellm VERSION (\S+) ", root / "CMakeLists.txt")
    if not re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}", version):
        raise NotReadyError(f"CMakeLists.txt: VERSION must be MAJOR.MINOR.PATCH, but is {version}")
    return version


def topmost(root: Path) -> tuple[str, str, str]:
    """Version, date and text of the topmost part of CHANGELOG.md."""
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = [*HEADING.finditer(text)]
    if not headings:
        raise NotReadyError("CHANGELOG.md: must have a heading like ## 0.2.0 (2026-12-01)")
    end = headings[1].start() if len(headings) > 1 else len(text)
    return headings[0]["version"], headings[0]["date"], text[headings[0].end() : end].strip()


def missing(root: Path) -> Iterator[str]:
    """What keeps the sources in a folder from being released."""
    version = version_of(root)
    cited = find(r"^version: (\S+)$", root / "CITATION.cff")
    if cited != version:
        yield f"CITATION.cff: version must be {version}, as in CMakeLists.txt, but is {cited}"
    changed, date, text = topmost(root)
    if changed != version:
        yield f"CHANGELOG.md: the topmost part must be of {version}, but is of {changed}"
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", date):
        yield f"CHANGELOG.md: {changed} must have the date of its release, but has ({date})"
    if not text:
        yield f"CHANGELOG.md: {changed} must say what changed, but is empty"


def git(root: Path, *arguments: str) -> str:
    """What git says of the repository in a folder."""
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout


def tag(root: Path) -> str:
    """Makes the tag of the version in a folder and returns its name."""
    name = f"v{version_of(root)}"
    complaints = [*missing(root)]
    if changed := git(root, "status", "--porcelain"):
        complaints.append(f"everything must be committed, but is not:\n{changed.rstrip()}")
    if git(root, "tag", "--list", name):
        complaints.append(f"the tag {name} must be new, but is there; try the next version in CMakeLists.txt")
    if complaints:
        raise NotReadyError("\n".join(complaints))
    git(root, "tag", "--annotate", name, "--message", f"NoteLLM {name[1:]}\n\n{topmost(root)[2]}")
    return name


def check(root: Path, name: str) -> None:
    """Complains unless `name` is the tag of the version in a folder, and that is ready."""
    complaints = [*missing(root)]
    if name != f"v{version_of(root)}":
        complaints.append(f"the tag must be v{version_of(root)}, as in CMakeLists.txt, but is {name}")
    if complaints:
        raise NotReadyError("\n".join(complaints))


def main() -> None:
    """Does what the arguments say; status 1 if the version is not ready."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--check", metavar="TAG")
    choice.add_argument("--notes", action="store_true")
    arguments = parser.parse_args()
    root = Path(__file__).parents[1]
    try:
        if arguments.check:
            check(root, arguments.check)
        elif arguments.notes:
            print(topmost(root)[2])
        else:
            name = tag(root)
            print(f"{name}: made; `git push origin {name}` publishes it")
    except NotReadyError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
