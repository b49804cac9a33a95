"""How the rows of a study differ from the row that they are compared with: over the same queries, notes and seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from notellm.app.studies.cell import TRAINED
from notellm.app.studies.columns import CellValues, Column
from notellm.app.studies.runs import Run
from notellm.app.studies.values import values_of
from notellm.evaluation import Comparison, Luck, Resampled, Trainings, compare, resample
from notellm.evaluation.moderation import moderated
from notellm.evaluation.resampling import Variance

MARGIN = 0.5
"""Percentage points: the default of what does not matter."""

POINTS = 100.0
"""Of a fraction of 1: the most by which a query can differ."""

SAMPLES = 2000

Key = tuple[str, str]
"""A row and a column."""


@dataclass(frozen=True)
class Paired:
    """The difference of a row from the one it is compared with, in percentage points.

    Attributes:
        resampled: Its mean over queries, targets or notes, and seeds, resampled.
        queries: How many queries, or notes, a seed has; the mean, if they differ.
        knows_targets: Whether the files of ranks say which queries share targets.
        trainings: Those behind it, see `trainings_of`.
    """

    resampled: Resampled
    queries: int
    knows_targets: bool
    trainings: Trainings


def differences(
    runs: Mapping[str, Sequence[Run]], base: str, columns: Sequence[str], *, samples: int = SAMPLES
) -> dict[Key, Paired]:
    """The difference of each row in each column of ranks or words, where both rows have runs on the same queries.

    Args:
        runs: By row, its runs.
        base: The row that the others are compared with.
        columns: Of the table; those that are no means over queries or notes have no difference.
        samples: Resamples.
    """
    read = {name: column for name in columns if (column := Column.read(name)) is not None}
    values = _Values()
    found = {
        (row, name): _paired(own, runs[base], column, values, samples)
        for row, own in runs.items()
        if row != base
        for name, column in read.items()
    }
    return {key: paired for key, paired in found.items() if paired is not None}


def compared(
    runs: Mapping[str, Sequence[Run]], base: str, own: str, columns: Sequence[str]
) -> tuple[dict[Key, Paired], Luck | None]:
    """The `differences` of a table, and what the study says of seeds, which does not depend on the table's base.

    So two rows have one interval, whichever of them the others are compared with. The study's own comparisons are
    asked first; where they say nothing, as when their base has one seed, those with another row are.

    Args:
        runs: By row, its runs.
        base: The row that this table compares with.
        own: The one that the study compares with.
        columns: Of the table.
    """
    paired = differences(runs, base, columns)
    rows = [own, *(row for row in runs if row != own)]
    found = (_luck(paired if row == base else differences(runs, row, columns, samples=1)) for row in rows)
    return paired, next(filter(None, found), None)


def comparisons(
    paired: Mapping[Key, Paired], margin: float = MARGIN, luck: Luck | None = None
) -> dict[Key, Comparison]:
    """Tests all differences of a table at once; what seeds do is told by themselves, if by no others."""
    found = compare(
        [of.resampled for of in paired.values()],
        margin=margin,
        unit=POINTS,
        trainings=_trainings(paired),
        luck=luck,
    )
    return dict(zip(paired, found, strict=True))


def variances(paired: Mapping[Key, Paired], luck: Luck | None = None) -> list[Variance]:
    """Of all differences of a table, with what seeds do estimated together, as `comparisons` does."""
    return moderated(_variances(paired), _trainings(paired), luck)


def luck_note(paired: Mapping[Key, Paired], luck: Luck | None = None) -> str:
    """A sentence on how far the intervals of a table's differences know how much trainings differ."""
    if not any(of.trainings.are_any for of in paired.values()):
        return ""
    if luck or _luck(paired):
        return (
            "The luck of training is in the intervals: how much seeds differ is estimated from all differences that a "
            "training is in, since a few seeds of one row say little of it, and one says nothing."
        )
    if any(of.seeds > 1 for of in _variances(paired)):
        return "The luck of training is in the intervals of rows with several seeds."
    return "With one seed each, the luck of training is in no interval."


def trainings_of(runs: Sequence[Run]) -> frozenset[str]:
    """Names of a row's finished trainings; none of a row that is not trained, whose seeds are those of the split."""
    return frozenset(run.cell.key for run in runs if run.is_done and run.cell.row.system in TRAINED)


def _variances(paired: Mapping[Key, Paired]) -> list[Variance]:
    return [of.resampled.variance for of in paired.values()]


def _luck(paired: Mapping[Key, Paired]) -> Luck | None:
    return Luck.of(_variances(paired), _trainings(paired))


def _trainings(paired: Mapping[Key, Paired]) -> list[Trainings]:
    return [of.trainings for of in paired.values()]


class _Values:
    """What queries contribute, read once: every row is compared with the same other one."""

    def __init__(self) -> None:
        self._found: dict[tuple[Path, str, Column], CellValues | None] = {}

    def of(self, run: Run, column: Column) -> CellValues | None:
        key = (run.cell.folder, run.cell.row.measured, column)
        if key not in self._found:
            self._found[key] = values_of(run.cell, column)
        return self._found[key]


def _paired(
    mine: Sequence[Run], theirs: Sequence[Run], column: Column, kept: _Values, samples: int
) -> Paired | None:
    values, targets, seeds, knows = [], [], [], True
    for seed, pair in enumerate(_pairs(mine, theirs)):
        a, b = (kept.of(run, column) for run in pair)
        if a is None or b is None or not _fit(pair, a, b) or (column.is_macro and a.targets is None):
            return None
        off = 100 * (a.values - b.values)
        counting = np.isfinite(off)
        values.append(off[counting])
        targets.append(a.labels[counting])
        seeds.append(np.full(len(values[-1]), seed))
        knows = knows and a.targets is not None
    if not sum(map(len, values)):
        return None
    label = [np.concatenate(of) for of in (targets, seeds)]
    resampled = resample(np.concatenate(values), *label, macro=column.is_macro, samples=samples)
    queries = round(np.mean([len(of) for of in values]))
    return Paired(resampled, queries, knows, Trainings(trainings_of(mine), trainings_of(theirs)))


def _fit(pair: tuple[Run, Run], a: CellValues, b: CellValues) -> bool:
    """Whether two runs have the same queries, and so the same pool, of which notes are drawn to write words for."""
    names = {run.entry["queries"] for run in pair if run.entry}
    if len(names) != 1 or len(a.values) != len(b.values):
        return False
    return a.targets is None or b.targets is None or np.array_equal(a.targets, b.targets)


def _pairs(mine: Sequence[Run], theirs: Sequence[Run]) -> Iterator[tuple[Run, Run]]:
    """The finished runs of two rows with the same seed; a row that has the same numbers with every seed fits any."""
    done = [{run.cell.seed: run for run in of if run.is_done} for of in (mine, theirs)]
    if len(mine) > 1 and len(theirs) > 1:
        yield from ((done[0][seed], done[1][seed]) for seed in sorted(done[0].keys() & done[1].keys()))
    elif len(mine) > 1:
        yield from ((run, other) for run in done[0].values() for other in done[1].values())
    else:
        yield from ((run, other) for other in done[1].values() for run in done[0].values())
