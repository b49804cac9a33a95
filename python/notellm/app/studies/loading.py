"""Makes studies from files and plain data; every configuration is composed and checked before the first run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from notellm.app.pipeline.systems import variants
from notellm.app.studies.cell import TRAINED, Cell, Row, placed
from notellm.app.studies.columns import SIDES
from notellm.app.studies.composing import Composer
from notellm.app.studies.ledger import Ledger
from notellm.app.studies.node import read_node
from notellm.app.studies.search import Search, SearchOptions
from notellm.app.studies.study import Study
from notellm.errors import ConfigError
from notellm.evaluation.metric_names import AT_CUTOFFS, CORPUS, LISTS_AT, METRICS, RANKED, RANKED_AT, WRITTEN

SET_BY_US = ("seed", "name", "run_dir", "evaluation.systems", "experiment", "scale")


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
        folder: Runs and ledger go to ``folder/SCALE``; a cell that is in several studies is run once.
        seeds: Seeds to use instead of the study's.

    Raises:
        ConfigError: If there is no such study, or a row's configuration is wrong; names the row.
    """
    taken = [text for text in overrides if text.lstrip("+~").split("=")[0] in SET_BY_US]
    if taken:
        raise ConfigError(f"{taken[0]}: is set by the study itself; try --seeds, or another row")
    composer = Composer()
    node = composer.study([f"scale={scale}", f"experiment={name}", *overrides])
    if node is None or "rows" not in node:
        raise ConfigError(f"experiment={name}: must be a study, but its file has no `study` node with rows")
    return _made(composer, name, node, scale, [f"experiment={name}", *overrides], folder, seeds)


def make_study(
    name: str,
    node: Mapping[str, Any],
    *,
    scale: str = "laptop",
    overrides: Sequence[str] = (),
    folder: str | Path = "runs/studies",
    seeds: Sequence[int] | None = None,
) -> Study:
    """Makes a study from plain data, as in the ``study`` node of a file, and composes every configuration.

    Args:
        name: Its name in the ledger.
        node: ``rows`` and, if wanted, ``title``, ``columns``, ``seeds``, ``against`` and ``tune``, which changes the
            scale's own.
        scale: As in `load_study`.
        overrides: Changes to all rows, in Hydra's grammar.
        folder: As in `load_study`.
        seeds: Seeds to use instead of the node's.

    Raises:
        ConfigError: If the node or a row's configuration is wrong; names the row.

    Example:
        >>> study = make_study("tau", {"rows": {f"tau_{t}": {"set": [f"model.tau={t}"]} for t in (2, 3, 4)}})
        >>> [cell.config.model.tau for cell in study.cells]
        [2.0, 3.0, 4.0]
    """
    return _made(Composer(), name, node, scale, overrides, folder, seeds)


def _made(
    composer: Composer,
    name: str,
    node: Mapping[str, Any],
    scale: str,
    overrides: Sequence[str],
    folder: str | Path,
    seeds: Sequence[int] | None,
) -> Study:
    read = read_node(name, node)
    common = [f"scale={scale}", *overrides]
    tune = {**(composer.study([f"scale={scale}"]) or {}).get("tune", {}), **read.tune}
    root = Path(folder) / scale
    made = _Cells(root, composer)
    chosen = read.seeds if seeds is None else tuple(seeds)
    if not chosen or len(set(chosen)) < len(chosen):
        raise ConfigError(f"experiment={name}: seeds must be one or more, each once, but are {list(chosen)}")
    cells = made.cells(read.rows, common, chosen)
    study = Study(
        name=name,
        scale=scale,
        title=read.title,
        columns=read.columns,
        rows=read.rows,
        seeds=chosen,
        against=read.against,
        cells=cells,
        searches=_searches(made, name, tune, cells, common),
        ledger=Ledger(root / "ledger.jsonl"),
    ).in_one_dtype()
    _check_distinct(study)
    _check_columns(study)
    return study.settled()


@dataclass(frozen=True)
class _Cells:
    """Makes the cells of a study: their folder, and what composes their configurations."""

    root: Path
    composer: Composer

    def cell(self, row: Row, changes: Sequence[str], seed: int, searched: str = "") -> Cell:
        try:
            config = self.composer.compose([*changes, f"evaluation.systems=[{row.system}]"])
        except ConfigError as error:
            raise ConfigError(f"row {row.key}: {error}") from None
        return placed(Cell(row, seed, config, searched), self.root)

    def cells(self, rows: Sequence[Row], common: Sequence[str], seeds: Sequence[int]) -> tuple[Cell, ...]:
        """All rows with the first seed, then what the next one changes, and so on.

        A row that is not trained has a cell for each seed only where its numbers differ: if the split varies with the
        seed.
        """
        cells: dict[tuple[str, str], Cell] = {}
        for seed in seeds:
            for row in rows:
                cell = self.cell(row, [*common, *row.overrides, f"seed={seed}"], seed)
                cells.setdefault((row.key, cell.key), cell)
        return tuple(cells.values())


def _check_distinct(study: Study) -> None:
    rows: dict[tuple[str, str], str] = {}
    for cell in study.cells:
        other = rows.setdefault((cell.key, cell.row.variant), cell.row.key)
        if other != cell.row.key:
            raise ConfigError(
                f"experiment={study.name}: rows must differ, but {other} and {cell.row.key} come to the same at "
                f"scale={study.scale}"
            )


def _check_columns(study: Study) -> None:
    for search in study.searches.values():
        _check_metric(study, search)
    for cell in study.cells:
        _check_variant(study, cell)
        measured = _measured(cell.config.evaluation.ks)
        for column in study.columns:
            if column not in measured:
                raise ConfigError(
                    f"experiment={study.name}: columns must be measured, but {column} is not in row {cell.row.key}; "
                    f"there are recall, ndcg and map at K of evaluation.ks={cell.config.evaluation.ks}, recall@avg, "
                    f"mrr and log_score (with {', '.join(f'{side}.' for side in SIDES)} before them: of some queries), "
                    f"{', '.join(LISTS_AT)} at K, {', '.join([*WRITTEN, *CORPUS])}, and with macro. before "
                    "them recall and ndcg at K, mrr and log_score: by target"
                )
    written = [column for column in study.columns if column in {*WRITTEN, *CORPUS}]
    if written and not any(cell.config.evaluation.generation_notes for cell in study.cells):
        raise ConfigError(
            f"experiment={study.name}: columns must be measured, but {', '.join(written)} need notes to write words "
            "for; try evaluation.generation_notes=200"
        )


def _measured(ks: Sequence[int]) -> set[str]:
    """The columns that a table with these cut-offs may have."""
    ranked = {f"{metric}@{k}" for metric in RANKED_AT for k in ks} | {"recall@avg", *RANKED}
    measured = {f"{side}.{metric}".lstrip(".") for side in ("", *SIDES) for metric in ranked}
    measured |= {f"{metric}@{k}" for metric in AT_CUTOFFS for k in ks}
    measured |= {f"macro.{metric}@{k}" for metric in ("recall", "ndcg") for k in ks}
    return measured | {f"macro.{metric}" for metric in RANKED} | set(METRICS)


def _check_variant(study: Study, cell: Cell) -> None:
    known = ["", *variants(cell.config.evaluation.dims)] if cell.row.system == "trained" else [""]
    if cell.row.variant not in known:
        named = ", ".join(f"{cell.row.system}.{name}".rstrip(".") for name in known)
        raise ConfigError(
            f"experiment={study.name}, row {cell.row.key}: system must be measured, but is {cell.row.measured}; there "
            f"are {named} (evaluation.dims)"
        )


def _check_metric(study: Study, search: Search) -> None:
    """Checks that a search measures the metric it maximises, and that higher is better for it."""
    evaluation, by = search.cells[0].config.evaluation, search.options.by
    known = (
        {f"recall@{k}" for k in [*evaluation.ks, "avg"]} | {f"ndcg@{k}" for k in evaluation.ks} | set(RANKED)
    )
    known |= {f"macro.{metric}" for metric in RANKED}
    if evaluation.generation_notes and search.cells[0].row.system == "trained":
        known |= set(METRICS) - {"illusory"}
    if by not in known:
        raise ConfigError(
            f"experiment={study.name}, row {search.row}: tune.by must be a metric that the search measures and of "
            f"which more is better, but is {by!r}; there are {', '.join(sorted(known))} (generated words need "
            "tune.set=[evaluation.generation_notes=...])"
        )


def _searches(
    made: _Cells, name: str, tune: Mapping[str, Any], cells: Sequence[Cell], common: Sequence[str]
) -> dict[str, Search]:
    """The search of every trained row, by its key; a row that sets the option itself has none."""
    tuned = {cell.row.key: cell.row for cell in cells if cell.row.system in TRAINED}
    configs = {cell.row.key: cell.config for cell in cells}
    options = {
        key: SearchOptions.read(tune, row.tune, f"experiment={name}, row {key}") for key, row in tuned.items()
    }
    of_scale = made.composer.compose([text for text in common if text.startswith("scale=")])
    options = {
        key: own
        for key, own in options.items()
        if own.key
        and own.values
        and not _sets([*common, *tuned[key].overrides], own.key)
        and attrgetter(own.key)(configs[key]) == attrgetter(own.key)(of_scale)
    }
    searches = {
        key: Search(own, key, _search_cells(made, tuned[key], own, common))
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


def _search_cells(made: _Cells, row: Row, options: SearchOptions, common: Sequence[str]) -> list[Cell]:
    cells = []
    for value in options.values:
        tried = f"{options.key}={value}"
        changes = [*common, *row.overrides, *options.set, tried, "data.held_out=validation"]
        cells.append(made.cell(row, [*changes, f"seed={options.seed}"], options.seed, tried))
    return cells
