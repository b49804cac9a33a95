"""Runs a study: every row of a table with every seed, what is finished aside.

All configurations are checked before the first run. A cell that fails is recorded with its error,
and the others go on; several sweeps may share one folder, and a cell that several studies have is
run once. A model that other cells need as their first one (negatives=first) stays in its run folder
until they are finished.

reads:   experiment/NAME.yaml with a `study` node, on Hydra's search path (experiments/conf)
writes:  FOLDER/SCALE/: a run folder for each cell (without its model), and ledger.jsonl

for example:
  notellm sweep experiment=table6 --dry-run
  notellm sweep experiment=table6 scale=smoke
  notellm sweep experiment=table4 scale=laptop train.max_steps=120 --seeds 0 1 2
  notellm sweep experiment=powered_csft scale=powered --hours 8
  notellm sweep experiment=levers scale=powered --rows base steps_240 --seeds 0
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from notellm.app.commands.configured import prepare_process, remark_on_dtype

if TYPE_CHECKING:
    from notellm.app.studies import Study

__all__ = ["add_arguments", "add_study_arguments", "read_study", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    add_study_arguments(parser)
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="only these rows, with their searches")
    parser.add_argument("--keep-models", action="store_true", help="leave trained models in the run folders")
    parser.add_argument(
        "--again", nargs="+", default=[], metavar="ROW", help="run these rows anew, with their searches"
    )
    parser.add_argument(
        "--hours",
        type=_hours,
        metavar="H",
        help="begin no cell that is likely to end later than this; call again to go on",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be run, and how long it may take"
    )


def _hours(text: str) -> float:
    hours = float(text)
    if not 0 < hours < float("inf"):
        raise argparse.ArgumentTypeError(f"must be above 0, but is {text}")
    return hours


def add_study_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that select a study."""
    parser.add_argument(
        "overrides",
        nargs="+",
        metavar="key=value",
        help="experiment=NAME (or NAME alone), scale=SCALE, and changes to all rows",
    )
    parser.add_argument("--seeds", type=int, nargs="+", help="instead of the study's own")
    parser.add_argument(
        "--folder", type=Path, default=Path("runs/studies"), metavar="DIR", help="default: runs/studies"
    )


def read_study(arguments: argparse.Namespace) -> "Study":
    """The study that the arguments name.

    Raises:
        ConfigError: If none is named, or as in `notellm.app.studies.load_study`.
    """
    from notellm.app.studies import load_study
    from notellm.errors import ConfigError

    overrides = [
        text if "=" in text or text[:1] == "~" else f"experiment={text}" for text in arguments.overrides
    ]
    named = dict(text.split("=", 1) for text in overrides if text.startswith(("experiment=", "scale=")))
    if "experiment" not in named:
        raise ConfigError("sweep: a study must be named; try experiment=table6")
    rest = [text for text in overrides if not text.startswith(("experiment=", "scale="))]
    return load_study(
        named["experiment"],
        scale=named.get("scale", "laptop"),
        overrides=rest,
        folder=arguments.folder,
        seeds=arguments.seeds,
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs the missing cells, or lists them; the code is 1 if a cell failed."""
    from notellm.app.studies.budget import Budget
    from notellm.app.studies.sweep import is_fault, sweep

    study = read_study(arguments)
    rows = [row.key for row in study.rows]
    _check_rows("--rows", arguments.rows or [], rows)
    _check_rows("--again", arguments.again, arguments.rows or rows)
    if arguments.dry_run:
        _show_plan(study, arguments.rows, arguments.again)
        return 0
    prepare_process(study.cells[0].config)
    for config in {cell.config.dtype: cell.config for cell in study.cells}.values():
        remark_on_dtype(config)
    budget = Budget(arguments.hours)
    new = sweep(
        study,
        rows=arguments.rows,
        keep_models=arguments.keep_models,
        again=arguments.again,
        budget=budget,
    )
    return int(any(map(is_fault, new)))


def _check_rows(option: str, named: list[str], rows: list[str]) -> None:
    from notellm.errors import ConfigError

    for key in named:
        if key not in rows:
            raise ConfigError(f"sweep: {option} must name rows, of {', '.join(rows)}, but names {key}")


def _show_plan(study: "Study", rows: list[str] | None, again: list[str]) -> None:
    """Prints what would be run."""
    from notellm.app.studies.sweep import name_of, plan

    sizes = f"{len(study.rows)} rows, {len(study.seeds)} seeds"
    print(f"{study.title}, scale {study.scale}, {' and '.join(study.dtypes)}: {sizes}")
    planned = plan(study, rows=rows, again=again)
    for cell, said, seconds in planned:
        state = said or ("to run" if seconds is None else f"to run, about {seconds / 60:.1f} min")
        print(f"  {name_of(cell)}: {state}  ({' '.join(cell.row.overrides) or 'as it is'})")
    known = [seconds for _, _, seconds in planned if seconds is not None]
    unknown = sum(not said and seconds is None for _, said, seconds in planned)
    left = [f"{sum(known) / 60:.0f} minutes"] if known or not unknown else []
    print(", and ".join([*left, *([f"{unknown} cells of unknown length"] if unknown else [])]))
