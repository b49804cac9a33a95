"""What systems wrote, evaluated: as types and as the ``generation`` part of an ``evaluation.json``."""

from __future__ import annotations

from dataclasses import dataclass, field

from notellm.evaluation.intervals import maybe_interval, read_interval
from notellm.io.json_tree import Node
from notellm.metrics import Interval


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


def read_generation(node: Node) -> Generation:
    """Checks the ``generation`` part of an ``evaluation.json``.

    Raises:
        DataError: If something is missing or of the wrong type.
    """
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
        category_accuracy=maybe_interval(node, "category_accuracy"),
        illusory=maybe_interval(node, "illusory"),
        macro_f1=None if macro_f1 is None else macro_f1.number(),
        confusions=[
            Confusion(pair.text("true"), pair.text("written"), pair.count("notes"))
            for pair in node.list("confusions")
        ],
        closed_set=None if closed_set is None else _closed_set(closed_set),
        bleu4=maybe_interval(node, "bleu4"),
        rouge1=maybe_interval(node, "rouge1"),
        rouge2=maybe_interval(node, "rouge2"),
        rouge_l=maybe_interval(node, "rougeL"),
        hashtags=None
        if sets is None
        else HashtagSets(*(read_interval(sets.at(key)) for key in ("precision", "recall", "f1"))),
        hashtag_notes=node.count("hashtag_notes"),
        undefined={name: notes.whole() for name, notes in node.entries("undefined").items()},
    )


def _closed_set(node: Node) -> ClosedSetResult:
    return ClosedSetResult(
        read_interval(node.at("accuracy")),
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
