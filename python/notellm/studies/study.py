"""What a study is: rows, each a change of one configuration, and seeds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from notellm.config import Config, compose, compose_study, replace
from notellm.errors import ConfigError
from notellm.run import COST_KEYS

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
    """

    key: str
    name: str
    overrides: tuple[str, ...] = ()
    system: str = "trained"
    paper: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """One run of a study: a row with a seed.

    Attributes:
        row: The row.
        seed: Of the training; the split of the data has its own.
        config: The complete configuration.
    """

    row: Row
    seed: int
    config: Config

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
        cells: Row by row, all seeds of each.
    """

    name: str
    scale: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    against: str
    cells: tuple[Cell, ...]


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
    common = [f"experiment={name}", f"scale={scale}", *overrides]
    node = compose_study(common)
    if node is None:
        raise ConfigError(f"experiment={name}: must be a study, but its file has no `study` node")
    rows = _rows(name, node)
    chosen = tuple(node.get("seeds", [0]) if seeds is None else seeds)
    root = Path(folder) / scale
    study = Study(
        name=name,
        scale=scale,
        title=str(node.get("title", name)),
        columns=tuple(node.get("columns", ["recall@100", "mrr"])),
        rows=rows,
        seeds=chosen,
        against=_against(name, node, rows),
        cells=tuple(_cell(root, row, seed, common) for row in rows for seed in _seeds_of(row, chosen)),
    )
    _check_distinct(study)
    _check_columns(study)
    return study


def _seeds_of(row: Row, seeds: Sequence[int]) -> Sequence[int]:
    return seeds if row.system in TRAINED else seeds[:1]


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
    recalls = {f"{side}recall@{k}" for k in ks for side in ("", "low.", "high.")}
    for column in study.columns:
        if column not in recalls | set(METRICS):
            raise ConfigError(
                f"experiment={study.name}: columns must be measured, but {column} is not; there are recall@K for K of "
                f"evaluation.ks={ks} (with low. or high. before it: by exposure), {', '.join(METRICS)}"
            )


def _rows(name: str, node: Mapping[str, Any]) -> tuple[Row, ...]:
    rows = []
    for key, given in (node.get("rows") or {}).items():
        unknown = set(given) - {"name", "set", "system", "paper"}
        if unknown:
            raise ConfigError(
                f"experiment={name}: row {key} may hold name, set, system and paper, but holds {', '.join(unknown)}"
            )
        rows.append(
            Row(
                key=str(key),
                name=str(given.get("name", key)),
                overrides=tuple(map(str, given.get("set", []))),
                system=str(given.get("system", "trained")),
                paper=given.get("paper", {}),
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


def _cell(root: Path, row: Row, seed: int, common: Sequence[str]) -> Cell:
    try:
        config = compose([*common, *row.overrides, f"seed={seed}", f"evaluation.systems=[{row.system}]"])
    except ConfigError as error:
        raise ConfigError(f"row {row.key}: {error}") from None
    key = Cell(row, seed, config).key
    return Cell(row, seed, replace(config, {"name": key, "run_dir": str(root / key)}))
