"""Draws time by size, of mining and of ranks, from their records: each round a dot, the medians a line.

    python benchmarks/python/plot_scale.py --output docs/scale.svg

Records are found by their names in benchmarks/results, for one instruction set; points of several records of mining are
put together. A method that met a limit ends before it.
"""

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from records import RESULTS, record_name

MINING = ("mining_growth", "mining_100m", "mining_200m")
RANKS = ("ranks_growth",)
LOOKS = {
    "notellm": ("notellm", "#c8102e"),
    "target_ranks": ("notellm", "#c8102e"),
    "implicit": ("implicit", "#1f6fb2"),
    "scipy": ("SciPy", "#3a8f5c"),
    "duckdb": ("DuckDB", "#b8860b"),
    "polars": ("Polars", "#7b4fa3"),
    "product_fp32": ("the fp32 product alone", "#8a959c"),
    "chunked_torch": ("torch, in chunks", "#1f6fb2"),
    "faiss_flat_100000": ("FAISS Flat, 100,000 best", "#3a8f5c"),
}
"""The name and the colour of each method, in the order of the legends."""

Points = list[tuple[int, dict[str, list[float]]]]
"""Sizes, and the seconds of each method's rounds."""


def records(names: Iterable[str], used: str) -> Iterator[dict[str, Any]]:
    """Those of these records that are there, and were made beside no other work."""
    paths = [RESULTS / record_name(name, used) for name in names]
    found = [json.loads(path.read_text()) for path in paths if path.exists()]
    yield from (record for record in found if record["quiet"])


def points_of_mining(used: str) -> Points:
    """By events, without reading; what was stopped has no seconds."""
    points = [
        (
            point["events"],
            {
                method: [each["mine_seconds"] for each in rounds if "stopped" not in each]
                for method, rounds in point["rounds"].items()
            },
        )
        for record in records(MINING, used)
        for point in record["points"]
    ]
    return sorted(points, key=lambda point: point[0])


def points_of_ranks(used: str) -> Points:
    """By notes of the pool."""
    return [
        (point["notes"], point["rounds"]) for record in records(RANKS, used) for point in record["points"]
    ]


def panel(axes: Any, title: str, size: str, points: Points) -> None:
    """Seconds of each method; both axes are logarithmic."""
    for method, (name, colour) in LOOKS.items():
        found = [(at, rounds[method]) for at, rounds in points if rounds.get(method)]
        if not found:
            continue
        medians = [median(seconds) for _, seconds in found]
        axes.plot([at for at, _ in found], medians, "-", color=colour, label=name, linewidth=1.6)
        dots = [(at, each) for at, seconds in found for each in seconds]
        axes.plot(*zip(*dots, strict=True), "o", color=colour, markersize=3)
    axes.set(title=title, xlabel=size, ylabel="seconds", xscale="log", yscale="log")
    axes.set_xticks([at for at, _ in points], [short(at) for at, _ in points])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small")


def short(number: int) -> str:
    """Such as 10k or 4M.

    Example:
        >>> short(10_003_811), short(4_000_000), short(10_000)
        ('10M', '4M', '10k')
    """
    return f"{number / 1e6:.0f}M" if number >= 1e6 else f"{number / 1e3:.0f}k"


def main() -> None:
    """Draws both panels side by side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", default="avx512_bf16", help="the instruction set of the records")
    parser.add_argument("--output", type=Path, required=True, help="an .svg or .png")
    options = parser.parse_args()
    with matplotlib.rc_context({"svg.hashsalt": "scale", "svg.fonttype": "none"}):
        figure = Figure(figsize=(9.5, 4), layout="constrained")
        left, right = figure.subplots(1, 2)
        panel(left, "mining, 10 best of each note", "events", points_of_mining(options.set))
        queries = {record["queries"] for record in records(RANKS, options.set)}
        panel(right, f"ranks of {min(queries):,} targets", "notes in the pool", points_of_ranks(options.set))
        figure.savefig(options.output, metadata={"Date": None})
    if (
        options.output.suffix == ".svg"
    ):  # matplotlib leaves blanks behind its paths; files of the repository have none
        lines = options.output.read_text(encoding="utf-8").splitlines()
        options.output.write_text("".join(f"{line.rstrip()}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
