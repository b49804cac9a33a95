"""What semantic ids are good for, before any recommender is trained on them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from notellm.data.coding import numbered
from notellm.semantic.residual import Codebooks, Codes

__all__ = ["describe"]


def describe(
    vectors: Tensor, books: Codebooks, codes: Codes, categories: Sequence[str] | None = None, *, seed: int = 0
) -> dict[str, Any]:
    """Collisions, use of codes, what is lost, and how pure the groups are that share their first codes.

    Args:
        vectors: Shape ``(N, d)``, N at least 1.
        books: From `fit_codebooks`.
        codes: Shape ``(N, L)``, from ``books.encode(vectors)``.
        categories: N names; notes without one (``""``) do not count. None: no purity.
        seed: Of the shuffled categories.

    Returns:
        ``notes``; ``distinct`` ids; ``colliding``, notes that share their id, and ``largest``, how many share one; and
        for each level in ``levels``:

        - ``codes`` that there are and that are ``used``, ``entropy`` of their use in bits, ``perplexity``, 2 to this;
        - ``error``: the squared distance between vectors and sums of centroids so far, over that from their mean;
        - ``groups``, the number of different beginnings so far, and their ``purity``: the share of notes whose category
            is the most frequent one of their group. Groups of one note are pure, so ``purity_by_chance`` is that of the
            same groups with shuffled categories.
    """
    rows = vectors.double().numpy()
    spread = float(np.square(rows - rows.mean(0)).sum())
    _, sizes = np.unique(codes, axis=0, return_counts=True)
    levels = []
    for level, centroids in enumerate(books.levels):
        so_far = codes[:, : level + 1]
        left = float(np.square(rows - books.decode(so_far)).sum())
        _, group = np.unique(so_far, axis=0, return_inverse=True)
        levels.append(
            {"codes": len(centroids)}
            | _use(codes[:, level])
            | {"error": left / spread if spread else 0.0, "groups": int(group.max()) + 1}
            | ({} if categories is None else _purities(group.reshape(-1), categories, seed))
        )
    return {
        "notes": len(codes),
        "distinct": len(sizes),
        "colliding": int(sizes[sizes > 1].sum()),
        "largest": int(sizes.max()),
        "levels": levels,
    }


def _use(codes: npt.NDArray[np.int64]) -> dict[str, Any]:
    _, counts = np.unique(codes, return_counts=True)
    shares = counts / counts.sum()
    entropy = abs(float(-(shares * np.log2(shares)).sum()))  # not -0.0
    return {"used": len(counts), "entropy": entropy, "perplexity": 2**entropy}


def _purities(groups: npt.NDArray[np.int64], categories: Sequence[str], seed: int) -> dict[str, float | None]:
    names, kinds = numbered(categories)
    has = kinds != (names.index("") if "" in names else -1)
    if not has.any():
        return {"purity": None, "purity_by_chance": None}
    kinds, groups = kinds[has], groups[has]
    shuffled = kinds[np.random.default_rng(seed).permutation(len(kinds))]
    return {"purity": _purity(groups, kinds), "purity_by_chance": _purity(groups, shuffled)}


def _purity(groups: npt.NDArray[np.int64], kinds: npt.NDArray[np.int64]) -> float:
    both, counts = np.unique(np.stack([groups, kinds]), axis=1, return_counts=True)
    best = np.zeros(int(groups.max()) + 1, np.int64)
    np.maximum.at(best, both[0], counts)
    return int(best.sum()) / len(groups)
