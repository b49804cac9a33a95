"""What a study is: rows, each a change of one configuration, and seeds."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from notellm.config import Config, compose, compose_study, replace
from notellm.errors import ConfigError
from notellm.run import COST_KEYS
from notellm.studies.ledger import Entry, Ledger
from notellm.studies.search import Search, SearchOptions

TRAINED = ("trained", "sentence_bert")
"""The systems that are trained; all others know neither a seed nor options of training."""

METRICS = {
    "mrr": "MRR",
    "accuracy": "Acc.",
    "illusory": "Ill.",
    "closed_set": "Closed-set Acc.",
    "bleu4": "BLEU-4",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "hashtag_f1": "Hashtag F1",
}
"""Columns besides ``recall@K``, and what tables call them."""

SET_BY_US = ("seed", "name", "run_dir", "evaluation.systems", "experiment", "scale")


@dataclass(frozen=True)
class Row:
    """A row of a study's table.

    Attributes:
        key: Its name in folders and in the ledger.
        name: What the table calls it.
        overrides: What it changes, in Hydra's grammar.
        system: Whose numbers it shows: ``"trained"``, or a baseline that needs no training.
        paper: The paper's numbers, by column, in percent; on private data, with a 7B model.
        tune: What its search has otherwise than the study's.
    """

    key: str
    name: str
    overrides: tuple[str, ...] = ()
    system: str = "trained"
    paper: Mapping[str, float] = field(default_factory=dict)
    tune: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """One run of a study: a row with a seed.

    Attributes:
        row: The row.
        seed: Of the training; the split of the data has its own.
        config: The complete configuration.
        searched: The override that a run of a search tries; empty for a cell of the table.
        is_open: Whether the row's search has not found a value yet: then it is not to be run.
    """

    row: Row
    seed: int
    config: Config
    searched: str = ""
    is_open: bool = False

    @property
    def key(self) -> str:
        """A name for all that decides the numbers: a finished run of this name need not be run again."""
        tree = self.config.to_dict()
        for key in ("name", "run_dir", *COST_KEYS):
            group, _, name = key.rpartition(".")
            del (tree[group] if group else tree)[name]
        if self.row.system not in TRAINED:
            for group in ("train", "loss", "lora", "seed"):
                del tree[group]
        return hashlib.blake2b(json.dumps([self.row.system, tree]).encode(), digest_size=8).hexdigest()

    @property
    def folder(self) -> Path:
        """Where it runs."""
        return Path(self.config.run_dir)

    @property
    def error_file(self) -> Path:
        """Where the traceback of a failed run is."""
        return self.folder.with_name(f"{self.folder.name}.error.txt")


@dataclass(frozen=True)
class Study:
    """A table to be made.

    Attributes:
        name: As in ``experiment=NAME``.
        scale: The sizes: they change what it costs and how sure it is, never the method.
        title: Over the table.
        columns: Metrics of the table, in order; see `notellm.studies.METRICS`.
        rows: From top to bottom.
        seeds: Each row that is trained is run with each of them, others with the first.
        against: The row that the others are compared with, query by query.
        cells: Seed by seed, all rows with each: an interrupted study has whole tables of fewer seeds.
        searches: By row: the search that its option comes from.
        ledger: What has been run in its folder.
    """

    name: str
    scale: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    against: str
    cells: tuple[Cell, ...]
    searches: Mapping[str, Search]
    ledger: Ledger

    @property
    def search_cells(self) -> list[Cell]:
        """The runs of all searches, each once."""
        cells = [cell for search in self.searches.values() for cell in search.cells]
        return list({cell.key: cell for cell in cells}.values())

    def choices(self, newest: Mapping[str, Entry] | None = None) -> dict[str, Any]:
        """The value that each row's search has found; rows whose search is not finished are left out."""
        newest = self.ledger.newest() if newest is None else newest
        found = {row: search.choice(newest) for row, search in self.searches.items()}
        return {row: value for row, value in found.items() if value is not None}

    def settled(self) -> Study:
        """The study with what its searches have found by now."""
        found = self.choices()
        return dataclasses.replace(self, cells=tuple(self._settle(cell, found) for cell in self.cells))

    def _settle(self, cell: Cell, found: Mapping[str, Any]) -> Cell:
        search = self.searches.get(cell.row.key)
        if search is None:
            return cell
        if cell.row.key not in found:
            return dataclasses.replace(cell, is_open=True)
        config = replace(cell.config, {search.options.key: found[cell.row.key]})
        return _placed(Cell(cell.row, cell.seed, config), cell.folder.parent)


def load_study(
    name: str,
    *,
    scale: str = "laptop",
    overrides: Sequence[str] = (),
    folder: str | Path = "runs/studies",
    seeds: Sequence[int] | None = None,
) -> Study:
    """Reads a study and composes every configuration that it will run.

    Args:
        name: The experiment, a file ``experiment/NAME.yaml`` with a ``study`` node.
        scale: An option of the group ``scale``.
        overrides: Changes to all rows, in Hydra's grammar.
        folder: Runs and ledger go to ``folder/SCALE``; a cell that several studies have is run once.
        seeds: Instead of the study's own.

    Raises:
        ConfigError: If there is no such study, or a row's configuration is wrong; names the row.
    """
    taken = [text for text in overrides if text.lstrip("+~").split("=")[0] in SET_BY_US]
    if taken:
        raise ConfigError(f"{taken[0]}: is set by the study itself; try --seeds, or another row")
    node = compose_study([f"experiment={name}", f"scale={scale}", *overrides])
    if node is None or "rows" not in node:
        raise ConfigError(f"experiment={name}: must be a study, but its file has no `study` node with rows")
    return make_study(
        name, node, scale=scale, overrides=[f"experiment={name}", *overrides], folder=folder, seeds=seeds
    )


def make_study(
    name: str,
    node: Mapping[str, Any],
    *,
    scale: str = "laptop",
    overrides: Sequence[str] = (),
    folder: str | Path = "runs/studies",
    seeds: Sequence[int] | None = None,
) -> Study:
    """Makes a study of plain data, as they stand in a file's ``study`` node, and composes every configuration.

    Args:
        name: What the ledger calls it.
        node: ``rows`` and, if wanted, ``title``, ``columns``, ``seeds``, ``against`` and ``tune``, which changes the
            scale's own.
        scale: As in `load_study`.
        overrides: Changes to all rows, in Hydra's grammar.
        folder: As in `load_study`.
        seeds: Instead of the node's own.

    Raises:
        ConfigError: If the node or a row's configuration is wrong; names the row.

    Example:
        >>> study = make_study("tau", {"rows": {f"tau_{t}": {"set": [f"model.tau={t}"]} for t in (2, 3, 4)}})
        >>> [cell.config.model.tau for cell in study.cells]
        [2.0, 3.0, 4.0]
    """
    rows = _rows(name, node)
    common = [f"scale={scale}", *overrides]
    tune = {**(compose_study([f"scale={scale}"]) or {}).get("tune", {}), **node.get("tune", {})}
    root = Path(folder) / scale
    chosen = tuple(node.get("seeds", [0]) if seeds is None else seeds)
    cells = (
        _cell(root, row, [*common, *row.overrides, f"seed={seed}"], seed)
        for place, seed in enumerate(chosen)
        for row in rows
        if place == 0 or row.system in TRAINED
    )
    study = Study(
        name=name,
        scale=scale,
        title=str(node.get("title", name)),
        columns=tuple(node.get("columns", ["recall@avg", "mrr"])),
        rows=rows,
        seeds=chosen,
        against=_against(name, node, rows),
        cells=tuple(cells),
        searches=_searches(root, name, tune, rows, common),
        ledger=Ledger(root / "ledger.jsonl"),
    )
    _check_distinct(study)
    _check_columns(study)
    return study.settled()


def _check_distinct(study: Study) -> None:
    rows: dict[str, str] = {}
    for cell in study.cells:
        other = rows.setdefault(cell.key, cell.row.key)
        if other != cell.row.key:
            raise ConfigError(
                f"experiment={study.name}: rows must differ, but {other} and {cell.row.key} come to the same at "
                f"scale={study.scale}"
            )


def _check_columns(study: Study) -> None:
    ks = study.cells[0].config.evaluation.ks
    recalls = {f"{side}recall@{k}" for k in [*ks, "avg"] for side in ("", "low.", "high.")}
    for search in study.searches.values():
        _check_metric(study, search)
    for column in study.columns:
        if column not in recalls | set(METRICS):
            raise ConfigError(
                f"experiment={study.name}: columns must be measured, but {column} is not; there are recall@K for K of "
                f"evaluation.ks={ks} and avg, their mean (with low. or high. before it: by exposure), "
                f"{', '.join(METRICS)}"
            )


def _check_metric(study: Study, search: Search) -> None:
    """A search must measure what it chooses by, and more of it must be better."""
    evaluation, by = search.cells[0].config.evaluation, search.options.by
    known = {f"recall@{k}" for k in [*evaluation.ks, "avg"]} | {"mrr"}
    if evaluation.generation_notes and search.cells[0].row.system == "trained":
        known |= set(METRICS) - {"illusory"}
    if by not in known:
        raise ConfigError(
            f"experiment={study.name}, row {search.row}: tune.by must be a metric that the search measures and of "
            f"which more is better, but is {by!r}; there are {', '.join(sorted(known))} (generated words need "
            "tune.set=[evaluation.generation_notes=...])"
        )


def _rows(name: str, node: Mapping[str, Any]) -> tuple[Row, ...]:
    rows = []
    for key, given in (node.get("rows") or {}).items():
        unknown = set(given) - {"name", "set", "system", "paper", "tune"}
        if unknown:
            raise ConfigError(
                f"experiment={name}: row {key} may hold name, set, system, paper and tune, but holds "
                f"{', '.join(unknown)}"
            )
        rows.append(
            Row(
                key=str(key),
                name=str(given.get("name", key)),
                overrides=tuple(map(str, given.get("set", []))),
                system=str(given.get("system", "trained")),
                paper=given.get("paper", {}),
                tune=given.get("tune", {}),
            )
        )
    if not rows:
        raise ConfigError(f"experiment={name}: must have rows, but has none")
    return tuple(rows)


def _against(name: str, node: Mapping[str, Any], rows: Sequence[Row]) -> str:
    against = str(node.get("against", rows[0].key))
    if against not in {row.key for row in rows}:
        raise ConfigError(f"experiment={name}: against must be one of its rows, but is {against!r}")
    return against


def _searches(
    root: Path, name: str, tune: Mapping[str, Any], rows: Sequence[Row], common: Sequence[str]
) -> dict[str, Search]:
    """The search of every row that is trained, by its key; a row whose option is set already has none."""
    tuned = {row.key: row for row in rows if row.system in TRAINED}
    options = {
        key: SearchOptions.read(tune, row.tune, f"experiment={name}, row {key}") for key, row in tuned.items()
    }
    options = {
        key: own
        for key, own in options.items()
        if own.key and own.values and not _sets([*common, *tuned[key].overrides], own.key)
    }
    searches = {
        key: Search(own, key, _search_cells(root, tuned[key], own, common))
        for key, own in options.items()
        if not own.like
    }
    for key, own in options.items():
        if own.like and own.like not in searches:
            raise ConfigError(
                f"experiment={name}: row {key} must be tuned like a row that is searched, but {own.like} is not"
            )
    return {key: searches[own.like or key] for key, own in options.items()}


def _sets(overrides: Sequence[str], key: str) -> bool:
    return any(text.lstrip("+").split("=")[0] == key for text in overrides)


def _search_cells(root: Path, row: Row, options: SearchOptions, common: Sequence[str]) -> list[Cell]:
    cells = []
    for value in options.values:
        tried = f"{options.key}={value}"
        changes = [*common, *row.overrides, *options.set, tried, "data.held_out=validation"]
        cells.append(_cell(root, row, [*changes, f"seed={options.seed}"], options.seed, tried))
    return cells


def _cell(root: Path, row: Row, changes: Sequence[str], seed: int, searched: str = "") -> Cell:
    try:
        config = compose([*changes, f"evaluation.systems=[{row.system}]"])
    except ConfigError as error:
        raise ConfigError(f"row {row.key}: {error}") from None
    return _placed(Cell(row, seed, config, searched), root)


def _placed(cell: Cell, root: Path) -> Cell:
    """The cell with the folder that its key names."""
    key = cell.key
    return dataclasses.replace(cell, config=replace(cell.config, {"name": key, "run_dir": str(root / key)}))
