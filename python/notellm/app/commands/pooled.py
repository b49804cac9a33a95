"""Shared by the verbs that make folders of shards: their options, and how they fill one."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from notellm.app.config import Config
    from notellm.data import Notes
    from notellm.pools.making import Workshop

__all__ = ["Output", "add_pool_arguments", "check_is_alone", "fill_folder", "output_of"]


class Output(NamedTuple):
    """Where a verb writes."""

    path: Path
    is_folder: bool
    """Whether it is a folder of shards: what is asked for ends in a slash, or is a folder already."""


def output_of(text: str) -> Output:
    """Where to write, as it is given on the command line."""
    return Output(Path(text), text.endswith("/") or Path(text).is_dir())


def add_pool_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of folders of shards."""
    options = parser.add_argument_group("a folder of shards (--output FOLDER/)")
    options.add_argument(
        "--shard-rows",
        type=int,
        default=0,
        metavar="ROWS",
        help="notes of each shard; changes no byte of theirs",
    )
    options.add_argument(
        "--engine", choices=("here", "ray"), default="here", help="who works: this process, or actors of Ray"
    )
    options.add_argument(
        "--actors",
        type=int,
        metavar="N",
        help="actors of Ray (default: as many as there is room for)",
    )
    options.add_argument(
        "--actor-cpus",
        type=float,
        metavar="CPUS",
        help="CPUs of each, may be a fraction (default: 1)",
    )
    options.add_argument(
        "--actor-gpus",
        type=float,
        metavar="GPUS",
        help="GPUs of each, may be a fraction (default: 1 with device=cuda)",
    )


def check_is_alone(arguments: argparse.Namespace, verb: str) -> None:
    """Refuses what only a folder of shards can have, where the output is none.

    Raises:
        ConfigError: If there is an option of folders, or of another engine, or other processes.
    """
    from notellm.errors import ConfigError
    from notellm.processes import started

    _check_engine(arguments)
    given = {
        "--shard-rows": arguments.shard_rows != 0,
        "--engine ray": arguments.engine == "ray",
        "several processes": started().count > 1,
    }
    for what, is_given in given.items():
        if is_given:
            output = arguments.output.path if arguments.output else "standard output"
            raise ConfigError(f"{verb}: with {what} --output must be a folder, ending in /, but is {output}")


def _check_engine(arguments: argparse.Namespace) -> None:
    """Refuses options of actors where there are none."""
    from notellm.errors import ConfigError

    for name in ("actors", "actor_cpus", "actor_gpus"):
        if arguments.engine != "ray" and getattr(arguments, name) is not None:
            option = name.replace("_", "-")
            raise ConfigError(
                f"--{option}: must come with --engine ray, but the engine is {arguments.engine}"
            )


def fill_folder(
    arguments: argparse.Namespace,
    config: "Config",
    notes: "Notes",
    kind: str,
    workshop: "Workshop",
    *,
    made_by: Mapping[str, Any],
    title: str,
) -> None:
    """Makes the shards of a folder that are not there yet, and says what is there.

    Args:
        arguments: As parsed with `add_pool_arguments`, and ``output``.
        config: The configuration.
        notes: The pool.
        kind: ``"embeddings"`` or ``"generations"``.
        workshop: Loads the model.
        made_by: All that decides the contents beside the notes.
        title: What is being done, for the progress.

    Raises:
        ConfigError: If an option is out of range.
        DataError: If the folder holds something else.
    """
    from notellm.app.pipeline import fill
    from notellm.pools.making import begin
    from notellm.progress import console_progress

    actors = _actors(arguments, config)
    shards = begin(arguments.output.path, kind, notes, made_by=made_by, rows_per_shard=arguments.shard_rows)
    before = len(shards.plan) - len(shards.missing())
    try:
        with console_progress(title, "notes", part="" if actors else "batch") as progress:
            found = fill(shards, notes, workshop, actors=actors, threads=config.threads, progress=progress)
    except Exception:
        shards.abandon()
        raise
    kept = f", {before:,} of them by a call before" if before else ""
    if found.there < len(shards.plan):
        kept += "; other processes make the rest"
    share = "" if found.there == len(shards.plan) else f" of {len(shards.plan):,}"
    print(f"{len(notes):,} notes in {arguments.output.path}: {found.there:,}{share} shards{kept}")


def _actors(arguments: argparse.Namespace, config: "Config") -> Any:
    from notellm.errors import ConfigError
    from notellm.pools.cluster import Actors
    from notellm.processes import started

    _check_engine(arguments)
    if arguments.engine != "ray":
        return None
    if started().count > 1:
        raise ConfigError(
            f"--engine ray: must be called in one process, but torchrun started {started().count}; "
            "try it without torchrun"
        )
    count, cpus, gpus = arguments.actors or 0, arguments.actor_cpus, arguments.actor_gpus
    cpus = 1.0 if cpus is None else cpus
    if gpus is None:
        gpus = 1.0 if config.device == "cuda" else 0.0
    for name, value in (("actors", count), ("actor-cpus", cpus), ("actor-gpus", gpus)):
        if not 0 <= value < 2**31:
            raise ConfigError(f"--{name}: must be at least 0, but is {value}")
    return Actors(count, cpus, gpus)
