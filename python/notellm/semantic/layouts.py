"""Files of semantic ids: a table of our own, and the layouts that GRID and MiniOneRec read.

Those two name items by their row number, so a list of ids, or of items with their ids, lies beside the file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from string import ascii_lowercase

import numpy as np
import pyarrow as pa
import torch

from notellm.data.notes import Notes
from notellm.data.writing import write_table
from notellm.io.files import atomic_together
from notellm.io.json_files import json_text
from notellm.semantic.residual import Codes, last_codes

__all__ = ["check_layout", "files_of", "write_ids"]


def write_ids(path: str | Path, ids: Sequence[str], codes: Codes, notes: Notes | None = None) -> None:
    """Writes semantic ids in the layout that the file's ending stands for.

    - ``.parquet``: columns ``id`` and ``codes``, lists of L + 1: the last one tells equal ids apart, see `last_codes`.
    - ``.pt``: what GRID (github.com/snap-research/GRID, 63e19a8) reads as ``semantic_id_path``: a tensor ``(L + 1, N)``
      of int64, whose last row is 0 for an id that is unique and counts from 1 where several notes share one
      (``num_hierarchies`` is L + 1). Column i is item i, the note in line i of ``*.items.txt``.
    - ``.index.json``: what MiniOneRec (github.com/AkaliKong/MiniOneRec, 81b4ba9) reads: an object with a list of tokens
      for each item, ``"0": ["<a_60>", "<b_159>", "<c_203>"]``; where several notes share an id, they have one token
      more, which counts from 1. Its tasks about titles read the first three tokens, so L is 3 there.
      ``*.item.json`` has each item's ``title``, ``description`` and ``id``.

    Args:
        path: The file.
        ids: N ids of notes.
        codes: Shape ``(N, L)``.
        notes: The N notes, for titles and descriptions; without them titles are ids.

    Raises:
        ValueError: If the ending is another one, or an id cannot be written.
    """
    path = Path(path)
    check_layout(path, ids, codes.shape[1])
    _WRITERS[_ending(path)](path, ids, codes, notes)


def check_layout(path: str | Path, ids: Sequence[str], levels: int) -> None:
    """Checks before any work that a layout has this ending, and can hold these notes' ids of so many levels.

    Raises:
        ValueError: If it cannot.
    """
    if not _ending(Path(path)):
        raise ValueError(f"write_ids: the file must end in {', '.join(_WRITERS)}, but is {Path(path).name}")
    if _ending(Path(path)) == ".index.json" and levels >= len(ascii_lowercase):
        raise ValueError(
            f"write_ids: levels must be letters in tokens, at most 25 of them, but there are {levels}"
        )
    if _ending(Path(path)) == ".pt":
        for row, name in enumerate(ids):
            if "\n" in name:
                raise ValueError(f"write_ids: ids must be without line breaks, but number {row} is {name!r}")


def _ending(path: Path) -> str:
    return next((ending for ending in _WRITERS if path.name.endswith(ending)), "")


def files_of(path: str | Path) -> list[Path]:
    """All files that a layout has: the one of this name, and the list of items beside it."""
    path = Path(path)
    beside = _BESIDE.get(_ending(path))
    return [path, path.with_name(path.name.removesuffix(_ending(path)) + beside)] if beside else [path]


def _write_table(path: Path, ids: Sequence[str], codes: Codes, notes: Notes | None) -> None:
    whole = np.column_stack([codes, last_codes(codes)])
    lists = pa.FixedSizeListArray.from_arrays(pa.array(whole.ravel()), whole.shape[1])
    write_table(
        path, pa.table({"id": pa.array(ids, pa.large_string()), "codes": lists.cast(pa.list_(pa.int64()))})
    )


def _write_grid(path: Path, ids: Sequence[str], codes: Codes, notes: Notes | None) -> None:
    whole = np.column_stack([codes, last_codes(codes, first=1)])
    data = BytesIO()  # torch does not say why it cannot write a file
    torch.save(torch.from_numpy(whole).t().contiguous(), data)
    with atomic_together(*reversed(files_of(path))) as (items, temporary):
        items.write_text("".join(f"{name}\n" for name in ids), encoding="utf-8")
        temporary.write_bytes(data.getbuffer())


def _write_minionerec(path: Path, ids: Sequence[str], codes: Codes, notes: Notes | None) -> None:
    # a title becomes a cell between tabs there
    titles = [""] * len(ids) if notes is None else [" ".join(title.split()) for title in notes.titles]
    texts = [""] * len(ids) if notes is None else notes.contents
    items = {
        str(row): {"title": titles[row] or name, "description": texts[row], "id": name}
        for row, name in enumerate(ids)
    }
    lists = [
        [*numbers, last] if last else numbers
        for numbers, last in zip(codes.tolist(), last_codes(codes, first=1).tolist(), strict=True)
    ]
    tokens = {
        str(row): [f"<{ascii_lowercase[level]}_{code}>" for level, code in enumerate(numbers)]
        for row, numbers in enumerate(lists)
    }
    with atomic_together(*reversed(files_of(path))) as (listed, temporary):
        listed.write_text(json_text(items), encoding="utf-8")
        temporary.write_text(json_text(tokens), encoding="utf-8")


_BESIDE = {".pt": ".items.txt", ".index.json": ".item.json"}

_WRITERS: dict[str, Callable[[Path, Sequence[str], Codes, Notes | None], None]] = {
    ".parquet": _write_table,
    ".pt": _write_grid,
    ".index.json": _write_minionerec,
}
