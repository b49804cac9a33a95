import pwd
from pathlib import Path

import pytest

from notellm.data import Notes
from notellm.errors import ConfigError
from notellm.io.cache import cache_folder


@pytest.fixture
def homeless(monkeypatch):
    """A user whom the system does not know, as in many containers."""

    def unknown(_):
        raise KeyError

    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("getpwuid", "getpwnam"):
        monkeypatch.setattr(pwd, name, unknown)


def test_the_cache_is_at_home_unless_said_otherwise(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/ann")
    assert cache_folder("debian") == Path("/home/ann/.cache/notellm/debian")
    monkeypatch.setenv("XDG_CACHE_HOME", "/fast")
    assert cache_folder() == Path("/fast/notellm")


def test_without_a_home_the_cache_must_be_named(homeless, monkeypatch):
    with pytest.raises(
        ConfigError, match="a home folder must be known, but is not; try to set XDG_CACHE_HOME"
    ):
        cache_folder("debian")
    monkeypatch.setenv("XDG_CACHE_HOME", "/fast")
    assert cache_folder("debian") == Path("/fast/notellm/debian")


def test_without_a_home_a_path_that_begins_there_does_not_exist(homeless):
    with pytest.raises(FileNotFoundError, match=r"~/n\.csv: must be a file, but does not exist"):
        Notes.read("~/n.csv")
