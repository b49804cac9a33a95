"""Files of FAISS indexes, whose own reader trusts its bytes."""

import json
from pathlib import Path

import torch

from fuzz.target import Target, of_file, target
from notellm import _core
from notellm.indexes.index import KIND, NeighbourIndex
from notellm.io.envelope import opened_envelope, written_envelope


def small_index(path: Path) -> Path:
    index = NeighbourIndex.build(4, "IVF2,SQ8", torch.eye(4))
    index.add(torch.eye(4), ["", "b", "ä", "\n"])
    index.save(path)
    return path


def index_file(folder):
    return of_file(folder / "i.index", [small_index(folder / "seed.index").read_bytes()], NeighbourIndex.load)


def index_description(folder):
    """What stands in front of FAISS's bytes, with a checksum that is right again."""
    path = small_index(folder / "i.index")
    with opened_envelope(path, KIND, "an index") as (node, size, file):
        known, content = node.value, file.read(size)

    def read(description: bytes) -> None:
        try:
            tree = json.loads(description)
        except (ValueError, RecursionError):  # never written
            return
        with written_envelope(path, KIND) as envelope:
            envelope.write(content)
            envelope.description = tree
        NeighbourIndex.load(path)

    return Target([json.dumps(known).encode()], read)


if _core.has_faiss:
    target(index_file)
    target(index_description)
