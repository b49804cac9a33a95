"""The results of an evaluation, as types: saved as ``evaluation.json``, shown by the report and by tables."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from notellm.errors import DataError
from notellm.evaluation.generation_results import Generation, GenerationResult, read_generation
from notellm.evaluation.retrieval_results import (
    Difference,
    RetrievalResult,
    read_difference,
    read_retrieval,
)
from notellm.io.json_files import write_text
from notellm.io.json_tree import Node, shortened
from notellm.metrics import Interval


@dataclass(frozen=True)
class Evaluation:
    """Everything an ``evaluation.json`` holds.

    Attributes:
        pool: Number of notes to choose from. queries: Number of queries. ks: Cut-offs.
        ties: How a target with the same score as others is ranked: ``"mean"``, ``"optimistic"`` or ``"pessimistic"``.
        exposure_fractions: Shares of the pool that count as rarely (``"low"``) and often (``"high"``) shown.
        systems: How well each finds the targets. differences: The trained model against others, query by query.
        model: The backbone's name. dtype: Of its matrix products. prompt: The name of its prompt.
        truncation: Tokens kept of each field. generation: Results of generation, if any.
        ks_left_out: Cut-offs that were asked for, but that every target reaches in this pool.
        targets: Number of targets; 0 if an older version did not record it.
        next_notes: User-to-item: how well the note that came next is found by a user's history, if it was measured; its
            queries are users.
        effective_targets: Of how many targets, all as frequent, queries would repeat each other as often.
    """

    pool: int
    queries: int
    ks: list[int]
    ties: str
    exposure_fractions: dict[str, float]
    systems: list[RetrievalResult]
    differences: list[Difference]
    model: str = ""
    dtype: str = ""
    prompt: str = ""
    truncation: dict[str, int] = field(default_factory=dict)
    generation: Generation | None = None
    ks_left_out: list[int] = field(default_factory=list)
    targets: int = 0
    effective_targets: float = 0.0
    next_notes: Evaluation | None = None

    @property
    def language_model(self) -> str:
        """The model and the dtype of its matrix products; empty if an older version did not record them."""
        precision = f"; products in {self.dtype}" if self.dtype else ""
        return f"{self.model}{precision}" if self.model else ""

    @property
    def writers(self) -> list[GenerationResult]:
        """The systems that generated texts; empty if nothing was generated."""
        return self.generation.systems if self.generation else []

    def system(self, key: str) -> RetrievalResult | None:
        """The retrieval result of one system, if it was evaluated."""
        return next((system for system in self.systems if system.key == key), None)

    def difference(self, a: str, b: str, k: int) -> Difference | None:
        """The paired difference of two systems at one cut-off, if it was computed."""
        return next((d for d in self.differences if (d.a, d.b, d.k) == (a, b, k)), None)

    def to_json(self) -> dict[str, Any]:
        """The tree of an ``evaluation.json``; `from_json` reads it back."""
        tree: dict[str, Any] = _tree(self)
        for part in (tree, tree["next_notes"]):
            for name in ("generation", "next_notes"):
                if part is not None and part[name] is None:
                    del part[name]
        return tree

    def write(self, path: str | Path) -> None:
        """Writes an ``evaluation.json``, complete or not at all."""
        write_text(path, json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def from_json(cls, tree: Any, where: str = "evaluation.json") -> Evaluation:
        """Checks the tree of an ``evaluation.json``.

        Args:
            tree: The tree.
            where: Name of the file, for messages.

        Raises:
            DataError: If something is missing or of the wrong type; the message names the file and the entry.
        """
        top = Node(tree, where)
        ks = [k.whole() for k in top.at("ks").items()]
        generation, next_notes = top.maybe("generation"), top.maybe("next_notes")
        return cls(
            pool=top.count("pool"),
            queries=top.count("queries"),
            ks=ks,
            ties=_ties(top),
            exposure_fractions={
                side: node.number() for side, node in top.entries("exposure_fractions").items()
            },
            systems=[read_retrieval(system, ks) for system in top.at("systems").items()],
            differences=[read_difference(node) for node in top.list("differences")],
            model=top.text("model", ""),
            dtype=top.text("dtype", ""),
            prompt=top.text("prompt", ""),
            truncation={name: length.whole() for name, length in top.entries("truncation").items()},
            generation=None if generation is None else read_generation(generation),
            next_notes=None if next_notes is None else cls.from_json(next_notes.value, next_notes.where),
            ks_left_out=[k.whole() for k in top.list("ks_left_out")],
            targets=top.count("targets") if top.maybe("targets") else 0,
            effective_targets=top.at("effective_targets").number() if top.maybe("effective_targets") else 0.0,
        )


def _tree(value: Any) -> Any:
    """Plain data: dataclasses become dictionaries, sets become sorted lists."""
    if isinstance(value, Interval):
        return value._asdict()
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return {one.metadata.get("key", one.name): _tree(getattr(value, one.name)) for one in fields}
    if isinstance(value, Mapping):
        return {str(key): _tree(entry) for key, entry in value.items()}
    if isinstance(value, set):
        return sorted(value)
    return [_tree(entry) for entry in value] if isinstance(value, list) else value


def _ties(top: Node) -> str:
    ties = top.text("ties", "mean")
    if ties not in ("mean", "optimistic", "pessimistic"):
        raise DataError(
            f"{top.where}: ties: must be mean, optimistic or pessimistic, but is {shortened(ties)}"
        )
    return ties
