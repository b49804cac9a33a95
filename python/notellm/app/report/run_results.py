"""Reads a run folder: parts may be absent, but not damaged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from notellm.errors import DataError
from notellm.evaluation.results import Evaluation
from notellm.io.json_files import read_json, read_json_lines, read_json_object, read_text
from notellm.io.json_tree import Node

T = TypeVar("T")

CURVES = ("contrastive", "generative", "scale")
"""Columns of ``train.jsonl`` that the report draws."""


@dataclass(frozen=True)
class TrainingLog:
    """The steps of ``train.jsonl``, in order."""

    steps: list[int]
    curves: dict[str, tuple[list[int], list[float]]]
    """Steps and values for each of ``CURVES``; steps without a loss are left out of its curve."""
    notes_per_step: int
    tokens: int
    seconds: float
    hashtag_shortfall: int
    """How many hashtag tasks were missing because too few notes of the batch have hashtags."""


@dataclass(frozen=True)
class ScoreHistogram:
    """How many pairs the miner found with a score between two neighbouring edges."""

    edges: list[float]
    counts: list[int]


@dataclass(frozen=True)
class Neighbour:
    """A note that one system found."""

    id: str
    title: str
    category: str
    score: float


@dataclass(frozen=True)
class Found:
    """What one system found for a query, best first, and the rank of the target (1 = first)."""

    key: str
    name: str
    neighbours: list[Neighbour]
    target_rank: int


@dataclass(frozen=True)
class QueryExample:
    """A query, its ground truth, and what each system found."""

    title: str
    category: str
    target_id: str
    target_title: str
    systems: list[Found]


@dataclass(frozen=True)
class Generated:
    """What one system generated for a note."""

    category: str
    hashtags: list[str]


@dataclass(frozen=True)
class NoteExample:
    """A note with its true category and hashtags, and those of each system."""

    title: str
    category: str
    hashtags: list[str]
    systems: dict[str, Generated]


@dataclass(frozen=True)
class RunResults:
    """A run folder in memory; ``None`` stands for a file that does not exist."""

    path: Path
    config: str | None
    run: Mapping[str, Any] | None
    data: Mapping[str, Any] | None
    scores: ScoreHistogram | None
    training: TrainingLog | None
    evaluation: Evaluation | None
    queries: list[QueryExample] | None
    notes: list[NoteExample] | None


def read_run_results(folder: str | Path) -> RunResults:
    """Reads what a run has written so far.

    Args:
        folder: The run folder.

    Returns:
        Its parts; those not written yet are ``None``.

    Raises:
        FileNotFoundError: If there is no such folder.
        DataError: If a file is damaged; the message names the file and the line or entry.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "is a file" if folder.is_file() else "does not exist"
        raise FileNotFoundError(f"report: {folder} must be a run folder, but {what}")
    data = _if_there(read_json_object, folder / "data.json")
    evaluation = _if_there(_node, folder / "evaluation.json")
    neighbours = _if_there(_node, folder / "neighbours.json")
    training = _if_there(_json_lines, folder / "train.jsonl")
    notes = _if_there(_json_lines, folder / "generation.jsonl")
    return RunResults(
        path=folder,
        config=_if_there(read_text, folder / "config.yaml"),
        run=_if_there(read_json_object, folder / "run.json"),
        data=data,
        scores=None if data is None else _scores(Node(data, str(folder / "data.json"))),
        training=_training(training) if training else None,
        evaluation=None if evaluation is None else Evaluation.from_json(evaluation.value, evaluation.where),
        queries=None if neighbours is None else [_query(node) for node in neighbours.items()],
        notes=None if notes is None else [_note(node) for node in notes],
    )


def _if_there(read: Callable[[Path], T], path: Path) -> T | None:
    return read(path) if path.exists() else None


def _node(path: Path) -> Node:
    return Node(read_json(path), str(path))


def _json_lines(path: Path) -> list[Node]:
    return [Node(value, f"{path}:{number}") for number, value in read_json_lines(path)]


def _scores(data: Node) -> ScoreHistogram | None:
    mining = data.maybe("mining")
    edges = [] if mining is None else [edge.number() for edge in mining.list("histogram_edges")]
    counts = [] if mining is None else [count.whole() for count in mining.list("histogram_counts")]
    if not edges and not counts:
        return None
    if len(edges) != len(counts) + 1:
        raise DataError(
            f"{data.where}: mining must have one histogram edge more than counts, but has {len(edges)} "
            f"and {len(counts)}"
        )
    return ScoreHistogram(edges, counts)


def _training(rows: list[Node]) -> TrainingLog:
    # A run that stopped between checkpoints writes the steps after the last checkpoint again: the later line counts.
    by_step = {row.count("step"): row for row in rows}
    ordered = [by_step[step] for step in sorted(by_step)]

    def column(name: str) -> list[float]:
        return [row.at(name).number() for row in ordered]

    def curve(name: str) -> tuple[list[int], list[float]]:
        having = [row for row in ordered if row.at(name).value is not None]
        return [row.count("step") for row in having], [row.at(name).number() for row in having]

    return TrainingLog(
        steps=sorted(by_step),
        curves={name: curve(name) for name in CURVES},
        notes_per_step=ordered[0].count("notes"),
        tokens=int(sum(column("tokens"))),
        seconds=sum(column("seconds")),
        hashtag_shortfall=int(sum(column("hashtag_shortfall"))),
    )


def _query(node: Node) -> QueryExample:
    query, target = node.at("query"), node.at("target")
    return QueryExample(
        title=query.text("title"),
        category=query.text("category", ""),
        target_id=target.text("id"),
        target_title=target.text("title"),
        systems=[_found(system) for system in node.at("systems").items()],
    )


def _found(node: Node) -> Found:
    neighbours = [
        Neighbour(n.text("id"), n.text("title"), n.text("category", ""), n.at("score").number())
        for n in node.at("neighbours").items()
    ]
    return Found(node.text("key"), node.text("name"), neighbours, node.count("target_rank"))


def _note(node: Node) -> NoteExample:
    systems = {
        key: Generated(system.text("category", ""), system.texts("hashtags"))
        for key, system in node.entries("systems").items()
    }
    return NoteExample(node.text("title"), node.text("category", ""), node.texts("topics"), systems)
