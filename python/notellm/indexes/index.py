"""The index: training, adding, searching, files."""

import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from notellm._core import retrieval as _core
from notellm.errors import DataError
from notellm.indexes.blocks import Block, Vectors, as_tensor, draw, rows_of
from notellm.indexes.found import Neighbours
from notellm.io.envelope import opened_envelope, written_envelope
from notellm.io.id_column import IdColumn, as_column
from notellm.progress import ProgressFn

__all__ = ["SAMPLE", "NeighbourIndex", "Training"]

KIND = b"notellm-index-1\n"
"""How the file of an index begins."""

SAMPLE = 100_000
"""How many vectors an index is trained on, if the caller does not say."""


class Training(NamedTuple):
    """What an index learned from.

    Attributes:
        sample: How many vectors.
        seed: What they were drawn with; None if the caller chose them.
        seconds: Time that training and adding took.
    """

    sample: int
    seed: int | None
    seconds: float


class NeighbourIndex:
    """A FAISS index: faster than exact search, but some neighbours are missed.

    There are two kinds:

    - ``NeighbourIndex(pool, factory)`` is *over a pool*, which it keeps. FAISS proposes candidates; they are then
      scored and ordered exactly as `neighbours` does without an index.
    - `build`, `from_blocks` and `load` make one that keeps only what FAISS keeps, and the ids: for ``"PQ16"``, 16 bytes
      of each vector. So the pool need not be in memory, neither now nor later. Its scores are FAISS's own, in float32;
      for all but ``"Flat"`` and ``"HNSW"`` they are approximate. Where the vectors are at hand, ``search(rescore=...)``
      scores exactly what the index proposes.

    Norms of vectors must be below 1e15, since FAISS adds up squares in float32. Any number of threads may search an
    index at once.

    Args:
        pool: Shape ``(N, d)``, floating point. Do not change it while the index is used.
        factory: FAISS description: ``"Flat"`` (every vector in float32), ``"SQ8"`` (a byte for each number),
            ``"PQ16"`` (16 bytes for each vector), ``"HNSW32"`` (a graph with 32 links for each vector),
            ``"IVF256,Flat"`` or ``"IVF256,PQ16"`` (256 clusters, a few of which are searched), ``"OPQ16,..."`` (a
            rotation that suits PQ16), ``"PCA64,..."`` (64 numbers of each vector), ``"...,RFlat"`` (FAISS keeps the
            vectors, too, and scores again). Others are refused.
        parameters: See `set_parameters`.

    Attributes:
        factory: The description.
        training: What it was trained on, and how long that took.

    Raises:
        NotSupportedError: If the build has no FAISS; for `build`, `from_blocks` and `load`, too.
        ValueError: If FAISS refuses the description or the parameters, or the pool has too few vectors to train, or
            they lie in too few directions (``"PCAW64,..."``).

    Example:
        >>> import torch
        >>> pool = torch.nn.functional.normalize(torch.randn(1000, 16), dim=1)
        >>> index = NeighbourIndex.build(16, "IVF8,SQ8", sample=pool[:500])
        >>> index.add(pool[:600], [f"note {i}" for i in range(600)])
        >>> index.add(pool[600:], [f"note {i}" for i in range(600, 1000)])
        >>> index.set_parameters("nprobe=8")
        >>> index.ids_of(index.search(pool[7:8], 1).indices)
        [['note 7']]
    """

    def __init__(self, pool: Tensor, factory: str, *, parameters: str = "") -> None:
        begin = time.perf_counter()
        made = _core.NeighbourIndex(pool, factory, parameters)
        self._begin(made, factory, Training(len(pool), None, time.perf_counter() - begin))

    def _begin(self, index: _core.NeighbourIndex, factory: str, training: Training) -> None:
        self.factory, self.training = factory, training
        self._index = index
        self._ids: IdColumn | None = None  # of the rows; what is beyond them is of an `add` that ended early
        self._lock = threading.Lock()  # of rows together with ids

    @classmethod
    def build(
        cls, width: int, factory: str, sample: Tensor | None = None, *, seed: int | None = None
    ) -> "NeighbourIndex":
        """An index without rows, trained on a sample.

        Args:
            width: ``d``, the vectors' width.
            factory: See the class.
            sample: Shape ``(n, d)``, floating point; None where nothing is learned (``"Flat"``, ``"HNSW32"``). ``n``
                must be at least the number of clusters, and 256 for PQ and OPQ; some 40 to 256 for each cluster are
                good, and more are not used. FAISS's clustering has constant seeds, so the sample decides.
            seed: What the sample was drawn with, if that is to be known later.

        Returns:
            The index.

        Raises:
            ValueError: If the description or the sample do not fit; says how many vectors, or directions, are needed.
        """
        index, begin = cls.__new__(cls), time.perf_counter()
        made = _core.NeighbourIndex.build(width, factory, sample)
        size = 0 if sample is None else len(sample)
        index._begin(made, factory, Training(size, seed, time.perf_counter() - begin))
        return index

    @classmethod
    def from_blocks(
        cls,
        blocks: Iterable[Block],
        factory: str,
        *,
        sample: int = SAMPLE,
        seed: int = 0,
        progress: ProgressFn | None = None,
    ) -> "NeighbourIndex":
        """An index over a pool that comes in blocks, one of which is in memory at a time.

        Args:
            blocks: Read twice, first for the sample: so a list, or an object that begins anew, and no generator.
            factory: See the class.
            sample: How many vectors it is trained on; all where there are fewer.
            seed: Decides which; how the pool is cut into blocks does not.
            progress: Called with (rows added, rows).

        Returns:
            The index.

        Raises:
            ValueError: If there are no rows, they do not fit together, or are too few for the description.
        """
        drawn, count = draw(blocks, sample, seed)
        index = cls.build(drawn.shape[1], factory, drawn, seed=seed)
        for ids, rows in blocks:
            if progress is not None:
                progress(len(index), count)
            index.add(rows, ids)
        if progress is not None:
            progress(len(index), count)
        return index

    @property
    def width(self) -> int:
        """``d``, the vectors' width."""
        return self._index.width

    def __len__(self) -> int:
        return len(self._index)

    def add(self, rows: Tensor | NDArray[Any], ids: Sequence[str] | None = None) -> None:
        """Adds rows behind those that are there. The index is the same in whatever pieces they come.

        Only the links of HNSW depend on which thread comes first: where each build must give the same graph, add with
        ``torch.set_num_threads(1)``, which is slower by the number of cores.

        If it ends early (Ctrl-C), ``len(index)`` says how many of the rows are there, and these have their ids.

        Args:
            rows: Shape ``(n, d)``, floating point; kept as float32.
            ids: ``n`` texts that nobody else has, for all rows of an index or for none.

        Raises:
            ValueError: If rows or ids do not fit, or the index is one over a pool.
        """
        if ids is not None and len(ids) != len(rows):
            raise ValueError(
                f"NeighbourIndex: ids and rows must be as many, but are {len(ids)} and {len(rows)}"
            )
        column, begin = None if ids is None else as_column(ids), time.perf_counter()
        with self._lock:
            self._take_ids(column)
            self._index.add(as_tensor(rows))
            seconds = self.training.seconds + time.perf_counter() - begin
            self.training = self.training._replace(seconds=seconds)

    def _take_ids(self, column: pa.LargeStringArray | None) -> None:
        """Keeps ids of the rows that come next: before the rows, so that none can be there without its id."""
        if not len(self):
            self._ids = None if column is None else IdColumn()
        elif (column is None) != (self._ids is None):
            raise ValueError(
                "NeighbourIndex: all rows must have ids, or none, but some have and some have not"
            )
        if self._ids is not None:
            self._ids.cut(len(self))
            self._ids.extend(column)

    def set_parameters(self, parameters: str) -> None:
        """Sets what the next searches do: more is slower and misses less.

        Args:
            parameters: ``"nprobe=8"`` (clusters searched), ``"efSearch=64"`` (candidates of HNSW), ``"max_codes=9999"``
                (vectors searched; 0: all), ``"quantizer_efSearch=64"`` (of HNSW before clusters), ``"k_factor_rf=4"``
                (candidates of RFlat for each neighbour), or ``"efConstruction=80"`` for the next `add`; several with
                commas between.

        Raises:
            ValueError: If there is no such parameter, or not in this index.
        """
        self._index.set_parameters(parameters)

    def search(
        self,
        queries: Tensor,
        k: int,
        *,
        exclude: Tensor | None = None,
        rescore: Vectors | None = None,
        candidates: int | None = None,
    ) -> Neighbours:
        """The neighbours the index finds; arguments, result and errors as in `neighbours`.

        Args:
            queries: Shape ``(Q, d)``, floating point. Over a pool, of its dtype and device.
            k: Neighbours of each query. Fewer are found where the index has fewer rows or searches too few clusters.
            exclude: Shape ``(Q,)`` or ``(Q, E)`` int64, rows to leave out for each query; -1 for none.
            rescore: The vectors of all rows, from which those proposed are taken by ``rescore[rows]``: a tensor, or an
                array, which may be mapped from a file. Their exact scores, and order, replace FAISS's.
            candidates: How many notes FAISS proposes for each query, of which rescoring leaves the ``k`` best; by
                default ``k``, and where it is less than ``k``.

        Returns:
            Scores and rows, best first; `ids_of` turns rows into ids.
        """
        wanted = k if rescore is None or candidates is None or k < 1 else max(k, candidates)
        found = Neighbours(*self._index.search(queries, wanted, exclude))
        if rescore is None:
            return found
        # Ascending, with -1 first where there are gaps.
        rows, places = found.indices.unique(return_inverse=True)  # type: ignore[no-untyped-call]
        gaps = int((rows < 0).sum())
        vectors = rows_of(rescore, rows[gaps:]).to(queries.device)
        dtype = torch.promote_types(queries.dtype, vectors.dtype)
        best = _core.nearest_among(queries.to(dtype), vectors.to(dtype), places - gaps, k)
        with_none = torch.cat([rows[gaps:], torch.tensor([-1])])  # at -1, too
        return Neighbours(best[0], with_none[best[1]])

    def ids_of(self, indices: Tensor) -> list[list[str]]:
        """The ids of the rows that a search found, shape ``(Q, k)``, for each query; none for -1.

        Raises:
            ValueError: If the index has no ids.
        """
        found = [[row for row in rows if row >= 0] for rows in indices.tolist()]
        with self._lock:
            named = iter(self._known_ids().take(row for rows in found for row in rows))
        return [[next(named) for _ in rows] for rows in found]

    def rows_of(self, ids: Sequence[str]) -> Tensor:
        """Shape ``(n,)`` int64: where ids are, a column of pyarrow's too; -1 for those that the index does not have.

        Raises:
            ValueError: If the index has no ids.
        """
        with self._lock:
            return torch.tensor(self._known_ids().positions(ids), dtype=torch.int64)

    def stored(self, rows: Tensor) -> Tensor:
        """Shape ``(n, d)`` float32: vectors as the index keeps them, which for all but Flat and HNSW is not exactly.

        Args:
            rows: Shape ``(n,)`` int64.

        Raises:
            ValueError: If a row is not there, or FAISS cannot say (PQ with 4 bits, ``x4fs``).
        """
        return self._index.stored(rows)

    def save(self, path: str | Path) -> None:
        """Writes the index and its ids, complete or not at all; a pool's vectors are not written.

        Raises:
            ValueError: If two rows have the same id.
            OSError: If it cannot be written.
        """
        with self._lock, written_envelope(path, KIND) as envelope:
            ids = None if self._ids is None else self._known_ids()
            if ids is not None and (twice := ids.repeated()) is not None:
                raise ValueError(f"NeighbourIndex: ids must be unique, but {twice!r} is there twice")
            for part in ids.buffers() if ids is not None else ():
                envelope.write(part)
            id_bytes = envelope.size
            self._index.write(envelope.write)
            envelope.description = {
                "factory": self.factory,
                "width": self.width,
                "count": len(self),
                "training": self.training._asdict(),
                "faiss": _core.faiss_version(),
                "id_bytes": None if ids is None else id_bytes,
                "faiss_bytes": envelope.size - id_bytes,
            }

    @classmethod
    def load(cls, path: str | Path) -> "NeighbourIndex":
        """Reads what `save` wrote. FAISS sees its bytes only after their checksum, for it trusts them.

        The checksum tells damage, not intent: do not load an index of a stranger.

        Raises:
            DataError: If the file is missing, damaged, or none of an index.
        """
        version = _core.faiss_version()
        with opened_envelope(path, KIND, "an index of NeighbourIndex.save") as (node, size, file):
            training, id_bytes = node.at("training"), node.maybe("id_bytes")
            sizes = [0 if id_bytes is None else id_bytes.whole(), node.count("faiss_bytes")]
            if min(sizes) < 0 or sum(sizes) != size:
                raise DataError(f"{path}: parts must be {size} bytes together, but are {sizes}")
            try:
                ids = (
                    None
                    if id_bytes is None
                    else IdColumn.from_bytes(file.read(sizes[0]), node.count("count"))
                )
                made = _core.NeighbourIndex.read(file.readinto, sizes[1])
            except (ValueError, DataError) as error:
                written = node.text("faiss", "?")
                raise DataError(
                    f"{path}: written with FAISS {written}, read with {version}: {error}"
                ) from None
            if (made.width, len(made)) != (node.count("width"), node.count("count")):
                raise DataError(
                    f"{path}: must hold what its description says, but is ({len(made)}, {made.width})"
                )
            seed = training.maybe("seed")
            known = Training(
                training.count("sample"),
                None if seed is None else seed.whole(),
                training.at("seconds").number(),
            )
            index = cls.__new__(cls)
            index._begin(made, node.text("factory"), known)
            index._ids = ids
        return index

    def _known_ids(self) -> IdColumn:
        if self._ids is None:
            raise ValueError("NeighbourIndex: rows must have ids, but were added without")
        self._ids.cut(len(self))
        return self._ids
