"""The report of a run: tables on the terminal and one self-contained page.

``run_results`` reads, ``findings`` puts the numbers in words, ``figures`` draws them, ``sections`` and ``examples``
collect the content; ``page`` shows it with the templates, ``terminal`` prints it.
"""

from datetime import datetime
from pathlib import Path

from notellm.app.report.page import render
from notellm.app.report.run_results import read_run_results
from notellm.app.report.terminal import print_evaluation
from notellm.io.files import atomic_write

__all__ = ["print_evaluation", "write_report"]


def write_report(run_folder: str | Path) -> Path:
    """Writes ``report.html`` into a run folder: one file that needs no network and no other file.

    Parts that the run does not have yet are left out, with a line that names the command that makes them.

    Args:
        run_folder: Folder of a run (``config.yaml``, ``run.json``, ``data.json``, ``train.jsonl``,
            ``evaluation.json``, ``neighbours.json``, ``generation.jsonl``; any may be absent).

    Returns:
        Path of the page.

    Raises:
        FileNotFoundError: If there is no such folder.
        DataError: If a file is damaged; the message names the file and the line or entry.
        NotSupportedError: If matplotlib is not installed.
    """
    page = render(read_run_results(run_folder), datetime.now().astimezone())
    path = Path(run_folder) / "report.html"
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path
