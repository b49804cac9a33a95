"""The time that a sweep may take: no cell is begun for which it no longer suffices."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from statistics import fmean
from typing import Any, NamedTuple

from notellm.app.studies.cell import TRAINED, Cell
from notellm.app.studies.ledger import Entry
from notellm.app.studies.study import Study


class Kind(NamedTuple):
    """Cells of one kind differ in how long they train, and otherwise take similar times.

    Attributes:
        system: Their system.
        is_searched: Whether they belong to a search.
        has_negatives: Whether an earlier model finds hard negatives, which embeds notes, and may be trained first.
    """

    system: str
    is_searched: bool
    has_negatives: bool


class Took(NamedTuple):
    """What a finished cell took.

    Attributes:
        pairs: How many its training has drawn, see `_pairs`.
        seconds: In all.
        training: Seconds of these that its training took.
    """

    pairs: int
    seconds: float
    training: float

    @classmethod
    def of(cls, pairs: int, entry: Entry) -> Took:
        """By its entry. Older ones do not say how long a training took: then all is training."""
        seconds, training = float(entry["seconds"]), float(entry["training_seconds"])
        # a first model that another cell has trained counts as its training, but took it no time
        return cls(pairs, seconds, min(training or seconds, seconds))


Times = dict[Kind, list[Took]]


class Budget:
    """What is left of a sweep's time, and what cells take.

    Args:
        hours: From now on; None: without end.
        clock: Seconds, ascending.
    """

    def __init__(self, hours: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = None if hours is None else clock() + 3600 * hours
        self._now: Times = {}
        self._before: Times = {}
        self._others: Times = {}

    def learn(self, study: Study) -> None:
        """Takes the times of finished cells from a study's ledger, which count until this sweep has its own.

        Those of other studies in its folder count where the study has none.
        """
        cells = {cell.key: cell.config.to_dict() for cell in (*study.search_cells, *study.cells)}
        self._before, self._others = {}, {}
        for key, entry in study.ledger.newest().items():
            if entry["status"] != "done":
                continue
            if key in cells:
                _add(self._before, cells[key], entry, bool(entry["searched"]))
                continue
            with suppress(
                AttributeError, IndexError, KeyError, TypeError
            ):  # nobody has checked that configuration
                _add(self._others, entry["config"], entry, bool(entry["searched"]))

    def note(self, cell: Cell, entry: Entry) -> None:
        """Takes the time of a cell that this sweep has finished."""
        _add(self._now, cell.config.to_dict(), entry, bool(cell.searched))

    def expected(self, cell: Cell) -> float | None:
        """How long a cell is likely to take, in seconds; None if nothing is known of its kind."""
        config = cell.config.to_dict()
        kind, pairs = _kind(config, bool(cell.searched)), _pairs(config)
        estimates = (_mean(times.get(kind, ()), pairs) for times in (self._now, self._before, self._others))
        return next((seconds for seconds in estimates if seconds is not None), None)

    def lacks(self, cell: Cell) -> str:
        """Why a cell must not be begun, in words; empty if it may. The first of its kind may until the time is over."""
        if self._end is None:
            return ""
        left, expected = self._end - self._clock(), self.expected(cell) or 0.0
        if left > 0 and expected <= left:
            return ""
        return f"{max(left, 0) / 60:.1f} minutes are left, and such a cell takes {_about(expected)}"


def _about(seconds: float) -> str:
    return f"about {seconds / 60:.1f}" if seconds else "an unknown time"


def _add(times: Times, config: Mapping[str, Any], entry: Entry, is_searched: bool) -> None:
    times.setdefault(_kind(config, is_searched), []).append(Took.of(_pairs(config), entry))


def _mean(times: Sequence[Took], pairs: int) -> float | None:
    """Of cells that train as long; otherwise of all, as if they did."""
    alike = [took.seconds for took in times if took.pairs == pairs]
    if alike:
        return fmean(alike)
    scaled = [took.seconds + took.training * (pairs / took.pairs - 1) for took in times if took.pairs]
    return fmean(scaled) if scaled and pairs else None


def _kind(config: Mapping[str, Any], is_searched: bool) -> Kind:
    negatives = config.get("negatives", {})  # older entries lack the group
    return Kind(_system(config), is_searched, bool(negatives.get("model")))


def _pairs(config: Mapping[str, Any]) -> int:
    """How many pairs a training draws; 0 if its epochs say it, or there is none."""
    train = config["train"]
    return int(train["max_steps"] * train["pairs_per_step"]) if _system(config) in TRAINED else 0


def _system(config: Mapping[str, Any]) -> str:
    return str(config["evaluation"]["systems"][0])
