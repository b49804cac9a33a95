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

__all__ = ["add_arguments", "run"]


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
    queries = pool.take(rows) if not isinstance(pool, torch.Tensor) else pool[at]
    found = neighbours(queries, pool, arguments.k, exclude=at, index=arguments.index)
    print("note\trank\tneighbour\tcosine")
    for note, near, scores in zip(arguments.ids, found.indices.tolist(), found.scores.tolist(), strict=True):
        for rank, (index, score) in enumerate(zip(near, scores, strict=True), 1):
            if index >= 0:
                print(f"{_cell(note)}\t{rank}\t{_cell(ids[index])}\t{score:.4f}")


def _read(path: Path, asked: Sequence[str]) -> "tuple[Sequence[str], Tensor | Embeddings, list[int]]":
    """All ids, the pool, and the rows of the notes that are asked about."""
    from notellm.embedding import load_embeddings
    from notellm.errors import DataError
    from notellm.pools.embeddings import Embeddings

    if path.is_dir():
        embeddings = Embeddings.open(path)
        return embeddings.ids, embeddings, embeddings.find(asked)
    ids, vectors = load_embeddings(path)
    positions = {note: i for i, note in enumerate(ids)}
    for note in asked:
        if note not in positions:
            raise DataError(f"{path}: must hold the note {note!r}, but does not")
    return ids, vectors, [positions[note] for note in asked]


def _cell(text: str) -> str:
    """A text in a tab-separated table: characters that would break it are escaped."""
    return "".join(repr(letter)[1:-1] if letter in "\t\n\r" else letter for letter in text)
