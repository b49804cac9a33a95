"""The ``study`` node of an experiment's file: its rows, and what is the same for all of them, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from notellm.app.studies.cell import Row
from notellm.errors import ConfigError, DataError
from notellm.io.json_tree import Node, shortened

KEYS = ("title", "columns", "seeds", "against", "rows", "tune")
ROW_KEYS = ("name", "set", "system", "paper", "tune")


@dataclass(frozen=True)
class StudyNode:
    """A study as its file describes it.

    Attributes:
        title: The title of its table. columns: Metrics. seeds: At least one, each once. against: The key of the row
            that others are compared with. rows: At least one. tune: Changes of the scale's search.
    """

    title: str
    columns: tuple[str, ...]
    seeds: tuple[int, ...]
    against: str
    rows: tuple[Row, ...]
    tune: Mapping[str, Any]


def read_node(name: str, tree: Any) -> StudyNode:
    """Checks the plain data of a ``study`` node.

    Args:
        name: Of the experiment.
        tree: The plain data.

    Raises:
        ConfigError: If a key is unknown, missing, or has a value of another type; names it.
    """
    node = Node(tree, f"experiment={name}")
    try:
        _check_keys(node, "a study", KEYS)
        rows = tuple(_row(node.where, key, row) for key, row in node.entries("rows").items())
        if not rows:
            raise ConfigError(f"{node.where}: must have rows, but has none")
        against = node.text("against", rows[0].key)
        seeds = tuple(seed.whole() for seed in node.list("seeds")) if node.maybe("seeds") else (0,)
        columns: tuple[str, ...] = (
            tuple(node.texts("columns")) if node.maybe("columns") else ("recall@avg", "mrr")
        )
        tune = {key: entry.value for key, entry in node.entries("tune").items()}
        found = StudyNode(node.text("title", name), columns, seeds, against, rows, tune)
    except DataError as error:
        raise ConfigError(str(error)) from None
    if not columns or len(set(columns)) < len(columns):
        raise ConfigError(f"{node.where}: columns must be one or more, each once, but are {list(columns)}")
    if against not in {row.key for row in rows}:
        raise ConfigError(f"{node.where}: against must be one of its rows, but is {against!r}")
    return found


def _row(where: str, key: str, node: Node) -> Row:
    if not isinstance(node.value, Mapping):
        raise ConfigError(
            f"{where}: row {key} must be a group of keys, but is {shortened(node.value)}; try {{}}"
        )
    node = Node(node.value, f"{where}: row {key}")
    _check_keys(node, "", ROW_KEYS)
    system, _, variant = node.text("system", "trained").partition(".")
    return Row(
        key=key,
        name=node.text("name", key),
        overrides=tuple(node.texts("set")),
        system=system,
        variant=variant,
        paper={column: number.number() for column, number in node.entries("paper").items()},
        tune={name: entry.value for name, entry in node.entries("tune").items()},
    )


def _check_keys(node: Node, what: str, known: tuple[str, ...]) -> None:
    if not isinstance(node.value, Mapping):
        raise ConfigError(f"{node.where}: must be a group of keys, but is {shortened(node.value)}")
    unknown = [str(key) for key in node.value if key not in known]
    if unknown:
        whole = f"{node.where}: {what}".rstrip(": ")
        raise ConfigError(f"{whole} may hold {', '.join(known)}, but holds {', '.join(unknown)}")
