"""Configurations composed together are those that Hydra composes one by one."""

import pytest

from notellm.app.config import compose
from notellm.app.studies.composing import Composer
from notellm.errors import ConfigError

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
