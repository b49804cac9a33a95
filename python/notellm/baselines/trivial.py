"""The least that any system must beat: what is popular anyway, and chance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from notellm.baselines.sparse import Scores, SparseIndex


class PopularityIndex(SparseIndex):
    """Notes of a pool by their exposure, whatever the query is.

    Args:
        exposure: Shape ``(N,)``, from 0: how often each note was shown, or used.

    Raises:
        ValueError: If an exposure is negative or not finite.

    Example:
        >>> PopularityIndex(np.array([3, 9, 9, 0])).nearest(1, 3)[0].tolist()
        [2, 0, 3]
    """

    def __init__(self, exposure: npt.ArrayLike) -> None:
        from scipy.sparse import csr_matrix

        seen = np.asarray(exposure, dtype=np.float64)
        if not (np.isfinite(seen) & (seen >= 0)).all():
            raise ValueError("PopularityIndex: exposure must be finite and from 0, but is not")
        super().__init__(csr_matrix(np.ones((len(seen), 1))), csr_matrix(seen[:, None]))


class RandomIndex(SparseIndex):
    """Notes of a pool in an order of their own for each query, drawn by a seed.

    Args:
        notes: ``N``.
        seed: The same one gives the same orders.

    Example:
        >>> index = RandomIndex(5, seed=1)
        >>> index.nearest(0, 4)[0].tolist() == RandomIndex(5, seed=1).nearest(0, 4)[0].tolist()
        True
    """

    def __init__(self, notes: int, *, seed: int = 0) -> None:
        from scipy.sparse import csr_matrix

        nothing = csr_matrix((notes, 1))
        super().__init__(nothing, nothing)
        self._seed = seed

    def for_histories(self, histories: npt.ArrayLike, weights: npt.ArrayLike) -> SparseIndex:
        """The same for users; what they had changes nothing."""
        del weights
        users = RandomIndex(len(self), seed=self._seed)
        users._queries = users._queries[:1][np.zeros(len(np.asarray(histories)), np.int64)]
        return users

    def scores(self, queries: npt.ArrayLike) -> Scores:
        """Scores of the whole pool for some queries, in 0..1: ``(Q, N)``."""
        rows = self._positions("queries", queries)
        drawn = [np.random.default_rng([self._seed, row]).random(len(self)) for row in rows.tolist()]
        return np.array(drawn).reshape(len(rows), len(self))
