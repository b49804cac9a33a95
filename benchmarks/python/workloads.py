"""What benchmarks work on: real notes, in pairs."""

from pathlib import Path

import numpy as np

from notellm.cache import cache_folder
from notellm.data import Notes, debian

NOTES, PAIRS = 4096, 2048


def related_notes(table: Path | None = None, notes: int = NOTES) -> tuple[Notes, np.ndarray, np.ndarray]:
    """Notes of a table, or of the Debian catalogue, and pairs drawn at random: speed and memory do not ask how related.

    Returns:
        Up to ``notes`` notes; source and target of ``PAIRS`` pairs of them.
    """
    every = Notes.read(table) if table else debian.fetch(cache_folder("debian")).notes
    draw = np.random.default_rng(0)
    some = every.take(np.sort(draw.permutation(len(every))[:notes]))
    source = draw.integers(0, len(some), PAIRS)
    target = (source + draw.integers(1, len(some), PAIRS)) % len(some)
    return some, source, target
