"""A page on which one looks at what a run has learned: maps, search, neighbours before and after training.

``views`` reads the runs, places their notes on planes and finds neighbours; ``page`` makes the HTML of it, whose
scripts are in ``templates``: ``notes.js`` (the data, the search), ``map.js`` (one map), ``page.js`` (what is shown).
"""

from pathlib import Path

from notellm.app.explore.page import render
from notellm.app.explore.views import ExploreOptions, gather
from notellm.io.files import atomic_write

__all__ = ["ExploreOptions", "write_explorer"]


def write_explorer(
    path: str | Path,
    run_folder: str | Path,
    other: str | Path | None = None,
    options: ExploreOptions = ExploreOptions(),  # noqa: B008 - it is frozen
) -> None:
    """Writes the page: one file that needs no network and no other file.

    Args:
        path: The file.
        run_folder: A run that has been evaluated.
        other: A second one, to be seen beside the first.
        options: See there.

    Raises:
        ConfigError: If a folder is not a run's, an option is out of range, or fewer than two notes can be shown.
        DataError: If a run has no embeddings yet, a file is damaged, or a note of the run is no longer in its data.
        NotSupportedError: If the map needs scikit-learn, and it is not installed.
    """
    page = render(gather(Path(run_folder), None if other is None else Path(other), options))
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
