"""What the documents name is there: files and headings behind links, paths in HACKING.md, modules in its tree."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *sorted(str(path.relative_to(ROOT)) for pattern in ("*.md", "docs/*.md") for path in ROOT.glob(pattern)),
    *("benchmarks/README.md", "experiments/README.md"),
]
SOURCES = ("cpp/include/notellm", "cpp/src", "cpp/bindings", "python/notellm")


def prose(document):
    """A document without its blocks of code."""
    return re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(document):
    """Its headings as links name them: lower case, hyphens for spaces, no punctuation, of links their text."""
    plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", prose(document))
    headings = re.findall(r"^#+ (.+)$", plain, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(document):
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(document))
    for target in targets:
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+://", path):
            continue
        file = document.parent / path if path else document
        if not file.exists() or (anchor and anchor not in anchors(file)):
            yield target


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name):
    assert list(broken_links(ROOT / name)) == []


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# One, two\n[a](#one-two) [b](#three) [c](no.md) [d](page.md#one-two) [e](https://x.y)\n"
    )
    assert list(broken_links(page)) == ["#three", "no.md"]


def test_paths_in_hacking_exist():
    path = r"`([\w./]+/[\w.]+\.(?:h|cpp|py|pyi|sh|json|yaml|cmake|html))`"
    named = {
        found for found in re.findall(path, prose(ROOT / "HACKING.md")) if not found.startswith("torch/")
    }
    assert len(named) > 50
    homes = [ROOT, *(ROOT / source for source in SOURCES)]
    assert [path for path in sorted(named) if not any((home / path).exists() for home in homes)] == []


@pytest.mark.parametrize(
    ("folder", "pattern"),
    [
        ("cpp/include/notellm", "*.h"),
        ("cpp/bindings", "*.h"),
        ("cpp/src/autograd", "*.h"),
        ("python/notellm", "*.py"),
    ],
)
def test_hacking_names_every_module(folder, pattern):
    tree = re.search(r"## The tree\n```\n(.+?)```", (ROOT / "HACKING.md").read_text(), flags=re.DOTALL)[1]
    words = set(re.findall(r"\w+", tree))
    files = [path.relative_to(ROOT) for path in (ROOT / folder).rglob(pattern)]
    assert files
    own = [path for path in files if not path.stem.startswith("__") and "commands" not in path.parts]
    assert [str(path) for path in own if path.stem not in words] == []
    assert [str(path) for path in own if path.parent.name not in words] == []
