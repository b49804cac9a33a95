"""What a ledger says of its runs, for the templates of findings."""

from __future__ import annotations

from notellm.app.numbers import one_decimal, signed_points
from notellm.app.studies import Ledger
from notellm.app.studies.cell import TRAINED
from notellm.app.studies.ledger import Entry


class Percent(float):
    """A number in percent or in points, which prints itself with one decimal."""

    def __str__(self) -> str:
        return one_decimal(self)

    @property
    def signed(self) -> str:
        """With its sign, as a difference."""
        return signed_points(self)


class LedgerRecords:
    """What a ledger says of its runs.

    Args:
        ledger: The ledger.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._entries = [entry for entry in ledger.entries() if entry["status"] == "done"]
        self._newest = {entry["key"]: entry for entry in self._entries}

    @property
    def runs(self) -> int:
        """Finished runs, each once."""
        return len(self._newest)

    @property
    def trained(self) -> int:
        """Those that train a language model."""
        return len(self._trainings)

    @property
    def minutes(self) -> list[Percent]:
        """The shortest and the longest of these."""
        seconds = [entry["seconds"] for entry in self._trainings]
        return [Percent(min(seconds) / 60), Percent(max(seconds) / 60)]

    @property
    def machines(self) -> list[str]:
        """The machines that trained them, as entries name these; older entries do not."""
        return sorted({entry["machine"] for entry in self._trainings} - {""})

    @property
    def repeated(self) -> int:
        """Runs that are in the ledger more than once."""
        return len(self._repeats)

    @property
    def repeated_by_same_code(self) -> int:
        """Those of them that have two entries of one commit."""
        return sum(len({e["commit"] for e in of}) < len(of) for of in self._repeats)

    @property
    def repeated_exactly(self) -> int:
        """Those of which all entries are of one kind of machine, with the same metrics and vectors."""
        same = ("machine", "metrics", "queries", "embeddings")
        made = [[[entry[key] for key in same] for entry in of] for of in self._repeats]
        return sum(all(one == of[0] for one in of) for of in made)

    @property
    def repeated_rows(self) -> list[str]:
        """Their rows."""
        return sorted({of[0]["row"] for of in self._repeats})

    def repeated_within(self, column: str) -> Percent:
        """The largest difference between two entries of a run."""
        values = [[100 * entry["metrics"][column] for entry in of] for of in self._repeats]
        return Percent(max(max(of) - min(of) for of in values))

    @property
    def _trainings(self) -> list[Entry]:
        return [e for e in self._newest.values() if e["config"]["evaluation"]["systems"] == [TRAINED[0]]]

    @property
    def _repeats(self) -> list[list[Entry]]:
        by_key: dict[str, list[Entry]] = {}
        for entry in self._entries:
            by_key.setdefault(entry["key"], []).append(entry)
        return [of for of in by_key.values() if len(of) > 1]
