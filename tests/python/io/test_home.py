"""Paths that begin with ~."""

import pytest

from notellm import ConfigError, NoteLLM, Notes, load_prompt
from notellm.io.home import expanded


def test_home_is_what_home_says(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expanded("~/a") == tmp_path / "a"
    assert expanded("a/~") == expanded("./a/~")


def test_a_name_may_begin_so(homeless, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(expanded("~notes.csv")) == "~notes.csv"


@pytest.mark.parametrize("use", [Notes.read, NoteLLM.from_pretrained, load_prompt])
def test_without_a_home_the_path_is_named(homeless, use):
    with pytest.raises(ConfigError, match="~/mine: a home folder must be known, but is not; try to set HOME"):
        use("~/mine")
