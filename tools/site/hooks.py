"""Hooks of MkDocs: the site has the repository's documents at the paths where they lie, and pages made of sources.

So links between documents are the same in the repository and on the site. mkdocs.yml names the pages; those of the
references are added to it here.
"""

from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import headers
import modules
import notebooks
import prose

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *("README.md", "HACKING.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE"),
    *("benchmarks/README.md", "benchmarks/results/*.json"),
    *("experiments/README.md", "experiments/results/**/*.md", "experiments/results/**/*.svg"),
]
"""What of the repository is on the site beside docs/ and notebooks/."""

Made = dict[str, str | bytes]
"""Contents by path."""


def references() -> dict[str, Made]:
    """The pages made of sources, by the title of their part of the navigation."""
    return {
        "Python": modules.pages(ROOT / "python/notellm"),
        "C++": headers.pages(ROOT / "cpp/include/notellm"),
    }


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Adds the pages of the references to the navigation, behind those that mkdocs.yml names there."""
    part = next(entry["Reference"] for entry in config.nav or [] if "Reference" in entry)
    part += [{title: list(pages)} for title, pages in references().items()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Puts docs/ where it lies in the repository, and adds the documents outside of it and what is made."""
    for file in list(files):
        if file.src_dir == config.docs_dir:
            files.remove(file)
            files.append(File.generated(config, f"docs/{file.src_uri}", abs_src_path=file.abs_src_path))
    for pattern in DOCUMENTS:
        for path in sorted(ROOT.glob(pattern)):
            uri = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, uri, abs_src_path=str(path)))
    files.append(File.generated(config, "site.css", abs_src_path=str(ROOT / "tools/site/site.css")))
    for made in (*references().values(), notebooks.pages(ROOT / "notebooks", ROOT / "build/notebooks")):
        for uri, content in made.items():
            files.append(File.generated(config, uri, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, files: Files, **_: Any) -> str:
    """A page as MkDocs reads it; in the repository it is written as GitHub reads it."""
    folder = str(PurePosixPath(page.file.src_uri).parent)
    return prose.for_the_site(
        markdown, folder, files.src_uris.__contains__, lambda uri: (ROOT / uri).exists()
    )
