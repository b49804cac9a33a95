"""What an ``evaluation.json`` says, as checked types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from notellm.errors import DataError


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Exposure:
    """Recall over the queries whose target was seen little, or much."""

    queries: int
    recall: dict[int, Interval]


@dataclass(frozen=True)
class RetrievalResult:
    """How well one system finds the targets; fractions in 0..1."""

    key: str
    name: str
    recall: dict[int, Interval]
    mrr: Interval
    exposure: dict[str, Exposure] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """Recall at ``k`` of system ``a`` minus that of ``b`` over the same queries (a paired bootstrap)."""

    a: str
    b: str
    k: int
    interval: Interval

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.interval.low > 0 or self.interval.high < 0


@dataclass(frozen=True)
class CalibrationBin:
    """Answers of like confidence: how many, how sure on the mean, and what share of them is right."""

    notes: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class ClosedSetResult:
    """How good the best of the known categories is, and how well the model knows when it is."""

    accuracy: Interval
    calibration_error: float
    calibration: list[CalibrationBin]


@dataclass(frozen=True)
class Confusion:
    """Notes of one category for which another text was written."""

    true: str
    written: str
    notes: int


@dataclass(frozen=True)
class GenerationResult:
    """How well one system names categories and hashtags; ``None`` where no note has a truth, or nobody measured."""

    key: str
    name: str
    category_accuracy: Interval | None
    illusory: Interval | None
    macro_f1: float | None
    closed_set: ClosedSetResult | None
    confusions: list[Confusion]
    bleu4: Interval | None
    rouge1: Interval | None
    rouge2: Interval | None
    rouge_l: Interval | None
    precision: Interval | None
    recall: Interval | None
    f1: Interval | None
    hashtag_notes: int


@dataclass(frozen=True)
class Evaluation:
    """Everything an ``evaluation.json`` holds."""

    pool: int
    queries: int
    ks: list[int]
    ties: str
    model: str
    dtype: str
    prompt: str
    truncation: dict[str, int]
    systems: list[RetrievalResult]
    differences: list[Difference]
    generated_notes: int
    generation: list[GenerationResult]
    known_categories: set[str]
    known_hashtags: set[str]
    exposure_shares: dict[str, float]

    @property
    def language_model(self) -> str:
        """Which model it is, and what its products are computed in; empty where an older version did not say."""
        precision = f"; products in {self.dtype}" if self.dtype else ""
        return f"{self.model}{precision}" if self.model else ""

    def system(self, key: str) -> RetrievalResult | None:
        """The retrieval result of one system, if it was evaluated."""
        return next((system for system in self.systems if system.key == key), None)

    def difference(self, a: str, b: str, k: int) -> Difference | None:
        """The paired difference of two systems at one cut-off, if it was computed."""
        return next((d for d in self.differences if (d.a, d.b, d.k) == (a, b, k)), None)


def parse_evaluation(document: Mapping[str, Any], where: str = "evaluation.json") -> Evaluation:
    """Checks the tree of an ``evaluation.json``.

    Args:
        document: The tree, as made by ``notellm.evaluation``.
        where: Name of the file, for messages.

    Returns:
        The same, typed.

    Raises:
        DataError: If something is missing or of the wrong type; the message names the file and the entry.
    """
    top = Node(document, where)
    ks = [k.number() for k in top.at("ks").items()]
    generation = top.maybe("generation")
    return Evaluation(
        pool=int(top.at("pool").number()),
        queries=int(top.at("queries").number()),
        ks=[int(k) for k in ks],
        ties=_ties(top),
        model=top.text("model", ""),
        dtype=top.text("dtype", ""),
        prompt=top.text("prompt", ""),
        truncation={name: int(length.number()) for name, length in top.entries("truncation").items()},
        systems=[_retrieval(system, [int(k) for k in ks]) for system in top.at("systems").items()],
        differences=[_difference(node) for node in top.list("differences")],
        generated_notes=0 if generation is None else int(generation.at("notes").number()),
        generation=[] if generation is None else [_generation(s) for s in generation.at("systems").items()],
        known_categories=set() if generation is None else generation.texts("known_categories"),
        known_hashtags=set() if generation is None else generation.texts("known_hashtags"),
        exposure_shares={side: node.number() for side, node in top.entries("exposure_shares").items()},
    )


@dataclass(frozen=True)
class Node:
    """A value in a JSON tree that knows where it stands, so that a complaint can name the place."""

    value: Any
    where: str

    def at(self, key: str) -> Node:
        """The entry of a key that must be there."""
        if not isinstance(self.value, Mapping):
            raise DataError(f"{self.where}: must be an object with {key!r}, but is {_short(self.value)}")
        if key not in self.value:
            raise DataError(
                f"{self.where}: must hold {key!r}, but holds {', '.join(self.value) or 'nothing'}"
            )
        return Node(
            self.value[key], f"{self.where}: {key}" if ": " not in self.where else f"{self.where}.{key}"
        )

    def maybe(self, key: str) -> Node | None:
        """The entry of a key, or ``None`` where it is absent or null."""
        present = isinstance(self.value, Mapping) and self.value.get(key) is not None
        return self.at(key) if present else None

    def items(self) -> list[Node]:
        """The members of a list."""
        if not isinstance(self.value, list):
            raise DataError(f"{self.where}: must be a list, but is {_short(self.value)}")
        return [Node(member, f"{self.where}[{number}]") for number, member in enumerate(self.value)]

    def list(self, key: str) -> list[Node]:
        """The members of the list at a key; none where it is absent."""
        node = self.maybe(key)
        return [] if node is None else node.items()

    def entries(self, key: str) -> dict[str, Node]:
        """The entries of the object at a key; none where it is absent."""
        node = self.maybe(key)
        if node is None:
            return {}
        if not isinstance(node.value, Mapping):
            raise DataError(f"{node.where}: must be an object, but is {_short(node.value)}")
        return {name: node.at(name) for name in node.value}

    def number(self) -> float:
        """The value as a number."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise DataError(f"{self.where}: must be a number, but is {_short(self.value)}")
        return self.value

    def text(self, key: str, default: str | None = None) -> str:
        """The string at a key."""
        node = self.at(key) if default is None else self.maybe(key)
        if node is None:
            return default or ""
        if not isinstance(node.value, str):
            raise DataError(f"{node.where}: must be a string, but is {_short(node.value)}")
        return node.value

    def texts(self, key: str) -> set[str]:
        """The strings of the list at a key; none where it is absent."""
        return {str(node.value) for node in self.list(key)}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _ties(top: Node) -> str:
    ties = top.text("ties", "mean")
    if ties not in ("mean", "optimistic", "pessimistic"):
        raise DataError(f"{top.where}: ties: must be mean, optimistic or pessimistic, but is {_short(ties)}")
    return ties


def _interval(node: Node) -> Interval:
    return Interval(*(float(node.at(name).number()) for name in ("value", "low", "high")))


def _recalls(node: Node, ks: list[int]) -> dict[int, Interval]:
    return {k: _interval(node.at(str(k))) for k in ks}


def _retrieval(node: Node, ks: list[int]) -> RetrievalResult:
    exposure = {
        name: Exposure(int(part.at("queries").number()), _recalls(part.at("recall"), ks))
        for name, part in node.entries("exposure").items()
    }
    recall = _recalls(node.at("recall"), ks)
    return RetrievalResult(node.text("key"), node.text("name"), recall, _interval(node.at("mrr")), exposure)


def _difference(node: Node) -> Difference:
    return Difference(node.text("a"), node.text("b"), int(node.at("k").number()), _interval(node))


def _generation(node: Node) -> GenerationResult:
    def maybe(name: str, within: Node = node) -> Interval | None:
        entry = within.maybe(name)
        return None if entry is None else _interval(entry)

    sets = node.maybe("hashtags") or Node({}, node.where)
    macro_f1, closed_set = node.maybe("macro_f1"), node.maybe("closed_set")
    return GenerationResult(
        key=node.text("key"),
        name=node.text("name"),
        category_accuracy=maybe("category_accuracy"),
        illusory=maybe("illusory"),
        macro_f1=None if macro_f1 is None else macro_f1.number(),
        closed_set=None if closed_set is None else _closed_set(closed_set),
        confusions=[_confusion(pair) for pair in node.list("confusions")],
        bleu4=maybe("bleu4"),
        rouge1=maybe("rouge1"),
        rouge2=maybe("rouge2"),
        rouge_l=maybe("rougeL"),
        precision=maybe("precision", sets),
        recall=maybe("recall", sets),
        f1=maybe("f1", sets),
        hashtag_notes=int(node.at("hashtag_notes").number()),
    )


def _closed_set(node: Node) -> ClosedSetResult:
    bins = [
        CalibrationBin(
            int(one.at("notes").number()), one.at("confidence").number(), one.at("accuracy").number()
        )
        for one in node.list("calibration")
    ]
    return ClosedSetResult(_interval(node.at("accuracy")), node.at("calibration_error").number(), bins)


def _confusion(node: Node) -> Confusion:
    return Confusion(node.text("true"), node.text("written"), int(node.at("notes").number()))
