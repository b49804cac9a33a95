"""Ctrl-C in a long call of the core ends it soon, and leaves nothing half-made."""

import signal
import time
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from notellm import _core, bootstrap_mean
from notellm._core.retrieval import nearest_among
from notellm.metrics import bootstrap_bleu, rouge
from notellm.retrieval import NeighbourIndex

needs_faiss = pytest.mark.skipif(not _core.has_faiss, reason="built without FAISS")

SECONDS = 15
"""Until a call must have ended; each would take several times as long. A busy machine is slow."""


@contextmanager
def interrupted():
    """The body gets a signal after a moment, whose handler does what Python's does at Ctrl-C."""
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    begin = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - begin < SECONDS


def rows(count, width=32):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(0))


def test_bootstraps_end():
    with interrupted():
        bootstrap_mean(np.zeros(200_000), samples=100_000)
    with interrupted():
        bootstrap_bleu(np.ones((200_000, 10), np.int64), samples=50_000)


def test_rouge_of_long_texts_ends():
    words = [str(number % 7) for number in range(400_000)]
    with interrupted():
        rouge(words, words)


@needs_faiss
@pytest.mark.parametrize("factory", ["IVF16384,Flat", "PCA8,IVF16384,SQ8", "PQ16x12"])
def test_training_an_index_ends(factory):
    sample = rows(300_000)
    with interrupted():
        NeighbourIndex.build(32, factory, sample)


@needs_faiss
def test_an_index_over_a_pool_ends():
    pool = rows(200_000)
    with interrupted():
        NeighbourIndex(pool, "HNSW64")


def test_scoring_candidates_ends():
    """On one core it takes half a minute or more."""
    queries, pool = torch.ones(1, 4096).expand(5000, 4096), torch.ones(2000, 4096)
    with interrupted():
        nearest_among(queries, pool, torch.arange(2000).expand(5000, 2000), 5)


@needs_faiss
@pytest.mark.parametrize("factory", ["Flat", "IVF1,Flat", "SQ8", "PQ16x4", "HNSW8"])
def test_a_search_ends(factory):
    index = NeighbourIndex.build(32, factory, rows(300))
    index.add(rows(20_000 if factory == "HNSW8" else 200_000))
    queries = rows(300_000)
    index.search(queries[:3], 3)
    with interrupted():
        index.search(queries, 100)
    index.search(queries[:3], 3)


@needs_faiss
def test_an_add_ends_between_blocks():
    index = NeighbourIndex.build(32, "HNSW16")
    pool, ids = rows(300_000), [str(row) for row in range(300_000)]
    with interrupted():
        index.add(pool, ids)
    there = len(index)
    assert there < 300_000
    index.add(pool[there : there + 10], ids[there : there + 10])
    assert index.ids_of(index.search(pool[there + 5 : there + 6], 1).indices) == [[ids[there + 5]]]
