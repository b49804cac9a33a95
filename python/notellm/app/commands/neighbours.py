"""Finds the nearest notes of some notes among embedded ones.

reads:   vectors made by `notellm embed`: a file, or a folder of shards, which are read in place
writes:  a table on standard output: note, rank, neighbour, cosine

for example:
  notellm neighbours --vectors vectors.safetensors --id vim --id emacs -k 5
  notellm neighbours --vectors vectors.safetensors --id vim --index HNSW32
  notellm neighbours --vectors vectors/ --id vim
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from notellm.pools.embeddings import Embeddings

__all__ = ["add_arguments", "print_table", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument(
        "--vectors", type=Path, required=True, metavar="FILE", help="the embedded notes, a file or a folder"
    )
    parser.add_argument(
        "--id", action="append", required=True, dest="ids", metavar="ID", help="a note; may be repeated"
    )
    parser.add_argument("-k", type=int, default=10, metavar="K", help="neighbours of each note (default: 10)")
    parser.add_argument(
        "--index",
        metavar="FACTORY",
        help="search through FAISS: Flat, IVF64,Flat, HNSW32, ... (default: exact)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Searches and prints the table."""
    import torch

    from notellm.retrieval import neighbours

    ids, pool, rows = _read(arguments.vectors, arguments.ids)
    at = torch.tensor(rows)
    queries = pool[at] if isinstance(pool, torch.Tensor) else pool.take(rows)
    k = min(arguments.k, len(ids))  # there are no more, and any number may be asked for
    found = neighbours(queries, pool, k, exclude=at, index=arguments.index)
    named = [[ids[row] for row in near if row >= 0] for near in found.indices.tolist()]
    print_table(arguments.ids, named, found.scores.tolist(), "cosine")


def print_table(
    asked: Sequence[str], found: Sequence[Sequence[str]], scores: Sequence[Sequence[float]], score: str
) -> None:
    """Prints neighbours as tab-separated lines.

    Args:
        asked: The notes whose neighbours they are.
        found: The neighbours of each, best first.
        scores: Their scores; there may be more of them.
        score: What these are called.
    """
    print(f"note\trank\tneighbour\t{score}")
    for note, near, values in zip(asked, found, scores, strict=True):
        for rank, (other, value) in enumerate(zip(near, values, strict=False), 1):
            print(f"{_cell(note)}\t{rank}\t{_cell(other)}\t{value:.4f}")


def _read(path: Path, asked: Sequence[str]) -> "tuple[Sequence[str], Tensor | Embeddings, list[int]]":
    """All ids, the pool, and the rows of the notes that are asked about."""
    from notellm.errors import DataError
    from notellm.pools.embeddings import Embeddings
    from notellm.vector_files import load_embeddings

    if path.is_dir():
        embeddings = Embeddings.open(path)
        return embeddings.ids, embeddings, embeddings.find(asked)
    ids, vectors = load_embeddings(path)
    positions = {note: i for i, note in enumerate(ids)}
    for note in asked:
        if note not in positions:
            raise DataError(f"{path}: must hold the note {note!r}, but does not")
        if ids.count(note) > 1:
            raise DataError(f"{path}: must hold the note {note!r} once, but holds it {ids.count(note)} times")
    return ids, vectors, [positions[note] for note in asked]


def _cell(text: str) -> str:
    """A text in a tab-separated table: characters that would break it are escaped."""
    return "".join(repr(letter)[1:-1] if letter in "\t\n\r" else letter for letter in text)
