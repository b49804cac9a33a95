"""Indexes against the exact search: recall, queries a second, bytes, build time; as a table, a picture and JSON."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, product
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import JustifyMethod
from rich.table import Table
from torch import Tensor

from notellm.app.drawing import load_matplotlib
from notellm.app.stored import StoredVectors
from notellm.app.studies.figures import ENDINGS, draw, tidy
from notellm.errors import ConfigError
from notellm.indexes.blocks import Vectors
from notellm.indexes.found import Neighbours
from notellm.indexes.index import NeighbourIndex
from notellm.retrieval import neighbours

__all__ = ["check_picture", "compare", "draw_report", "table_of"]

Report = dict[str, Any]
"""What `compare` finds, as plain data."""

RUNS = 3
"""How often a search is timed; the median counts."""


def compare(
    paths: Sequence[Path],
    pool: StoredVectors,
    queries: StoredVectors,
    k: int,
    parameters: Sequence[str],
    *,
    candidates: int | None = None,
) -> Report:
    """Searches with every index and every parameter, and once exactly.

    Recall@k is the share of the ``k`` exact neighbours that are found. Of notes with equal scores any may be found: a
    note counts if its exact score is that of the exact search's last note, or more. A note is never its own neighbour.

    Args:
        paths: The indexes' files.
        pool: The notes of all these indexes.
        queries: What is looked for.
        k: Neighbours of each query.
        parameters: Such as ``nprobe=1,2,4``; an index is searched with every combination of the values of those that
            it has.
        candidates: If given, FAISS proposes so many notes, which are scored exactly; both are timed.

    Returns:
        ``k``, ``queries``, ``notes``, ``width``, ``threads``, ``exact`` and ``indexes``. An index has its file,
        factory, bytes, build seconds and ``searches``; a search its parameters, recall, seconds and queries a second.

    Raises:
        DataError: If an index is damaged, or is not of these notes.
        ConfigError: If no index has a parameter, or there are no queries.
    """
    if not len(pool) or not len(queries):
        raise ConfigError(
            f"notellm index report: there must be notes and queries, but are {len(pool)} and {len(queries)}"
        )
    names, asked = queries.ids(), queries.matrix()
    own = pool.rows_of(names)
    tried = _parsed(parameters)
    indexes = [NeighbourIndex.load(path) for path in paths]
    _refuse_unknown(indexes, tried)
    exact, seconds = _timed(lambda: neighbours(asked, pool.vectors, k, exclude=own), runs=1)
    found = []
    for path, index in zip(paths, indexes, strict=True):
        ordered = pool.of_index(index, path)
        searches = []
        for parameter in _those_of(index, tried):
            index.set_parameters(parameter)
            searches.append(
                _measured(index, asked, ordered, exact, names, candidates) | {"parameters": parameter}
            )
        found.append(_of_index(path, index) | {"searches": searches})
    return {
        "k": k,
        "queries": len(names),
        "notes": len(pool),
        "width": pool.width,
        "threads": torch.get_num_threads(),  # FAISS has as many
        "candidates": candidates,
        "exact": {"seconds": seconds, "queries_per_second": len(names) / seconds},
        "indexes": found,
    }


def _of_index(path: Path, index: NeighbourIndex) -> Report:
    size = path.stat().st_size
    return {
        "file": str(path),
        "factory": index.factory,
        "bytes": size,
        "bytes_per_note": size / max(1, len(index)),
        "build_seconds": index.training.seconds,
        "sample": index.training.sample,
        "seed": index.training.seed,
    }


def _measured(
    index: NeighbourIndex,
    asked: Tensor,
    vectors: Vectors,
    exact: Neighbours,
    names: list[str],
    candidates: int | None,
) -> Report:
    """Recall and time of one index with its present parameters; ``vectors`` are in its order."""
    k, own = exact.indices.shape[1], index.rows_of(names)

    def search() -> Neighbours:
        rescore = None if candidates is None else vectors
        return index.search(asked, k, exclude=own, rescore=rescore, candidates=candidates)

    found, seconds = _timed(search, runs=RUNS)
    scores = index.search(asked, k, exclude=own, rescore=vectors, candidates=candidates).scores
    possible = (exact.indices >= 0).sum(1)  # (Q): fewer than k in a small pool
    last = exact.scores.gather(
        1, (possible - 1).clamp(min=0)[:, None]
    )  # (Q, 1): the worst of the exact neighbours
    hits = ((scores >= last) & (found.indices >= 0)).sum(1)
    return {
        "recall": float((hits / possible.clamp(min=1)).mean()),
        "seconds": seconds,
        "queries_per_second": len(asked) / seconds,
    }


def _timed(search: Callable[[], Neighbours], runs: int) -> tuple[Neighbours, float]:
    """What a search finds, and the median of its seconds."""
    seconds = []
    for _ in range(runs):
        begin = time.perf_counter()
        found = search()
        seconds.append(time.perf_counter() - begin)
    return found, median(seconds)


def _parsed(parameters: Sequence[str]) -> dict[str, list[str]]:
    """The values of each parameter: of ``nprobe=1,2`` these are 1 and 2."""
    tried: dict[str, list[str]] = {}
    for text in parameters:
        match = re.fullmatch(r"(\w+)=(\d+(?:,\d+)*)", text)
        if match is None:
            raise ConfigError(
                f"--parameters must be a name and whole numbers, such as nprobe=1,2,4, but is {text!r}"
            )
        tried.setdefault(match[1], []).extend(match[2].split(","))
    return tried


def _refuse_unknown(indexes: Sequence[NeighbourIndex], tried: Mapping[str, list[str]]) -> None:
    for name, values in tried.items():
        refusals = [refusal for index in indexes if (refusal := _refusal(index, f"{name}={values[0]}"))]
        if len(refusals) == len(indexes):
            raise ConfigError(str(refusals[0]))


def _refusal(index: NeighbourIndex, parameter: str) -> ValueError | None:
    """Why an index does not take a parameter; None if it does."""
    try:
        index.set_parameters(parameter)
    except ValueError as error:
        return error
    return None


def _those_of(index: NeighbourIndex, tried: Mapping[str, list[str]]) -> list[str]:
    """Combinations of values of the parameters that an index has, so that none is left as a search before set it.

    If it has none of them, this is an empty one, which changes nothing.
    """
    families = [[f"{name}={value}" for value in values] for name, values in tried.items()]
    own = [values for values in families if _refusal(index, values[0]) is None]
    return [",".join(values) for values in product(*own)]


def table_of(report: Report) -> Table:
    """The report for a terminal: a row for each search, and one for the exact search."""
    title = (
        f"{report['queries']:,} queries among {report['notes']:,} notes of {report['width']} dimensions, "
        f"{report['threads']} thread{'s' * (report['threads'] != 1)}"
    )
    if report["candidates"] is not None:
        title += f"; {report['candidates']} candidates, scored exactly"
    table = Table(title=title)
    for column in (
        "index",
        "parameters",
        f"recall@{report['k']}",
        "queries/s",
        "MiB",
        "bytes/note",
        "built in s",
    ):
        side: JustifyMethod = "left" if column in ("index", "parameters") else "right"
        table.add_column(column, justify=side, overflow="fold")
    speed, size = report["exact"]["queries_per_second"], 4 * report["width"]  # bytes of a vector
    mib = f"{size * report['notes'] / 2**20:,.1f}"
    table.add_row("exact search", "", "1.000", f"{speed:,.0f}", mib, f"{size:,.0f}", "")
    for index in report["indexes"]:
        about = (
            f"{index['bytes'] / 2**20:,.1f}",
            f"{index['bytes_per_note']:,.0f}",
            f"{index['build_seconds']:,.1f}",
        )
        for search in index["searches"]:
            found = f"{search['recall']:.3f}", f"{search['queries_per_second']:,.0f}"
            table.add_row(index["factory"], search["parameters"], *found, *about)
    return table


def check_picture(path: Path) -> None:
    """Checks before any work that a picture can be drawn.

    Raises:
        ConfigError: If the file has another ending than .svg, .png or .pdf.
        NotSupportedError: If matplotlib is not installed.
    """
    if path.suffix not in ENDINGS:
        raise ConfigError(f"--plot must end in {', '.join(ENDINGS)}, but is {path}")
    load_matplotlib("notellm index report")


def draw_report(report: Report, path: Path) -> Path:
    """Draws recall over the search parameters, and over speed, a line for each index; see `check_picture`."""

    def paint(figure: Any) -> None:
        by_parameter, by_speed = figure.subplots(1, 2, sharey=True)
        for number, index in enumerate(report["indexes"]):
            _draw_index(by_parameter, by_speed, index, f"C{number % 10}")
        exact = report["exact"]["queries_per_second"]
        by_speed.axvline(exact, color="0.5", linestyle="--", linewidth=1, label="exact search")
        by_parameter.set(xlabel="search parameter", ylabel=f"recall@{report['k']}")
        by_speed.set(xlabel="queries a second", xscale="log")
        for axes in (by_parameter, by_speed):
            axes.xaxis.set_major_formatter(
                lambda value, _: f"{value:,.0f}"
            )  # that of a logarithm has $ and ^
            axes.xaxis.set_minor_formatter("")
            axes.legend(frameon=False, fontsize="small")
            tidy(axes, "both")

    title = f"{report['queries']:,} queries among {report['notes']:,} notes"
    return draw(path, title, (9.6, 4.2), paint)


def _draw_index(by_parameter: Any, by_speed: Any, index: Report, colour: str) -> None:
    """One index: a line over the values of its first parameter for those of the others; without any it is a level."""
    has_parameters = bool(index["searches"][0]["parameters"])
    for (label, searches), style in zip(_lines_of(index).items(), cycle(("-", "--", ":", "-."))):
        recalls = [search["recall"] for search in searches]
        speeds = [search["queries_per_second"] for search in searches]
        by_speed.plot(speeds, recalls, f"o{style}", color=colour, label=label)
        if has_parameters:
            values = [int(re.split("[=,]", search["parameters"])[1]) for search in searches]
            by_parameter.plot(values, recalls, f"o{style}", color=colour, label=label)
            by_parameter.set_xscale("log", base=2)
        else:
            by_parameter.axhline(recalls[0], color=colour, linestyle=":", label=label)


def _lines_of(index: Report) -> dict[str, list[Report]]:
    """Searches that differ in the first parameter alone, by the factory, that parameter's name, and the others."""
    lines: dict[str, list[Report]] = {}
    for search in index["searches"]:
        first, *others = search["parameters"].split(",")
        about = ", ".join(filter(None, (first.partition("=")[0], *others)))
        lines.setdefault(f"{index['factory']}: {about}" if about else index["factory"], []).append(search)
    return lines
