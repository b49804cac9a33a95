"""What no note has is not written: there would be nothing to compare it with."""

import pytest

from notellm.app.config import compose
from notellm.app.pipeline import generating
from notellm.app.pipeline.generating import Describer
from notellm.app.pipeline.systems import compared
from notellm.data import Notes


def of(topics, categories):
    texts = ["t"] * len(topics)
    return Notes([str(i) for i in range(len(topics))], texts, texts, topics, categories)


@pytest.mark.parametrize(
    ("notes", "fields"),
    [
        (of([["a"], []], ["", "food"]), ["category", "hashtags"]),
        (of([[], []], ["", "food"]), ["category"]),
        (of([["a"], []], ["", " "]), ["hashtags"]),
        (of([[], []], ["", ""]), []),
        (of([], []), []),
    ],
)
def test_what_some_note_has_is_compared(notes, fields):
    assert list(compared(notes)) == fields


@pytest.mark.parametrize("writes", [["category"], ["hashtags"], ["category", "hashtags"], []])
def test_only_what_is_asked_for_is_written(tiny, notes, monkeypatch, writes):
    called = []

    def play(name, value):
        def write(model, some, *_, **__):
            called.append(name)
            return [value] * len(some)

        return write

    monkeypatch.setattr(generating, "generate_category", play("category", "food"))
    monkeypatch.setattr(generating, "generate_hashtags", play("hashtags", ["tea"]))
    rows = Describer(compose(["dtype=fp32"]), tiny, writes=writes)(notes, lambda *_: None)
    assert called == writes
    assert rows[0] == {
        "category": "food" if "category" in writes else "",
        "hashtags": ["tea"] if "hashtags" in writes else [],
    }
