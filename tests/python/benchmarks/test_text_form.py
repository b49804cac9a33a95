"""The benchmark of the export for strings tells apart what it counts."""

import bench_text_form
import pytest

from notellm import NoteLLM, Notes

TITLES = ["tea", "well done", 'said "so"', "tea and mud " * 20]
"""Two like the prompt, one that may merge with what stands behind it, one that is cut."""


@pytest.fixture
def model(tiny_folder):
    return NoteLLM.from_pretrained(tiny_folder, dim=6)


@pytest.fixture
def notes():
    count = len(TITLES)
    return Notes([str(row) for row in range(count)], TITLES, ["green"] * count, [[]] * count, [""] * count)


def test_kinds_are_told_by_tokens(model, notes):
    tokens = bench_text_form.prompt_tokens(model.prompt, notes)
    merged = [tokens[0], tokens[1][:-1], tokens[2], tokens[3]]
    assert bench_text_form.kinds_of(model, notes, tokens)[:3] == ["same"] * 3
    assert bench_text_form.kinds_of(model, notes, merged) == ["same", "merged", "same", "same"]
    whole = bench_text_form.prompt_tokens(bench_text_form.without_limits(model), notes)
    assert bench_text_form.kinds_of(model, notes, whole) == ["same", "same", "same", "cut"]


def test_cosines_are_those_of_texts_and_notes(model, notes, tmp_path):
    pytest.importorskip("sentence_transformers")
    found = bench_text_form.compare(model, notes, 2, tmp_path / "exported")
    counts = found["counts"]
    assert counts["cut"] == 1
    assert counts["same"] >= 2
    assert sum(counts.values()) == found["notes"] == 4
    assert found["same"] == counts["same"] / 4
    assert found["same_where_nothing_is_cut"] == pytest.approx(counts["same"] / 3, abs=1e-4)
    assert found["cosines"]["same"] == pytest.approx({"notes": 2, "least": 1.0, "median": 1.0}, abs=1e-5)
    assert found["cosines"]["cut"]["least"] < 0.9999
