"""What the templates of findings may say: numbers of studies, computed as `notellm table` does, and facts of ledgers.

A number prints itself as tables show it, so a template formats nothing and computes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from findings_difference import Difference
from findings_ledger import LedgerRecords, Percent
from findings_pictures import Picture

from notellm.app.studies import Ledger, Study, Table, load_study, make_table
from notellm.app.studies.cell import TRAINED
from notellm.app.studies.columns import CellValues, Column
from notellm.app.studies.differences import MARGIN, POINTS, SAMPLES, differences, trainings_of
from notellm.app.studies.ranks import pool_of
from notellm.app.studies.runs import Run, runs_of
from notellm.app.studies.table import Score, TableRow
from notellm.app.studies.values import values_of
from notellm.evaluation import Resampled, Trainings, compare, resample
from notellm.models.backbone import backbone_name

RESULTS = "experiments/results"
SAME = 1e-12
"""Two sums of the same numbers differ by less."""


class StudyRecords:
    """What a study's ledger and ranks say.

    Args:
        study: The study.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self._tables: dict[str, Table] = {}
        self.pictures: dict[str, Picture] = {}

    @cached_property
    def _runs(self) -> Mapping[str, Sequence[Run]]:
        return runs_of(self._study, self._study.ledger.newest())

    @cached_property
    def rows(self) -> list[str]:
        """Keys of the rows that have been run."""
        return [key for key, runs in self._runs.items() if any(run.is_done for run in runs)]

    @property
    def not_run(self) -> list[str]:
        """Names of the rows that have not been run."""
        return [row.name for row in self._study.rows if row.key not in self.rows]

    @property
    def is_run(self) -> bool:
        """Whether rows have been run that answer its question: one that is trained, and the one it is compared with.

        The former must be the study's own work, since another study may have run some of its rows; or all that are
        trained are there.
        """
        trained = [row.key for row in self._study.rows if row.system in TRAINED]
        others = [key for key in trained if key != self._study.against and key in self.rows]
        by = {run.entry.get("study") for key in others for run in self._done(key)}  # type: ignore[union-attr]
        is_own = self._study.name in by or set(trained) <= set(self.rows)
        return self._study.against in self.rows and bool(others) and is_own

    @property
    def comparisons(self) -> int:
        """How many comparisons a table makes together."""
        table = self._table(self._study.against)
        return sum(found is not None for row in table.rows for found in row.comparisons.values())

    @property
    def model(self) -> str:
        """The language model of its runs."""
        return ", ".join(
            {backbone_name(c.model.path, c.model.layers): None for c in self._configs(uses_model=True)}
        )

    def score(self, row: str, column: str) -> Score:
        """The mean over seeds with, of several seeds, their standard deviation."""
        found = self._row(row).scores[column]
        if found is None:
            raise ValueError(f"findings: {self._study.name}, {row} must have been run, but has not")
        return found

    def mean(self, row: str, column: str) -> Percent:
        """The mean over seeds."""
        return Percent(self.score(row, column).mean)

    def means(self, column: str) -> list[Percent]:
        """The means of all rows, from top to bottom."""
        return [self.mean(row, column) for row in self.rows]

    def by_seed(self, row: str, column: str) -> list[Percent]:
        """The value of each seed."""
        return [
            Percent(100 * run.entry["metrics"][run.cell.row.metric(column)])  # type: ignore[index]
            for run in self._done(row)
        ]

    def paper(self, row: str, column: str) -> Percent:
        """The paper's number, from the study's file."""
        return Percent(self._row(row).paper[column])

    def papers(self, column: str) -> list[Percent]:
        """The paper's numbers of all rows that have one."""
        return [Percent(row.paper[column]) for row in self._study.rows if column in row.paper]

    def paper_difference(self, row: str, column: str, against: str) -> Percent:
        """One of the paper's numbers minus another, in points."""
        return Percent(self.paper(row, column) - self.paper(against, column))

    @property
    def seeds_named(self) -> int:
        """How many seeds the study names."""
        return len(self._study.seeds)

    def seeds(self, row: str) -> int:
        """How many seeds have been run."""
        return len(self._done(row))

    def seeds_of(self, row: str, against: str) -> int:
        """How many seeds both rows have."""
        return len(
            {run.cell.seed for run in self._done(row)} & {run.cell.seed for run in self._done(against)}
        )

    def minutes(self, row: str) -> Percent:
        """How long a training took, a first model's included; the mean over seeds."""
        seconds = [run.entry["training_seconds"] for run in self._done(row)]  # type: ignore[index]
        return Percent(float(np.mean(seconds)) / 60)

    @property
    def has_first_seeds(self) -> bool:
        """Whether each row's seeds are the first ones of the study, so that lists by seed stand side by side."""
        done = [[run.cell.seed for run in self._done(row)] for row in self.rows]
        return all(seeds == list(self._study.seeds[: len(seeds)]) for seeds in done)

    def difference(self, row: str, column: str, against: str = "") -> Difference:
        """A row minus another: by default minus the one that the study compares with.

        Two rows have one difference, with one interval and one verdict: that of the study's own table, if it has it.
        """
        if row == self._study.against and against:
            return self.difference(against, column).reversed(row)
        found = self._row(row, against or self._study.against).comparisons.get(column)
        if found is None:
            raise ValueError(
                f"findings: {self._study.name}, {row} must be comparable in {column}, but is not"
            )
        return Difference(row, found)

    def differences(self, column: str) -> list[Difference]:
        """All rows but the one compared with, from top to bottom."""
        return [self.difference(row, column) for row in self.rows if row != self._study.against]

    def verdict_by_own_seeds(self, row: str, column: str) -> str:
        """What `difference` would be called if each comparison knew of seeds what its own ones tell, and no more."""
        return self._by_own_seeds[row, column].verdict

    @cached_property
    def _by_own_seeds(self) -> dict[tuple[str, str], Difference]:
        """All comparisons of the table, as it resamples and corrects them, without what others tell of seeds."""
        paired = differences(self._runs, self._study.against, self._study.columns)
        found = compare([of.resampled for of in paired.values()], margin=MARGIN, unit=POINTS)
        return {key: Difference(key[0], one) for key, one in zip(paired, found, strict=True)}

    def queries(self, row: str, column: str) -> int:
        """How many queries a run of the row has in a column of ranks."""
        return len(_values_of(self._done(row)[0], column).values)

    def queries_by_seed(self, row: str) -> list[int]:
        """How many queries each seed has: a split of its own gives it queries of its own."""
        return [len(_values_of(run, "mrr").values) for run in self._done(row)]

    def targets_by_seed(self, row: str) -> list[int]:
        """How many targets these have."""
        return [len(np.unique(_values_of(run, "mrr").labels)) for run in self._done(row)]

    def pool(self, row: str) -> int:
        """How many notes the queries of a row's first seed are ranked among."""
        return pool_of(self._done(row)[0].cell)

    def largest_target(self, row: str) -> list[Percent]:
        """The share of each seed's queries that have the most frequent target."""
        labels = [_values_of(run, "mrr").labels for run in self._done(row)]
        return [Percent(100 * np.unique(of, return_counts=True)[1].max() / len(of)) for of in labels]

    @property
    def knows_targets(self) -> bool:
        """Whether all files of ranks say which queries share targets."""
        found = [_values_of(run, "mrr") for row in self.rows for run in self._done(row)]
        return all(of.targets is not None for of in found)

    def option(self, key: str) -> Any:
        """The value of an option, which all runs must share."""
        return _shared(key, self._configs())

    def option_of(self, row: str, key: str) -> str:
        """The number that an option has in the runs of a row."""
        return f"{_shared(key, [run.cell.config for run in self._done(row)]):g}"

    def searched(self, row: str, key: str) -> Any:
        """The value of an option in the runs of a row's search."""
        return _shared(key, [cell.config for cell in self._study.searches[row].cells])

    def rates(self, row: str) -> list[str]:
        """The values that a row's search tried."""
        return [f"{value:g}" for value in self._study.searches[row].options.values]

    def rate(self, row: str) -> str:
        """The value that a row's search found."""
        return f"{self._study.choices()[row]:g}"

    def at_rate(self, row: str, rate: str) -> Percent:
        """What a row's search measured at a value."""
        search, newest = self._study.searches[row], self._study.ledger.newest()
        cell = search.cells[self.rates(row).index(rate)]
        return Percent(100 * newest[cell.key]["metrics"][search.options.by])

    def exposure(self, row: str, k: int) -> Difference:
        """Recall@K of queries with a little seen target minus that with a much seen one, in the same runs."""
        return self._by_exposure[row, k]

    def exposures(self, k: int) -> list[Difference]:
        """The same of all rows."""
        return [self._by_exposure[row, k] for row in self.rows]

    @cached_property
    def _by_exposure(self) -> dict[tuple[str, int], Difference]:
        """All rows and cut-offs are tested together."""
        cutoffs = self.option("evaluation.ks")
        resampled = {(row, k): _low_minus_high(self._done(row), k) for row in self.rows for k in cutoffs}
        behind = {row: Trainings(trainings_of(self._runs[row])) for row in self.rows}
        found = compare(
            list(resampled.values()),
            margin=MARGIN,
            unit=POINTS,
            trainings=[behind[row] for row, _ in resampled],
        )
        return {key: Difference(key[0], one) for key, one in zip(resampled, found, strict=True)}

    def picture(self, kind: str) -> str:
        """Where its picture of a kind is, as seen from the folder ``experiments``; it must be of these records."""
        self.pictures[kind] = Picture.of(self._study, kind, self._runs)
        return str(self.pictures[kind].path.relative_to("experiments"))

    def table_files(self) -> Iterator[tuple[Path, str]]:
        """The files of the study's table, and what they must hold: in Markdown, and as CSV."""
        table, path = self._table(self._study.against), self._study.ledger.path
        yield path.with_name(f"{self._study.name}.md"), table.markdown()
        yield path.with_name(f"{self._study.name}.csv"), table.csv()

    def disagreements(self) -> Iterator[str]:
        """Metrics of the ledger that are not those of the kept ranks: one of the two has been changed."""
        for run in (run for row in self.rows for run in self._done(row)):
            for name, kept in run.entry["metrics"].items():  # type: ignore[index]
                column = name.removeprefix(f"{run.cell.row.variant}.") if run.cell.row.variant else name
                read = Column.read(column)
                if run.cell.row.metric(column) != name or read is None or read.is_macro:
                    continue
                if read.is_of_words and values_of(run.cell, read) is None:  # older than this file
                    continue
                found = _values_of(run, column).mean
                if found is None or abs(found - kept) > SAME:
                    shown = "nothing" if found is None else f"{found:.6f}"
                    yield f"{run.cell.folder}: {name} is {shown} by what it keeps and {kept:.6f} in the ledger"

    def _done(self, row: str) -> list[Run]:
        return [run for run in self._runs[row] if run.is_done]

    def _configs(self, *, uses_model: bool = False) -> list[Any]:
        done = [run.cell for row in self.rows for run in self._done(row)]
        return [cell.config for cell in done if cell.uses_model or not uses_model]

    def _row(self, row: str, against: str = "") -> TableRow:
        table = self._table(against or self._study.against)
        keys = [of.key for of in self._study.rows]
        if row not in keys:
            raise ValueError(f"findings: rows of {self._study.name} are {', '.join(keys)}, but not {row}")
        return table.rows[keys.index(row)]

    def _table(self, against: str) -> Table:
        if against not in self._tables:
            self._tables[against] = make_table(self._study, against=against)
        return self._tables[against]


class Records:
    """All studies that a template names; each is read once.

    Args:
        loaded: Studies that are already read, by what names them: their folders may hold other results by now.
    """

    def __init__(self, loaded: dict[Any, Study] | None = None) -> None:
        self.loaded = {} if loaded is None else loaded
        self._found: dict[Any, StudyRecords] = {}

    def study(
        self,
        name: str,
        scale: str = "laptop",
        folder: str = RESULTS,
        overrides: Sequence[str] = (),
        seeds: Sequence[int] | None = None,
    ) -> StudyRecords | None:
        """A study of ``experiments/conf``; None as long as it has not been run (`StudyRecords.is_run`)."""
        if not (Path(folder) / scale / "ledger.jsonl").exists():
            return None
        key = (name, scale, folder, tuple(overrides), None if seeds is None else tuple(seeds))
        if key not in self.loaded:
            self.loaded[key] = load_study(name, scale=scale, folder=folder, overrides=overrides, seeds=seeds)
        if key not in self._found:
            self._found[key] = StudyRecords(self.loaded[key])
        return self._found[key] if self._found[key].is_run else None

    def not_run(self, names: Sequence[str], scale: str) -> list[str]:
        """Those of some studies that have not been run."""
        return [name for name in names if self.study(name, scale) is None]

    def whole_studies(self) -> list[StudyRecords]:
        """Those that have been asked for with all their seeds, and have been run: their tables are files."""
        return [found for (*_, seeds), found in self._found.items() if seeds is None and found.is_run]

    def pictures(self) -> list[Picture]:
        """Those that have been asked for."""
        return [picture for found in self._found.values() for picture in found.pictures.values()]

    def ledger(self, folder: str) -> LedgerRecords:
        """The ledger of a folder."""
        return LedgerRecords(Ledger(Path(folder) / "ledger.jsonl"))


def _shared(key: str, configs: Sequence[Any]) -> Any:
    """The one value that a key has in configurations."""
    found: list[Any] = []
    for value in _values(key, configs):
        found += [value] if value not in found else []
    if len(found) != 1:
        raise ValueError(f"findings: {key} must have one value in all runs, but has {found}")
    return found[0]


def _values(key: str, configs: Sequence[Any]) -> Iterator[Any]:
    for config in configs:
        for name in key.split("."):
            config = getattr(config, name)
        yield config


def _values_of(run: Run, column: str) -> CellValues:
    """What the queries of a run contribute to a column."""
    read = Column.read(column)
    found = None if read is None else values_of(run.cell, read)
    if found is None:
        raise ValueError(f"findings: {run.cell.row.key} must have ranks for {column}, but has none")
    return found


def _low_minus_high(runs: Sequence[Run], k: int) -> Resampled:
    """Recall@K of little seen targets minus that of much seen ones, in points.

    No query is in both groups, so each counts by how far it moves the difference of their means: whole targets and
    seeds are then drawn as in tables.
    """
    sides = [[_values_of(run, f"{side}.recall@{k}") for run in runs] for side in ("low", "high")]
    means = [100 * float(np.concatenate([of.values for of in side]).mean()) for side in sides]
    counts = [sum(len(of.values) for of in side) for side in sides]
    values, targets, seeds = [], [], []
    for sign, mean, count, side in zip((1, -1), means, counts, sides, strict=True):
        for seed, found in enumerate(side):
            values.append(sign * (100 * found.values - mean) * sum(counts) / count)
            # queries whose targets are not known have numbers of their own, apart from the other group's
            targets.append(found.labels + (10**9 if found.targets is None and sign < 0 else 0))
            seeds.append(np.full(len(found.values), seed))
    moves = np.concatenate(values) + means[0] - means[1]
    return resample(moves, np.concatenate(targets), np.concatenate(seeds), samples=SAMPLES)
