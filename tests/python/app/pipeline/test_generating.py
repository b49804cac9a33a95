"""What no note has is not written: there would be nothing to compare it with."""

import pytest

from notellm.app.config import compose
from notellm.app.pipeline import generating, written_words
from notellm.app.pipeline.generating import Describer
from notellm.app.pipeline.written_words import compared
from notellm.app.report.examples import note_cards
from notellm.app.report.run_results import read_run_results
from notellm.app.run import RunFolder
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


class Perfect:
    """Writes the truth as a prompt shows it, with an accent as a separate code point."""

    def __init__(self, *_, **__): ...

    def __call__(self, notes, progress):
        return [{"category": "cafe\u0301s", "hashtags": ["role-playing-and", "tea"]} for _ in notes.ids]


def cards(path):
    return note_cards(read_run_results(path).notes, {}, [], [])


def test_the_report_judges_words_by_the_truth_of_the_metrics(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(written_words, "Describer", Perfect)
    monkeypatch.setattr(written_words, "load_backbone", lambda *_: None)
    run = RunFolder(tmp_path, compose([f"model.path={tiny_folder}", "prompt.max_hashtag_chars=16"]))
    notes = of([["role-playing-and-adventure", "tea"]], ["caf\u00e9s\n"])
    written = written_words.generate(run, notes, [], ["zero_shot_prompt"])
    (card,) = cards(tmp_path)
    truth, own = ([row.category, *row.hashtags] for row in card.rows)
    assert [word.mark.key for word in own] == ["hit"] * 3
    assert [word.text for word in truth] == ["caf\u00e9s", "role-playing-and", "tea"]

    path = tmp_path / "generation.jsonl"  # as older versions wrote it
    path.write_text(path.read_text().replace('"role-playing-and"', '"role-playing-and-adventure"', 1))
    assert written_words.generate(run, notes, [], ["zero_shot_prompt"]) == written
    assert cards(tmp_path) == [card]
