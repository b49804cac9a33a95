"""Draws what `bench_growth.py` measured, ours and the baseline: each round a dot, the medians a line.

python benchmarks/python/plot_growth.py RESULTS/growth.SET.json --pools RESULTS/pools.SET.json --output growth.svg
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib
import matplotlib.ticker
from matplotlib.figure import Figure

COLOURS = {"notellm": "#c8102e", "transformers_prefix": "#5b6770"}


def panel(axes: Any, title: str, size: str, points: Sequence[dict[str, Any]]) -> None:
    """Notes a second of each system, by a key of the points."""
    sizes = [point[size] for point in points]
    for system, colour in COLOURS.items():
        found = [[point["notes"] / s for s in point["rounds"].get(system, [])] for point in points]
        if not all(found):
            continue
        axes.plot(sizes, list(map(median, found)), "-", color=colour, label=system, linewidth=2)
        for at, speeds in zip(sizes, found, strict=True):
            axes.plot([at] * len(speeds), speeds, "o", color=colour, markersize=3)
    axes.set(title=title, xlabel=size.replace("_", " "), ylabel="notes/s", xscale="log")
    axes.set_ylim(bottom=0)
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)


def main() -> None:
    """Draws the three panels side by side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("growth", type=Path, help="its JSON")
    parser.add_argument("--pools", type=Path, help="that of a run over larger pools, with fewer layers")
    parser.add_argument("--output", type=Path, required=True, help="an .svg or .png")
    options = parser.parse_args()
    growth = json.loads(options.growth.read_text())
    pools = json.loads(options.pools.read_text()) if options.pools else growth
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    first, second, third = figure.subplots(1, 3)
    panel(first, "by length", "tokens_per_note", growth["by_length"])
    layers = "" if pools["layers"] == "all" else f" ({pools['layers']} layers)"
    panel(second, f"by pool{layers}", "notes", pools["by_pool"])
    panel(third, "by batch", "batch_tokens", growth["by_batch"])
    with matplotlib.rc_context({"svg.hashsalt": "growth"}):
        figure.savefig(options.output, metadata={"Date": None})


if __name__ == "__main__":
    main()
