"""The search for a row's learning rate, or another option: a few values, compared on validation notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from notellm.app.config import config_keys
from notellm.app.studies.cell import Cell
from notellm.app.studies.ledger import Entry
from notellm.errors import ConfigError, DataError
from notellm.io.json_tree import Node

KEYS = ("key", "values", "by", "sizes", "set", "seed", "like")


@dataclass(frozen=True)
class SearchOptions:
    """Options of a search: a study's node ``tune`` (with key, values and sizes from its scale), changed by the row's.

    Attributes:
        key: The configuration's key, such as ``train.lr``.
        values: The values to try.
        by: The metric to maximise, measured on notes held out for validation.
        set: Further overrides of the search's runs: the scale's ``sizes``, then the study's and the row's ``set``.
        seed: Seed of the search's runs.
        like: A row whose value is taken instead of a search; empty: the row has its own search.
    """

    key: str
    values: tuple[Any, ...]
    by: str = "mrr"
    set: tuple[str, ...] = ()
    seed: int = 0
    like: str = ""

    @classmethod
    def read(cls, study: Mapping[str, Any], row: Mapping[str, Any], where: str) -> SearchOptions:
        """Reads a study's node ``tune`` with a row's changes.

        Raises:
            ConfigError: If they have wrong keys or values.
        """
        unknown = [key for key in {**study, **row} if key not in KEYS]
        if unknown:
            raise ConfigError(
                f"{where}: tune may hold {', '.join(KEYS)}, but holds {', '.join(map(str, unknown))}"
            )
        node = Node({**study, **row}, f"{where}: tune")
        try:
            overrides = [
                *node.texts("sizes"),
                *Node(study, node.where).texts("set"),
                *Node(row, node.where).texts("set"),
            ]
            key, values = node.text("key", ""), tuple(value.value for value in node.list("values"))
            seed = node.maybe("seed")
            found = cls(
                key=key,
                values=values,
                by=node.text("by", "mrr"),
                set=tuple(overrides),
                seed=0 if seed is None else seed.whole(),
                like=node.text("like", ""),
            )
        except DataError as error:
            raise ConfigError(str(error)) from None
        if any(value in values[:place] for place, value in enumerate(values)):
            raise ConfigError(f"{node.where}.values must be given once each, but are {list(values)}")
        if key and key not in config_keys():
            raise ConfigError(f"{node.where}.key must be a key of the configuration, but is {key!r}")
        return found


@dataclass(frozen=True)
class Search:
    """The runs by which a value is chosen.

    Attributes:
        options: The options of the search.
        row: Key of the row that the search is for.
        cells: One for each of the options' values, in their order.
    """

    options: SearchOptions
    row: str
    cells: Sequence[Cell] = field(repr=False)

    def state(self, newest: Mapping[str, Entry]) -> str:
        """Why there is no choice yet; empty if there is one.

        Args:
            newest: The ledger's newest entries, by key.
        """
        entries = [newest.get(cell.key) for cell in self.cells]
        if not all(entry and (entry["status"] == "done" or has_diverged(entry)) for entry in entries):
            return "its search is not finished"
        done = [entry for entry in entries if entry and entry["status"] == "done"]
        if not done:
            return "its search has found nothing"
        if len({entry["data"] for entry in entries if entry and entry["data"]}) > 1:
            return "its search is on several data"
        if any(self.options.by not in entry["metrics"] for entry in done):
            return f"its search has no {self.options.by}"
        return ""

    def choice(self, newest: Mapping[str, Entry]) -> Any:
        """The value with the highest metric (the earlier one if equal); None if there is none yet.

        Args:
            newest: The ledger's newest entries, by key.
        """
        if self.state(newest):
            return None
        scored = []
        for cell, value in zip(self.cells, self.options.values, strict=True):
            entry = newest[cell.key]
            if entry["status"] == "done":
                scored.append((entry["metrics"][self.options.by], value))
        return max(scored, key=lambda pair: pair[0])[1]


def has_diverged(entry: Entry) -> bool:
    """Whether a run has failed because its training diverged: for a search this is a result, not an error."""
    return entry["status"] == "failed" and str(entry["error"]).startswith("FloatingPointError")
