"""How the rows of a study differ from the row that they are compared with: over the same queries, targets and seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from notellm.app.studies.ranks import CellValues, Column, values_of
from notellm.app.studies.runs import Run
from notellm.evaluation import Comparison, Resampled, compare, resample

MARGIN = 0.5
"""Percentage points: the default of what does not matter."""

SAMPLES = 2000

Key = tuple[str, str]
"""A row and a column."""


@dataclass(frozen=True)
class Paired:
    """The difference of a row from the one it is compared with, in percentage points.

    Attributes:
        resampled: Its mean over queries, or targets, and seeds, resampled.
        queries: How many queries each seed has.
        knows_targets: Whether the files of ranks say which queries share targets.
    """

    resampled: Resampled
    queries: int
    knows_targets: bool


def differences(runs: Mapping[str, Sequence[Run]], base: str, columns: Sequence[str]) -> dict[Key, Paired]:
    """The difference of each row in each column of ranks, where the finished runs of both answer the same queries.

    Args:
        runs: By row, its runs.
        base: The row that the others are compared with.
        columns: Of the table; those that are no metrics of ranks have no difference.
    """
    read = {name: column for name in columns if (column := Column.read(name)) is not None}
    values = _Values()
    found = {
        (row, name): _paired(own, runs[base], column, values)
        for row, own in runs.items()
        if row != base
        for name, column in read.items()
    }
    return {key: paired for key, paired in found.items() if paired is not None}


def comparisons(paired: Mapping[Key, Paired], margin: float = MARGIN) -> dict[Key, Comparison]:
    """Tests all differences of a table at once."""
    found = compare([of.resampled for of in paired.values()], margin=margin)
    return dict(zip(paired, found, strict=True))


class _Values:
    """What queries contribute, read once: every row is compared with the same other one."""

    def __init__(self) -> None:
        self._found: dict[tuple[Path, str, Column], CellValues | None] = {}

    def of(self, run: Run, column: Column) -> CellValues | None:
        key = (run.cell.folder, run.cell.row.measured, column)
        if key not in self._found:
            self._found[key] = values_of(run.cell, column)
        return self._found[key]


def _paired(mine: Sequence[Run], theirs: Sequence[Run], column: Column, kept: _Values) -> Paired | None:
    values, targets, seeds, knows = [], [], [], True
    for seed, pair in enumerate(_pairs(mine, theirs)):
        a, b = (kept.of(run, column) for run in pair)
        if a is None or b is None or not _fit(pair, a, b) or (column.is_macro and a.targets is None):
            return None
        values.append(100 * (a.values - b.values))
        targets.append(a.labels)
        seeds.append(np.full(len(a.values), seed))
        knows = knows and a.targets is not None
    if not values or not len(values[0]):
        return None
    label = [np.concatenate(of) for of in (targets, seeds)]
    resampled = resample(np.concatenate(values), *label, macro=column.is_macro, samples=SAMPLES)
    return Paired(resampled, len(values[0]), knows)


def _fit(pair: tuple[Run, Run], a: CellValues, b: CellValues) -> bool:
    names = {run.entry["queries"] for run in pair if run.entry}
    return len(names) == 1 and len(a.values) == len(b.values)


def _pairs(mine: Sequence[Run], theirs: Sequence[Run]) -> Iterator[tuple[Run, Run]]:
    """The finished runs of two rows with the same seed; a row without seeds fits any."""
    done = [{run.cell.seed: run for run in of if run.is_done} for of in (mine, theirs)]
    if len(mine) > 1 and len(theirs) > 1:
        yield from ((done[0][seed], done[1][seed]) for seed in sorted(done[0].keys() & done[1].keys()))
    elif len(mine) > 1:
        yield from ((run, other) for run in done[0].values() for other in done[1].values())
    else:
        yield from ((run, other) for other in done[1].values() for run in done[0].values())
