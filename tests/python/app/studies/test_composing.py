"""Configurations composed together are those that Hydra composes one by one."""

from pathlib import Path

import pytest

from notellm.app.config import compose, compose_study
from notellm.app.studies.composing import Composer
from notellm.errors import ConfigError

ROOT = Path(__file__).parents[4]
SAME = [
    [],
    ["name=mine"],  # run_dir is made of it
    ["name=mine", "run_dir=elsewhere/${name}"],
    ["loss.alpha=0.1", "loss=gcl_only", "seed=2"],  # a key stays as given, wherever its group stands
    ["loss=gcl_only", "train.lr=2e-4", "evaluation.ks=[1,5]", "data.queries=7"],
    ["scale=smoke", "prompt.category=['<title>', ' a, b', '<emb>', '<category>']", "train.lr=2.0e-05"],
    ["train=release", "++loss.alpha=0.5"],
]


def test_they_are_the_same():
    composer = Composer()
    assert [composer.compose(changes) for changes in SAME * 2] == [compose(changes) for changes in SAME * 2]


def test_studies_are_the_same(monkeypatch):
    monkeypatch.chdir(ROOT)
    composer = Composer()
    for changes in (
        ["scale=laptop"],
        ["scale=laptop", "experiment=table2"],
        ["experiment=negatives", "seed=1"],
    ):
        node = composer.study(changes)
        assert node == compose_study(changes)
        assert node == compose_study(list(reversed(changes)))
        assert ("rows" in node) == (len(changes) > 1)
    read_before = ["scale=laptop"]
    assert composer.compose(read_before) == compose(read_before)


@pytest.mark.parametrize(
    "wrong", ["loss.alhpa=1", "loss.alpha=-1", "loss=none", "seed=[1", "evaluation.ks=[]"]
)
def test_what_is_refused_is_refused_in_the_same_words(wrong):
    composer, said = Composer(), []
    composer.compose(["seed=1"])
    for function in (composer.compose, compose):
        with pytest.raises(ConfigError) as caught:
            function(["seed=1", wrong])
        said.append(str(caught.value))
    assert said[0] == said[1]


def test_hydra_composes_each_choice_of_groups_once(monkeypatch):
    from notellm.app.studies import composing

    asked, real = [], composing.compose_tree
    monkeypatch.setattr(
        composing, "compose_tree", lambda overrides: asked.append(overrides) or real(overrides)
    )
    composer = Composer()
    for changes in (["seed=1"], ["seed=2", "loss.alpha=1"], ["loss=gcl_only", "seed=1"], ["loss=gcl_only"]):
        composer.compose(changes)
    assert asked == [(), ("loss=gcl_only",)]
