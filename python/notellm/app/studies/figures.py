"""Shared by all pictures of studies: file formats, and how they are written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from notellm.app.drawing import load_matplotlib
from notellm.io.files import atomic_write

ENDINGS = (".svg", ".png", ".pdf")


def draw(path: str | Path, title: str, size: tuple[float, float], paint: Callable[[Any], None]) -> Path:
    """Writes a picture, completely or not at all; equal data give equal files.

    Args:
        path: The file: ``.svg``, ``.png`` or ``.pdf``.
        title: Title of the picture.
        size: Width and height in inches.
        paint: Draws into the figure that it is given.

    Returns:
        ``path``.

    Raises:
        ValueError: If the file has another ending.
        NotSupportedError: If matplotlib is not installed.
    """
    path = Path(path)
    if path.suffix not in ENDINGS:
        raise ValueError(f"plot: must write an .svg, .png or .pdf, but is to write {path.name}")
    matplotlib = load_matplotlib("plot")
    # Names come from configurations and files: a $ is a $.
    style = {"svg.hashsalt": title, "svg.fonttype": "none", "text.parse_math": False}
    with matplotlib.rc_context(style), atomic_write(path) as temporary:
        figure = matplotlib.figure.Figure(figsize=size, layout="constrained")
        paint(figure)
        figure.suptitle(title, fontsize="medium")
        metadata = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(temporary, format=path.suffix.removeprefix("."), metadata=metadata)
    return path


def tidy(axes: Any, grid: str = "y") -> None:
    """A grid to read values by (``"x"``, ``"y"`` or ``"both"``), and no frame."""
    axes.grid(axis=grid, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def logarithmic(axes: Any) -> None:
    """A logarithmic axis from left to right, with labels between the tens where there are few of them, no formulas."""
    from matplotlib.ticker import LogFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.xaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False))
