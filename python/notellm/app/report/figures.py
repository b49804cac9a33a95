"""Figures as SVG inside a page: with real text, and with colours from the page's style sheet.

matplotlib draws with the colours of ``COLOURS``; the style sheet finds each by its code and replaces it by the page's
own. Each panel is drawn at its reading size, so that a phone stacks panels instead of shrinking letters.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from notellm.app.drawing import load_matplotlib
from notellm.app.numbers import interval_text, percent
from notellm.app.report.findings import TRAINED
from notellm.evaluation.generation_results import CalibrationBin
from notellm.metrics import Interval

COLOURS = {
    "ink": "#111111",
    "muted": "#666666",
    "line": "#dddddd",
    "card": "#ffffff",
    TRAINED: "#1f77b4",
    "zero_shot_prompt": "#7f7f7f",
    "zero_shot_mean": "#c7c7c7",
    "tfidf": "#ff7f0e",
    "tfidf_full": "#ffbb78",
    "other": "#aec7e8",
}
"""The colours in which figures are drawn, all different, by CSS variable of the page (there with hyphens)."""

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # names come from files: a $ is a $
    "font.family": "sans-serif",
    "font.size": 11.0,
    "text.color": COLOURS["ink"],
    "axes.edgecolor": COLOURS["line"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": COLOURS["line"],
    "ytick.color": COLOURS["line"],
    "xtick.labelcolor": COLOURS["muted"],
    "ytick.labelcolor": COLOURS["muted"],
    "grid.color": COLOURS["line"],
    "grid.linewidth": 0.7,
}
WIDTH = 360
"""Width of a panel in SVG units; one unit is one CSS pixel at full size."""

NAMES = 124
"""Room for the names of bars; a longer one makes its panel wider."""


@dataclass(frozen=True)
class Drawing:
    """A figure.

    Attributes:
        title: What it shows.
        description: What can be seen, in words.
        width: In SVG units. height: In SVG units.
        content: The content for an ``<svg>`` element.
    """

    title: str
    description: str
    width: int
    height: int
    content: str


@dataclass(frozen=True)
class Margins:
    """Room around the axes, in SVG units."""

    left: float
    right: float
    bottom: float
    top: float = 12.0


@dataclass(frozen=True)
class Bar:
    """One bar: the system, and its length as a fraction."""

    key: str
    name: str
    interval: Interval


def bars(title: str, rows: Sequence[Bar]) -> Drawing:
    """Horizontal bars from 0, each with its interval and its value.

    Args:
        title: What is measured, for example ``"Recall@100"``.
        rows: From top to bottom.

    Returns:
        ``WIDTH`` units wide, or as much wider as the longest name needs.

    Raises:
        NotSupportedError: If matplotlib is not installed.
    """
    summary = "; ".join(f"{r.name} {percent(r.interval.value)} ({interval_text(r.interval)})" for r in rows)
    description = f"{title}, percent, with 95 % intervals: {summary}."
    more = max(0, math.ceil(_widest(rows)) + 10 - NAMES)
    margins = Margins(left=NAMES + more, right=44, bottom=22)
    return _draw(
        title, description, 42 + 25 * len(rows), margins, partial(_paint_bars, rows=rows), WIDTH + more
    )


def _widest(rows: Sequence[Bar]) -> float:
    """The width of the longest name, in SVG units."""
    matplotlib = load_matplotlib("report")
    with matplotlib.rc_context(STYLE):
        figure = matplotlib.figure.Figure(dpi=72)
        names = [figure.text(0, 0, row.name, weight=_weight(row)) for row in rows]
        return max((float(name.get_window_extent().width) for name in names), default=0.0)


def _weight(row: Bar) -> str:
    return "bold" if row.key == TRAINED else "normal"


def curve(
    title: str, steps: Sequence[int], values: Sequence[float], reference: tuple[str, float] | None = None
) -> Drawing:
    """A quantity over training: all steps as a thin line, the running mean as a thick one.

    Args:
        title: What is measured.
        steps: Step numbers, ascending.
        values: One value per step.
        reference: Name and value of a level to compare with, drawn dashed.

    Returns:
        ``WIDTH`` units wide.

    Raises:
        NotSupportedError: If matplotlib is not installed.
    """
    summary = f"from {values[0]:.3g} at step {steps[0]} to {values[-1]:.3g} at step {steps[-1]}"
    paint = partial(_paint_curve, steps=steps, values=values, reference=reference)
    description = f"{title} over {len(steps)} steps: {summary}."
    return _draw(title, description, 215, Margins(left=46, right=8, bottom=40), paint)


def histogram(title: str, edges: Sequence[float], counts: Sequence[int]) -> Drawing:
    """How many items lie between neighbouring edges; all bins are drawn equally wide.

    Args:
        title: What is counted.
        edges: Ascending, one more than counts.
        counts: Number of items in each bin.

    Returns:
        ``WIDTH`` units wide.

    Raises:
        NotSupportedError: If matplotlib is not installed.
    """
    bins = zip(edges[:-1], edges[1:], counts, strict=True)
    summary = "; ".join(f"{low:g} to {high:g}: {count:,}" for low, high, count in bins)
    paint = partial(_paint_histogram, edges=edges, counts=counts)
    return _draw(title, f"{title}. {summary}.", 215, Margins(left=58, right=12, bottom=24), paint)


def reliability(title: str, key: str, bins: Sequence[CalibrationBin]) -> Drawing:
    """How often answers are right, against the model's confidence (reliability diagram).

    Args:
        title: The system's name.
        key: The system's key, which decides its colour.
        bins: The answers, by confidence.

    Returns:
        ``WIDTH`` units wide.

    Raises:
        NotSupportedError: If matplotlib is not installed.
    """
    summary = "; ".join(f"{one.confidence:.2f}: {one.accuracy:.2f} of {one.notes:,}" for one in bins)
    paint = partial(_paint_reliability, colour=COLOURS.get(key, COLOURS["other"]), bins=bins)
    description = f"{title}. Share that is right, by mean confidence: {summary}."
    return _draw(title, description, 250, Margins(left=58, right=12, bottom=40), paint)


def running_mean(values: Sequence[float], share: float = 0.05) -> list[float]:
    """A centred mean over the steps around each step, without lag.

    Args:
        values: One value per step.
        share: How many steps it takes on either side, as a share of all steps; fewer at the ends.

    Returns:
        As many values.

    Example:
        >>> running_mean([4.0, 2.0, 3.0], share=0.34)
        [4.0, 3.0, 3.0]
    """
    steps = np.arange(len(values))
    side = np.minimum(int(share * len(values)), np.minimum(steps, steps[::-1]))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    begin, end = steps - side, steps + side + 1
    means: list[float] = ((sums[end] - sums[begin]) / (end - begin)).tolist()
    return means


def _paint_bars(axes: Any, rows: Sequence[Bar]) -> None:
    reach = max((row.interval.high for row in rows), default=0.0)
    for place, row in enumerate(rows):
        shares = row.interval
        colour = COLOURS.get(row.key, COLOURS["other"])
        axes.barh(place, shares.value, height=0.62, color=colour, linewidth=0)
        for name, width in (("card", 3.6), ("ink", 1.4)):  # a halo keeps the line visible on its bar
            axes.plot([shares.low, shares.high], [place, place], color=COLOURS[name], linewidth=width)
        edges = {"va": "center_baseline", "weight": _weight(row), "transform": axes.get_yaxis_transform()}
        axes.text(-0.03, place, row.name, ha="right", **edges)
        axes.text(1.16, place, percent(shares.value), ha="right", **edges)
    axes.set(xlim=(0, min(1.0, 1.05 * reach) or 1.0), ylim=(len(rows) - 0.4, -0.6), yticks=[])
    axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:g}")
    axes.xaxis.set_major_locator(_locator(5))
    axes.grid(axis="x")
    axes.spines[["left", "bottom"]].set_visible(False)


def _paint_curve(
    axes: Any, steps: Sequence[int], values: Sequence[float], reference: tuple[str, float] | None
) -> None:
    axes.plot(steps, values, color=COLOURS["other"], linewidth=0.9)
    axes.plot(steps, running_mean(values), color=COLOURS[TRAINED], linewidth=2.2, solid_capstyle="round")
    if len(steps) == 1:  # a line needs two points
        axes.plot(steps, values, "o", color=COLOURS[TRAINED])
    axes.set_xlabel("step")
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(_locator(6, integer=True))
    axes.yaxis.set_major_locator(_locator(5))
    axes.margins(x=0.02, y=0.12)
    if reference is not None:
        name, height = reference
        axes.axhline(height, color=COLOURS["muted"], linewidth=1, linestyle=(0, (4, 3)))
        at_right = axes.get_yaxis_transform()
        axes.text(1, height, name, ha="right", va="bottom", color=COLOURS["muted"], transform=at_right)


def _paint_histogram(axes: Any, edges: Sequence[float], counts: Sequence[int]) -> None:
    axes.bar(range(len(counts)), counts, align="edge", width=0.9, color=COLOURS[TRAINED], linewidth=0)
    every = -(-len(edges) // 6)  # at most six labels
    axes.set_xticks(range(0, len(edges), every), [_short(edge) for edge in edges[::every]])
    axes.yaxis.set_major_formatter(lambda count, _: f"{count:,.0f}")
    axes.margins(x=0.02)
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _short(edge: float) -> str:
    """An edge with two digits, or all digits before the point: a power of ten would not fit under the last bar."""
    return f"{edge:,.0f}" if edge >= 100 else f"{edge:.2g}"


def _paint_reliability(axes: Any, colour: str, bins: Sequence[CalibrationBin]) -> None:
    axes.plot([0, 1], [0, 1], color=COLOURS["muted"], linewidth=1, linestyle=(0, (4, 3)))
    most = max((one.notes for one in bins), default=1)
    sure, right = [one.confidence for one in bins], [one.accuracy for one in bins]
    axes.plot(sure, right, color=colour, linewidth=1.4)
    axes.scatter(sure, right, [20 + 120 * one.notes / most for one in bins], color=colour, linewidth=0)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="confidence", ylabel="share right")
    axes.grid()
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)


def _locator(count: int, *, integer: bool = False) -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(count, integer=integer, steps=[1, 2, 2.5, 5, 10])


def _draw(
    title: str,
    description: str,
    height: int,
    margins: Margins,
    paint: Callable[[Any], None],
    width: int = WIDTH,
) -> Drawing:
    """Axes in a figure of ``width`` x ``height`` units, painted and written in our style."""
    matplotlib = load_matplotlib("report")
    buffer = io.StringIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": title}):
        figure = matplotlib.figure.Figure(figsize=(width / 72, height / 72))
        across, up = width - margins.left - margins.right, height - margins.bottom - margins.top
        paint(figure.add_axes((margins.left / width, margins.bottom / height, across / width, up / height)))
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=nothing, transparent=True)
    return Drawing(title, description, width, height, _content(buffer.getvalue()))


def _content(svg: str) -> str:
    """The content of the outermost element, without names of groups, which other figures in the page have, too."""
    inside = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    return re.sub(r'<g id="[^"]*"', "<g", inside)  # in a text, < is escaped
