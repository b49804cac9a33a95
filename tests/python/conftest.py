"""Data and a configuration on which every verb is quick."""

import resource
from contextlib import contextmanager

import numpy as np
import pytest

from notellm.data import Interactions
from samples import make_notes

NOTES = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Notes, and baskets in which neighbours by number come together."""
    folder = tmp_path_factory.mktemp("data")
    notes = make_notes(NOTES, seed=1)
    notes.write(folder / "notes.parquet")
    rng = np.random.default_rng(0)
    starts = rng.integers(0, NOTES - 6, 150)
    baskets = [np.unique(start + rng.integers(0, 6, 4)) for start in starts]
    log = Interactions(
        users=np.repeat(np.arange(len(baskets)), [len(b) for b in baskets]),
        notes=np.concatenate(baskets),
        user_ids=[f"user{i}" for i in range(len(baskets))],
        note_ids=notes.ids,
        ordered=False,
    )
    log.write(folder / "log.parquet")
    return folder


@pytest.fixture(scope="module")
def overrides(folder, tiny_folder):
    """The demo on these data, in seconds."""
    return [
        "data=files",
        f"data.notes={folder / 'notes.parquet'}",
        f"data.interactions={folder / 'log.parquet'}",
        "data.ordered=false",
        "data.test_fraction=0.5",
        "data.queries=12",
        f"model.path={tiny_folder}",
        "model.dim=8",
        "model.layers=0",
        "train.pairs_per_step=4",
        "train.max_steps=4",
        "train.lr=1e-3",
        "train.checkpoint_every=1",
        "evaluation.ks=[1,10]",
        "evaluation.generation_notes=6",
        "evaluation.bootstrap_samples=100",
        "generation.max_new_tokens=4",
    ]


@pytest.fixture
def file_size_limit():
    """A full disk, as far as one file can tell: `with file_size_limit(bytes)` none may grow beyond them."""

    @contextmanager
    def limited(size):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited
