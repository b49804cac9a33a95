"""Packages that only some functions need."""

import sys

import pytest

from notellm.errors import NotSupportedError
from notellm.optional import importing


def test_one_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with (
        pytest.raises(
            NotSupportedError,
            match=r"^here: scikit-learn must be installed, but is not; try `pip install 'notellm\[demo\]'`, or pca$",
        ),
        importing("here", "scikit-learn", module="sklearn", install="'notellm[demo]'", otherwise="pca"),
    ):
        import sklearn.manifold  # noqa: F401


def test_one_that_does_not_work_says_why(tmp_path, monkeypatch):
    (tmp_path / "half_there.py").write_text("import what_it_needs\n")
    monkeypatch.syspath_prepend(tmp_path)
    with (
        pytest.raises(
            NotSupportedError, match=r"but cannot be imported \(No module named 'what_it_needs'\); try"
        ),
        importing("here", "half-there"),
    ):
        import half_there  # noqa: F401
