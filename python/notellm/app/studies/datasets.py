"""The data of a study's cells: read once, and split anew for every cell with another split."""

from __future__ import annotations

from dataclasses import dataclass

from notellm.app.kept import backbone_key, encoder_key
from notellm.app.pipeline import Dataset
from notellm.app.pipeline.catalogue import Catalogue, read_catalogue
from notellm.app.pipeline.data import fingerprint, split_catalogue
from notellm.app.pipeline.negatives import earlier_model_key
from notellm.app.studies.cell import Cell


@dataclass(frozen=True)
class DataNames:
    """What the ledger says of a cell's data.

    Attributes:
        data: The fingerprint of notes, log and split and, if models are a user's folders, of their files.
        catalogue: The fingerprint of notes and log alone: seeds with splits of their own have it in common.
    """

    data: str
    catalogue: str


class Datasets:
    """The data of cells. Notes and logs are read once; of their splits only the last one is held, and all names."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[Catalogue, str]] = {}
        self._names: dict[str, DataNames] = {}
        self._last: tuple[str, Dataset] | None = None

    def of(self, cell: Cell) -> Dataset:
        """The data of a cell."""
        if self._last is None or self._last[0] != cell.sources:
            self._last = None  # so that never two are held
            self._last = cell.sources, split_catalogue(self._catalogue(cell)[0], cell.config)
        return self._last[1]

    def names_of(self, cell: Cell) -> DataNames:
        """The names of a cell's data."""
        if cell.sources not in self._names:
            models = (backbone_key, encoder_key, earlier_model_key)
            parts = [fingerprint(self.of(cell)), *(key(cell.config) for key in models)]
            self._names[cell.sources] = DataNames("-".join(filter(None, parts)), self._catalogue(cell)[1])
        return self._names[cell.sources]

    def _catalogue(self, cell: Cell) -> tuple[Catalogue, str]:
        if cell.catalogue not in self._read:
            found = read_catalogue(cell.config)
            self._read[cell.catalogue] = found, found.fingerprint()
        return self._read[cell.catalogue]
