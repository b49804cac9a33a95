"""Pages of the notebooks, with their outputs where the tests have run them as they are."""

from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter


def pages(folder: Path, executed: Path) -> dict[str, str | bytes]:
    """Pages and pictures by their paths; `executed` is where the tests keep what they ran."""
    found: dict[str, str | bytes] = {}
    for path in sorted(folder.glob("*.ipynb")):
        resources = {"output_files_dir": f"{path.stem}_files", "unique_key": "output"}
        notebook = newest(path, executed / path.name)
        notebook.metadata.setdefault("language_info", {"name": "python"})  # known only to those that ran
        text, made = MarkdownExporter().from_notebook_node(notebook, resources)
        found[f"notebooks/{path.stem}.md"] = text
        found |= {f"notebooks/{name}": content for name, content in made.get("outputs", {}).items()}
    return found


def newest(path: Path, executed: Path) -> nbformat.NotebookNode:
    """The executed form of a notebook if it has the same cells; otherwise the notebook as it is kept."""
    kept = nbformat.read(path, as_version=4)
    if executed.exists():
        ran = nbformat.read(executed, as_version=4)
        if [cell.source for cell in ran.cells] == [cell.source for cell in kept.cells]:
            return ran
    return kept
