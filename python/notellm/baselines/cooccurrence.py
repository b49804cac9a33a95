"""Item-to-item co-occurrence: ranks notes by what people did with them, not by their texts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from notellm.baselines.sparse import SparseIndex
from notellm.mining import InteractionLog, mine_pairs


class CooccurrenceIndex(SparseIndex):
    """Notes of a pool by their co-occurrence score, eq. (1), without its bounds: every partner of a note counts.

    Notes that never occur together have the score 0, and tie; so do all partners of a note without events.

    Args:
        log: The events, over all notes.
        pool: Shape ``(N,)``: the notes to rank, as positions in the log's notes.

    Raises:
        IndexError: If the pool names a note that does not exist.

    Example:
        >>> from notellm.mining import _example_log
        >>> index = CooccurrenceIndex(_example_log(), np.array([2, 0, 1]))
        >>> index.nearest(1)[0].tolist(), index.nearest(1)[1].round(2).tolist()
        ([2, 0], [0.83, 0.33])
    """

    def __init__(self, log: InteractionLog, pool: npt.NDArray[np.int64]) -> None:
        from scipy.sparse import identity

        outside = pool[(pool < 0) | (pool >= len(log.note_ids))]
        if outside.size:
            raise IndexError(
                f"CooccurrenceIndex: the pool must be in [0, {len(log.note_ids)}), but holds {outside[0]}"
            )
        scores = mine_pairs(log, lower=0.0, upper=np.inf, top=0).to_csr()[pool][:, pool]
        super().__init__(scores, identity(len(pool), format="csr"))
