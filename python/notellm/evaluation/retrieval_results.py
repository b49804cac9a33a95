"""How well systems find the targets, as types and as parts of an ``evaluation.json``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from notellm.errors import DataError
from notellm.evaluation.intervals import maybe_interval, read_interval, read_intervals
from notellm.evaluation.significance import Verdict
from notellm.io.json_tree import Node, shortened
from notellm.metrics import Interval


@dataclass(frozen=True)
class Exposure:
    """Recall over the queries whose target was shown rarely, or often."""

    queries: int
    recall: dict[int, Interval]


@dataclass(frozen=True)
class ByTarget:
    """The macro averages: every target weighs the same, however many queries have it."""

    recall: dict[int, Interval]
    ndcg: dict[int, Interval]
    mrr: Interval
    log_score: Interval


@dataclass(frozen=True)
class ListResult:
    """What a system recommends, whether it is right or not, in lists of one length.

    Attributes:
        coverage: The share of the pool that is in some list.
        novelty: How surprising a recommended note is, in bits: ``-log2`` of the share of users who have it.
        popularity: The place of a recommended note among the pool by exposure, 0 to 1; without a bias 0.5.
    """

    coverage: float
    novelty: Interval
    popularity: Interval


@dataclass(frozen=True)
class RetrievalResult:
    """How well one system finds the targets; fractions in 0..1, with 95 % bootstrap intervals over targets.

    Attributes:
        key: Of the system. name: In tables.
        recall: By cut-off; with one target for each query also the hit rate.
        mrr: Mean reciprocal rank.
        exposure: By side.
        analyzer: For a system that compares words, how texts were tokenised; empty for others.
        ndcg: By cut-off. map: By cut-off; with one target for each query also MRR@k.
        log_score: ``1 - ln(rank) / ln(notes to choose from)``, 1 for the first place and 0 for the last one.
        by_target: The macro averages.
        lists: By length: coverage, novelty and popularity of what it recommends.

    Those from ``ndcg`` on are empty or None in files of older versions.
    """

    key: str
    name: str
    recall: dict[int, Interval]
    mrr: Interval
    exposure: dict[str, Exposure] = field(default_factory=dict)
    analyzer: str = ""
    ndcg: dict[int, Interval] = field(default_factory=dict)
    map: dict[int, Interval] = field(default_factory=dict)
    log_score: Interval | None = None
    by_target: ByTarget | None = None
    lists: dict[int, ListResult] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """Recall at ``k`` of system ``a`` minus that of ``b`` over the same queries (a paired bootstrap over targets).

    ``p``, ``smallest`` and ``verdict`` are those of `notellm.evaluation.Comparison`, corrected for all comparisons of
    the evaluation; None in files of older versions.
    """

    a: str
    b: str
    k: int
    value: float
    low: float
    high: float
    p: float | None = None
    smallest: float | None = None
    verdict: str | None = None

    @property
    def interval(self) -> Interval:
        """The difference with its 95 % interval."""
        return Interval(self.value, self.low, self.high)

    @property
    def is_clear(self) -> bool:
        """Whether it is higher or lower beyond doubt; in older files, whether the interval excludes 0."""
        if self.verdict is None:
            return self.low > 0 or self.high < 0
        return self.verdict in (Verdict.HIGHER, Verdict.LOWER)


def read_retrieval(node: Node, ks: Sequence[int]) -> RetrievalResult:
    """Checks a system of an ``evaluation.json``.

    Raises:
        DataError: If something is missing or of the wrong type.
    """
    by_target = node.maybe("by_target")
    return RetrievalResult(
        node.text("key"),
        node.text("name"),
        read_intervals(node.at("recall"), ks),
        read_interval(node.at("mrr")),
        {
            name: Exposure(part.count("queries"), read_intervals(part.at("recall"), ks))
            for name, part in node.entries("exposure").items()
        },
        node.text("analyzer", ""),
        _maybe_intervals(node, "ndcg", ks),
        _maybe_intervals(node, "map", ks),
        maybe_interval(node, "log_score"),
        None if by_target is None else _by_target(by_target, ks),
        {_length(k, found): _lists(found) for k, found in node.entries("lists").items()},
    )


def read_difference(node: Node) -> Difference:
    """Checks a difference of an ``evaluation.json``.

    Raises:
        DataError: If something is missing or of the wrong type.
    """
    verdict = node.text("verdict") if node.maybe("verdict") else None
    if verdict not in (None, *(known.value for known in Verdict)):
        raise DataError(f"{node.where}: verdict: must be {', '.join(Verdict)}, but is {shortened(verdict)}")
    p, smallest = (node.maybe(name) for name in ("p", "smallest"))
    return Difference(
        node.text("a"),
        node.text("b"),
        node.count("k"),
        *read_interval(node),
        None if p is None else p.number(),
        None if smallest is None else smallest.number(),
        verdict,
    )


def _maybe_intervals(node: Node, key: str, ks: Sequence[int]) -> dict[int, Interval]:
    return read_intervals(node.at(key), ks) if node.entries(key) else {}


def _by_target(node: Node, ks: Sequence[int]) -> ByTarget:
    recall, ndcg = (read_intervals(node.at(name), ks) for name in ("recall", "ndcg"))
    return ByTarget(recall, ndcg, read_interval(node.at("mrr")), read_interval(node.at("log_score")))


def _lists(node: Node) -> ListResult:
    coverage = node.at("coverage").number()
    return ListResult(coverage, read_interval(node.at("novelty")), read_interval(node.at("popularity")))


def _length(text: str, node: Node) -> int:
    if not text.isdecimal():
        raise DataError(f"{node.where}: must be below the length of lists, but is below {shortened(text)}")
    return int(text)
