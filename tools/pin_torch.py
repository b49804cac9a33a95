"""Has a pyproject.toml ask for the very torch that is installed: an extension loads beside no other.

    python tools/pin_torch.py COPY/pyproject.toml

For wheels that are released: cibuildwheel calls it in its container, on its copy of the sources.
"""

import re
import sys
from importlib.metadata import version
from pathlib import Path

REQUIREMENT = re.compile(r'^  "torch\b[^"\w-][^"]*",$', re.MULTILINE)


def main() -> None:
    """Rewrites the file; status 1 if it does not ask for torch once."""
    if len(sys.argv) != 2:
        sys.exit("usage: pin_torch.py PYPROJECT")
    path = Path(sys.argv[1])
    public = version("torch").partition("+")[0]  # an index has no "+cpu"
    text, times = REQUIREMENT.subn(f'  "torch=={public}",', path.read_text(encoding="utf-8"))
    if times != 1:
        sys.exit(f"pin_torch: {path} must ask for torch once, but does so {times} times")
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
