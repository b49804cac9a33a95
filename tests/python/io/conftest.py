import pwd

import pytest


@pytest.fixture
def homeless(monkeypatch):
    """A user whom the system does not know, as in many containers."""

    def unknown(_):
        raise KeyError

    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("getpwuid", "getpwnam"):
        monkeypatch.setattr(pwd, name, unknown)
