"""A small study with a row that fails, swept once."""

from pathlib import Path

import pytest

from notellm.app.studies import load_study, sweep
from writing import write_study

STUDY = """\
# @package _global_
study:
  title: A small study
  columns: [recall@1, recall@10, mrr, accuracy]
  seeds: [0, 1]
  against: joint
  rows:
    words: {name: TF-IDF, system: tfidf_full}
    joint: {name: Both losses, paper: {recall@10: 84.02}}
    faulty: {name: Diverges, set: [train.lr=1e30, train.lr_head=1e30, train.clip_norm=0]}
    gcl: {set: [loss=gcl_only]}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory to call notellm from, with a study in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("studies"))
        write_study(STUDY)
        yield Path.cwd()


@pytest.fixture(scope="module")
def swept(place, overrides):
    """The study, run once."""
    study = load_study("small", scale="smoke", overrides=overrides)
    said = []
    entries = sweep(study, say=said.append)
    return study, entries, said
