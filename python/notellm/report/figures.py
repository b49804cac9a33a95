"""Figures as inline SVG: real text, and colours that follow the page's light or dark theme.

matplotlib draws with stand-in colours, which are then replaced by the CSS variables of the page. Each
panel is drawn at the size it is read at, so that a phone stacks panels instead of shrinking letters.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from notellm.drawing import load_matplotlib
from notellm.evaluation.results import CalibrationBin
from notellm.metrics import Interval
from notellm.report.findings import TRAINED, interval_text, percent
from notellm.report.markup import Html

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
COLOURS = {
    "ink": "#010203",
    "muted": "#010204",
    "line": "#010205",
    "card": "#01020c",
    TRAINED: "#010206",
    "zero_shot_prompt": "#010207",
    "zero_shot_mean": "#010208",
    "tfidf": "#010209",
    "tfidf_full": "#01020a",
    "other": "#01020b",
}
"""CSS variable of the page (underscores become hyphens) and the colour that stands in for it."""

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
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
WIDTH = 360.0
"""Width of a panel in SVG units; one unit is one CSS pixel at full size."""


@dataclass(frozen=True)
class Bar:
    """One bar: whose it is and how long, as a share."""

    key: str
    name: str
    interval: Interval


def bars(title: str, rows: Sequence[Bar]) -> Html:
    """Horizontal bars from 0, each with its interval and its value.

    Args:
        title: What is measured, for example ``"Recall@100"``.
        rows: From top to bottom.

    Returns:
        An ``<svg>`` element of ``WIDTH`` units.

    Raises:
        NotSupportedError: If matplotlib is not installed.
    """
    margins = Margins(left=124, right=44, bottom=22)
    summary = "; ".join(f"{r.name} {percent(r.interval.value)} ({interval_text(r.interval)})" for r in rows)
    with _panel(title, 42.0 + 25.0 * len(rows), margins) as panel:
        panel.description = f"{title}, percent, with 95 % intervals: {summary}."
        _draw_bars(panel.axes, rows)
    return panel.svg


def curve(
    title: str, steps: Sequence[int], values: Sequence[float], reference: tuple[str, float] | None = None
) -> Html:
    """A quantity over training: every step thin, the running mean thick.

    Args:
        title: What is measured.
        steps: Step numbers, ascending.
        values: One value a step.
        reference: Name and height of a level to compare with, drawn dashed.

    Returns:
        An ``<svg>`` element of ``WIDTH`` units.

    Raises:
        NotSupportedError: If matplotlib is not installed.
    """
    margins = Margins(left=46, right=8, bottom=40)
    summary = f"from {values[0]:.3g} at step {steps[0]} to {values[-1]:.3g} at step {steps[-1]}"
    with _panel(title, 215.0, margins) as panel:
        panel.description = f"{title} over {len(steps)} steps: {summary}."
        _draw_curve(panel.axes, steps, values)
        if reference is not None:
            _draw_reference(panel.axes, *reference)
    return panel.svg


def histogram(title: str, edges: Sequence[float], counts: Sequence[int]) -> Html:
    """How many things fall between each two edges, every bin as wide as the next.

    Args:
        title: What is counted.
        edges: Ascending, one more than counts.
        counts: Of each bin.

    Returns:
        An ``<svg>`` element of ``WIDTH`` units.

    Raises:
        NotSupportedError: If matplotlib is not installed.
    """
    bins = zip(edges[:-1], edges[1:], counts, strict=True)
    summary = "; ".join(f"{low:g} to {high:g}: {count:,}" for low, high, count in bins)
    with _panel(title, 215.0, Margins(left=58, right=12, bottom=24)) as panel:
        panel.description = f"{title}. {summary}."
        axes = panel.axes
        axes.bar(range(len(counts)), counts, align="edge", width=0.9, color=COLOURS[TRAINED], linewidth=0)
        every = -(-len(edges) // 6)  # at most six labels
        axes.set_xticks(range(0, len(edges), every), [_short(edge) for edge in edges[::every]])
        axes.yaxis.set_major_formatter(lambda count, _: f"{count:,.0f}")
        axes.margins(x=0.02)
        axes.grid(axis="y")
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
    return panel.svg


def _short(edge: float) -> str:
    """Two digits, or all before the point: a power of ten would not fit under the last bar."""
    return f"{edge:,.0f}" if edge >= 100 else f"{edge:.2g}"


def reliability(title: str, key: str, bins: Sequence[CalibrationBin]) -> Html:
    """How often answers are right, against how sure the model was of them.

    Args:
        title: Whose answers.
        key: Of the system: its colour.
        bins: The answers, by confidence.

    Returns:
        An ``<svg>`` element of ``WIDTH`` units.

    Raises:
        NotSupportedError: If matplotlib is not installed.
    """
    summary = "; ".join(f"{one.confidence:.2f}: {one.accuracy:.2f} of {one.notes:,}" for one in bins)
    with _panel(title, 250.0, Margins(left=58, right=12, bottom=40)) as panel:
        panel.description = f"{title}. Share that is right, by mean confidence: {summary}."
        axes = panel.axes
        axes.plot([0, 1], [0, 1], color=COLOURS["muted"], linewidth=1, linestyle=(0, (4, 3)))
        most, colour = max((one.notes for one in bins), default=1), COLOURS.get(key, COLOURS["other"])
        sure, right = [one.confidence for one in bins], [one.accuracy for one in bins]
        axes.plot(sure, right, color=colour, linewidth=1.4)
        axes.scatter(sure, right, [20 + 120 * one.notes / most for one in bins], color=colour, linewidth=0)
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="confidence", ylabel="share right")
        axes.grid()
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.tick_params(length=0)
    return panel.svg


def running_mean(values: Sequence[float], share: float = 0.05) -> list[float]:
    """Mean over the steps around each step, so that it neither lags nor leads.

    Args:
        values: One value a step.
        share: How far it looks to either side, as a share of all steps; less at the ends.

    Returns:
        As many values.

    Example:
        >>> running_mean([4.0, 2.0, 3.0], share=0.34)
        [4.0, 3.0, 3.0]
    """
    reach = int(share * len(values))
    means = []
    for step in range(len(values)):
        side = min(reach, step, len(values) - 1 - step)
        window = values[step - side : step + side + 1]
        means.append(sum(window) / len(window))
    return means


def _draw_bars(axes: Any, rows: Sequence[Bar]) -> None:
    reach = max((row.interval.high for row in rows), default=0.0)
    for place, row in enumerate(rows):
        shares, weight = row.interval, "bold" if row.key == TRAINED else "normal"
        colour = COLOURS.get(row.key, COLOURS["other"])
        axes.barh(place, shares.value, height=0.62, color=colour, linewidth=0)
        for name, width in (("card", 3.6), ("ink", 1.4)):  # a halo keeps the line visible on its bar
            axes.plot([shares.low, shares.high], [place, place], color=COLOURS[name], linewidth=width)
        edges = {"va": "center_baseline", "weight": weight, "transform": axes.get_yaxis_transform()}
        axes.text(-0.03, place, row.name, ha="right", **edges)
        axes.text(1.16, place, percent(shares.value), ha="right", **edges)
    axes.set(xlim=(0, min(1.0, 1.05 * reach) or 1.0), ylim=(len(rows) - 0.4, -0.6), yticks=[])
    axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:g}")
    axes.xaxis.set_major_locator(_locator(5))
    axes.grid(axis="x")
    axes.spines[["left", "bottom"]].set_visible(False)


def _draw_curve(axes: Any, steps: Sequence[int], values: Sequence[float]) -> None:
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


def _draw_reference(axes: Any, name: str, height: float) -> None:
    axes.axhline(height, color=COLOURS["muted"], linewidth=1, linestyle=(0, (4, 3)))
    at_right = axes.get_yaxis_transform()
    axes.text(1, height, name, ha="right", va="bottom", color=COLOURS["muted"], transform=at_right)


@dataclass(frozen=True)
class Margins:
    """Room around the axes, in SVG units."""

    left: float
    right: float
    bottom: float
    top: float = 12.0


@dataclass
class Panel:
    """A panel being drawn; ``svg`` is there once its ``with`` block has ended."""

    axes: Any
    description: str = ""
    svg: Html = Html("")


@contextmanager
def _panel(title: str, height: float, margins: Margins) -> Iterator[Panel]:
    """Axes in a figure of ``WIDTH`` x ``height`` units, under our style until they are written."""
    matplotlib = load_matplotlib("report")
    buffer = io.StringIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": title}):
        figure = matplotlib.figure.Figure(figsize=(WIDTH / 72, height / 72))
        across, up = WIDTH - margins.left - margins.right, height - margins.bottom - margins.top
        box = (margins.left / WIDTH, margins.bottom / height, across / WIDTH, up / height)
        panel = Panel(figure.add_axes(box))
        yield panel
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    panel.svg = _finish(buffer.getvalue(), title, panel.description)


def _locator(count: int, *, integer: bool = False) -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(count, integer=integer, steps=[1, 2, 2.5, 5, 10])


def _finish(source: str, title: str, description: str) -> Html:
    """Makes matplotlib's SVG fit for a page: accessible, with unique ids, in the page's colours."""
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    root = ElementTree.fromstring(source)
    for tag in ("metadata", "defs"):  # who made it and when; a style sheet that would hold for the whole page
        for element in root.findall(f"{{{SVG}}}{tag}"):
            if tag == "metadata" or element.find(f"{{{SVG}}}style") is not None:
                root.remove(element)
    prefix = re.sub(r"\W+", "-", title.lower()).strip("-")
    _make_unique(root, prefix)
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ElementTree.Element(f"{{{SVG}}}{tag}", {"id": f"{prefix}-{tag}"})
        element.text = text
        root.insert(place, element)
    root.attrib.update(role="img", width=f"{WIDTH:g}", height=root.get("height", "").removesuffix("pt"))
    root.set("aria-labelledby", f"{prefix}-title {prefix}-desc")
    return Html(_themed(ElementTree.tostring(root, encoding="unicode")))


def _make_unique(root: ElementTree.Element, prefix: str) -> None:
    """Puts a prefix before every id and every use of one: several figures share a page."""
    for element in root.iter():
        for name, value in element.attrib.items():
            if name == "id":
                element.set(name, f"{prefix}-{value}")
            elif name == f"{{{XLINK}}}href":
                element.set(name, value.replace("#", f"#{prefix}-"))
            else:
                element.set(name, value.replace("url(#", f"url(#{prefix}-"))


def _themed(svg: str) -> str:
    for name, stand_in in COLOURS.items():
        svg = svg.replace(stand_in, f"var(--{name.replace('_', '-')})")
    return svg
