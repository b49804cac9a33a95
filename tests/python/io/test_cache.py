from pathlib import Path

import pytest

from notellm.errors import ConfigError
from notellm.io.cache import cache_folder


def test_the_cache_is_at_home_unless_said_otherwise(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/ann")
    assert cache_folder("debian") == Path("/home/ann/.cache/notellm/debian")
    monkeypatch.setenv("XDG_CACHE_HOME", "/fast")
    assert cache_folder() == Path("/fast/notellm")


def test_without_a_home_the_cache_must_be_named(homeless, monkeypatch):
    with pytest.raises(
        ConfigError, match="a home folder must be known, but is not; try to set HOME, or XDG_CACHE_HOME"
    ):
        cache_folder("debian")
    monkeypatch.setenv("XDG_CACHE_HOME", "/fast")
    assert cache_folder("debian") == Path("/fast/notellm/debian")
