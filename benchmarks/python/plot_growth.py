"""Draws what `bench_embedding.py --growth` measured, ours and the baseline.

python benchmarks/python/plot_growth.py RESULTS/embedding_growth.json --output RESULTS/embedding_growth.svg
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.ticker
from matplotlib.figure import Figure

COLOURS = {"notellm": "#c8102e", "transformers": "#5b6770"}


def panel(axes: Any, title: str, label: str, points: Mapping[str, Mapping[str, float]]) -> None:
    """Notes a second of each system, by some size."""
    sizes = [int(size) for size in points]
    for system, colour in COLOURS.items():
        speeds = [at[system] for at in points.values() if system in at]
        if speeds:
            axes.plot(sizes, speeds, "o-", color=colour, label=system, linewidth=2, markersize=4)
    axes.set(title=title, xlabel=label, ylabel="notes/s", xscale="log")
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
    parser.add_argument(
        "--pools", type=Path, nargs="+", help="those of runs over larger pools, with fewer layers"
    )
    parser.add_argument("--output", type=Path, required=True, help="an .svg or .png")
    options = parser.parse_args()
    growth = json.loads(options.growth.read_text())
    found = [json.loads(path.read_text()) for path in options.pools or [options.growth]]
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    first, second, third = figure.subplots(1, 3)
    panel(first, "by length", "tokens of a note", growth["by_tokens_per_note"])
    layers = "" if found[0]["layers"] == "all" else f" ({found[0]['layers']} layers)"
    by_pool = {size: at for one in found for size, at in one["by_pool"].items()}
    panel(second, f"by pool{layers}", "notes", by_pool)
    batches = {size: {"notellm": speed} for size, speed in growth["by_batch_tokens"].items()}
    panel(third, "by batch", "tokens of a batch", batches)
    with matplotlib.rc_context({"svg.hashsalt": "growth"}):
        figure.savefig(options.output, metadata={"Date": None})


if __name__ == "__main__":
    main()
