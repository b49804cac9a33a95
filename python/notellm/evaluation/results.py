"""The results of an evaluation, as types: saved as ``evaluation.json``, shown by the report and by tables."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from notellm.errors import DataError
from notellm.io.json_files import write_text
from notellm.io.json_tree import Node, shortened
from notellm.metrics import Interval


@dataclass(frozen=True)
class Exposure:
    """Recall over the queries whose target was shown rarely, or often."""

    queries: int
    recall: dict[int, Interval]


@dataclass(frozen=True)
class RetrievalResult:
    """How well one system finds the targets; fractions in 0..1, with 95 % bootstrap intervals.

    For a system that compares words, ``analyzer`` names how texts were tokenised; it is empty for others.
    """

    key: str
    name: str
    recall: dict[int, Interval]
    mrr: Interval
    exposure: dict[str, Exposure] = field(default_factory=dict)
    analyzer: str = ""


@dataclass(frozen=True)
class Difference:
    """Recall at ``k`` of system ``a`` minus that of ``b`` over the same queries (a paired bootstrap)."""

    a: str
    b: str
    k: int
    value: float
    low: float
    high: float

    @property
    def interval(self) -> Interval:
        """The difference with its 95 % interval."""
        return Interval(self.value, self.low, self.high)

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class CalibrationBin:
    """Answers of similar confidence: how many, their mean confidence, and the share that is right."""

    low: float = field(metadata={"key": "from"})
    high: float = field(metadata={"key": "to"})
    notes: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class ClosedSetResult:
    """How often the best-scored known category is right, and how well its confidence is calibrated."""

    accuracy: Interval
    calibration_error: float
    calibration: list[CalibrationBin]


@dataclass(frozen=True)
class Confusion:
    """Notes of one category for which another text was generated."""

    true: str
    written: str
    notes: int


@dataclass(frozen=True)
class HashtagSets:
    """Metrics of hashtags as sets."""

    precision: Interval
    recall: Interval
    f1: Interval


@dataclass(frozen=True)
class GenerationResult:
    """How well one system generates categories and hashtags; ``None`` if no note has a truth, or it was not measured.

    ``undefined`` counts those of the ``hashtag_notes`` that are left out of a metric because it is undefined for their
    hashtags: ROUGE-2 if they are a single word, ROUGE if they are only symbols.
    """

    key: str
    name: str
    category_accuracy: Interval | None = None
    illusory: Interval | None = None
    macro_f1: float | None = None
    confusions: list[Confusion] = field(default_factory=list)
    closed_set: ClosedSetResult | None = None
    bleu4: Interval | None = None
    rouge1: Interval | None = None
    rouge2: Interval | None = None
    rouge_l: Interval | None = field(default=None, metadata={"key": "rougeL"})
    hashtags: HashtagSets | None = None
    hashtag_notes: int = 0
    undefined: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Generation:
    """What each system generated for some notes, evaluated.

    Attributes:
        notes: Number of notes. systems: Results by system.
        tokenizer: Tokenizer of hashtags for ROUGE; bleu_tokenizer: for BLEU. Empty if an older version did not record
            it.
        hashtag_count: j in precision, recall and F1 at j; None: all that were generated.
        known_categories: All other categories are illusory. known_hashtags: The hashtags that notes have.
    """

    notes: int
    tokenizer: str
    bleu_tokenizer: str
    hashtag_count: int | None
    systems: list[GenerationResult]
    known_categories: set[str]
    known_hashtags: set[str]


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
        if self.generation is None:
            del tree["generation"]
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
        generation = top.maybe("generation")
        return cls(
            pool=top.count("pool"),
            queries=top.count("queries"),
            ks=ks,
            ties=_ties(top),
            exposure_fractions={
                side: node.number() for side, node in top.entries("exposure_fractions").items()
            },
            systems=[_retrieval(system, ks) for system in top.at("systems").items()],
            differences=[_difference(node) for node in top.list("differences")],
            model=top.text("model", ""),
            dtype=top.text("dtype", ""),
            prompt=top.text("prompt", ""),
            truncation={name: length.whole() for name, length in top.entries("truncation").items()},
            generation=None if generation is None else _generation(generation),
            ks_left_out=[k.whole() for k in top.list("ks_left_out")],
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


def _interval(node: Node) -> Interval:
    return Interval(*(node.at(name).number() for name in Interval._fields))


def _maybe_interval(node: Node, key: str) -> Interval | None:
    entry = node.maybe(key)
    return None if entry is None else _interval(entry)


def _recalls(node: Node, ks: list[int]) -> dict[int, Interval]:
    return {k: _interval(node.at(str(k))) for k in ks}


def _retrieval(node: Node, ks: list[int]) -> RetrievalResult:
    exposure = {
        name: Exposure(part.count("queries"), _recalls(part.at("recall"), ks))
        for name, part in node.entries("exposure").items()
    }
    recall = _recalls(node.at("recall"), ks)
    return RetrievalResult(
        node.text("key"),
        node.text("name"),
        recall,
        _interval(node.at("mrr")),
        exposure,
        node.text("analyzer", ""),
    )


def _difference(node: Node) -> Difference:
    return Difference(node.text("a"), node.text("b"), node.count("k"), *_interval(node))


def _generation(node: Node) -> Generation:
    count = node.maybe("hashtag_count")
    return Generation(
        notes=node.count("notes"),
        tokenizer=node.text("tokenizer", ""),
        bleu_tokenizer=node.text("bleu_tokenizer", ""),
        hashtag_count=None if count is None else count.whole(),
        systems=[_writer(system) for system in node.at("systems").items()],
        known_categories=set(node.texts("known_categories")),
        known_hashtags=set(node.texts("known_hashtags")),
    )


def _writer(node: Node) -> GenerationResult:
    macro_f1, closed_set, sets = (node.maybe(key) for key in ("macro_f1", "closed_set", "hashtags"))
    return GenerationResult(
        key=node.text("key"),
        name=node.text("name"),
        category_accuracy=_maybe_interval(node, "category_accuracy"),
        illusory=_maybe_interval(node, "illusory"),
        macro_f1=None if macro_f1 is None else macro_f1.number(),
        confusions=[
            Confusion(pair.text("true"), pair.text("written"), pair.count("notes"))
            for pair in node.list("confusions")
        ],
        closed_set=None if closed_set is None else _closed_set(closed_set),
        bleu4=_maybe_interval(node, "bleu4"),
        rouge1=_maybe_interval(node, "rouge1"),
        rouge2=_maybe_interval(node, "rouge2"),
        rouge_l=_maybe_interval(node, "rougeL"),
        hashtags=None
        if sets is None
        else HashtagSets(*(_interval(sets.at(key)) for key in ("precision", "recall", "f1"))),
        hashtag_notes=node.count("hashtag_notes"),
        undefined={name: notes.whole() for name, notes in node.entries("undefined").items()},
    )


def _closed_set(node: Node) -> ClosedSetResult:
    return ClosedSetResult(
        _interval(node.at("accuracy")),
        node.at("calibration_error").number(),
        [
            CalibrationBin(
                one.at("from").number(),
                one.at("to").number(),
                one.count("notes"),
                one.at("confidence").number(),
                one.at("accuracy").number(),
            )
            for one in node.list("calibration")
        ],
    )
