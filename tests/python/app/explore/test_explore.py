"""The explorer's page without a browser: its data are right, whole and harmless; the same call gives the same page."""

import json
import sys
import tracemalloc

import numpy as np
import pytest
import torch

from evaluated_runs import TITLES, make_run, some_notes
from html_page import Page
from notellm import ConfigError, DataError, Notes, NotSupportedError
from notellm.app.cli import main
from notellm.app.explore import ExploreOptions, write_explorer
from notellm.app.explore.page import as_data
from notellm.app.explore.views import Explored, View
from notellm.app.plane import on_a_plane, turned
from notellm.embedding import truncated
from notellm.vector_files import load_embeddings, save_embeddings

PCA = ExploreOptions(map="pca", k=5)


def explore(*folders, options=PCA):
    """The page of one run or two, and its data."""
    path = folders[0] / "page.html"
    write_explorer(path, *folders, options=options)
    page = Page(path.read_text(encoding="utf-8"))
    return page, json.loads(page.scripts[0])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("explored"))


def nearest(rows, k):
    """By all cosines, one by one."""
    found = []
    for i in range(len(rows)):
        scores = [(-float(rows[i].double() @ rows[j].double()), j) for j in range(len(rows)) if j != i]
        found.append([j for _, j in sorted(scores)[:k]])
    return found


def test_every_text_arrives_as_it_was_and_none_becomes_markup(run):
    page, data = explore(run)
    notes = some_notes(40)
    assert data["titles"] == notes.titles
    assert data["titles"][: len(TITLES)] == TITLES
    assert data["ids"] == notes.ids
    assert data["topics"] == notes.topics
    assert [data["categories"][i] for i in data["category"]] == notes.categories
    assert [tag for tag, _ in page.elements if tag in ("b", "script")] == ["script", "script"]
    assert {len(text) for text in data["texts"]} <= {280, 281}  # cut, and sometimes at a space
    assert all(full.startswith(cut[:-1]) for full, cut in zip(notes.contents, data["texts"], strict=True))


def test_a_long_category_takes_its_own_memory_alone():
    """An array of texts has room for the longest one in every row: 400 MB."""
    count = 20_001
    names = [*("tea", "mud") * 10_000, "x" * 5000]
    notes = Notes(names, names, names, [[]] * count, names)
    none = np.zeros((count, 1))
    view = View("run", "after", np.zeros((count, 2)), none.astype(int), none)
    tracemalloc.start()
    try:
        data = as_data(Explored(notes, count, [], [view], PCA))
        assert tracemalloc.get_traced_memory()[1] < 50 << 20
    finally:
        tracemalloc.stop()
    assert data["categories"] == ["mud", "tea", "x" * 5000]
    assert data["counts"] == [10_000, 10_000, 1]
    assert data["category"][-3:] == [1, 0, 2]


def test_the_page_needs_nothing_else(run):
    page, _ = explore(run)
    addresses = [
        value for _, attrs in page.elements for key, value in attrs.items() if key in ("src", "href")
    ]
    assert addresses == ["data:,"]
    assert "http" not in "".join(page.scripts[1:])
    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_what_is_operated_has_a_name(run):
    page, _ = explore(run)
    labels = {attrs["for"] for tag, attrs in page.elements if tag == "label" and "for" in attrs}
    assert all(attrs["id"] in labels for tag, attrs in page.elements if tag == "input")
    assert any(attrs.get("role") == "status" for _, attrs in page.elements)
    zooms = [attrs for tag, attrs in page.elements if tag == "button" and "data-zoom" in attrs]
    assert [zoom["aria-label"] for zoom in zooms] == ["Zoom in", "Zoom out", "Show all"] * 2
    assert next(attrs for tag, attrs in page.elements if tag == "html")["lang"] == "en"


def test_neighbours_are_the_nearest_ones_before_and_after(run):
    page, data = explore(run)
    assert [view["name"] for view in data["views"]] == ["before training", "after training"]
    assert "40 notes \u00b7 5 nearest notes of each" in page.text
    for view, system in zip(data["views"], ("zero_shot_prompt", "trained"), strict=True):
        _, rows = load_embeddings(run / "embeddings" / f"{system}-abc.safetensors")
        found = np.array(view["neighbours"]).reshape(40, 5)
        assert found.tolist() == nearest(rows, 5)
        cosines = (rows.double() @ rows.double().T).numpy()[np.arange(40)[:, None], found]
        assert np.array(view["cosines"]).reshape(40, 5) == pytest.approx(cosines * 10_000, abs=0.51)


def test_related_notes_are_those_of_the_mined_pairs(tmp_path):
    _, data = explore(make_run(tmp_path, order=[7, 3, 4, 5, 30]))
    assert [sorted(related) for related in data["related"]] == [[3], [2, 3], [1, 3], [0, 1, 2], []]


def test_two_runs_are_compared_on_the_notes_that_both_have(tmp_path):
    one, two = (
        make_run(tmp_path, "one", order=range(30)),
        make_run(tmp_path, "two", seed=5, order=range(39, 9, -1)),
    )
    page, data = explore(one, two)
    names = [(view["run"], view["name"]) for view in data["views"]]
    assert names == [(run, name) for run in ("one", "two") for name in ("before training", "after training")]
    assert data["ids"] == some_notes(40).ids[10:30]
    assert "20 of 30 notes" in page.text
    _, rows = load_embeddings(two / "embeddings" / "trained-abc.safetensors")
    assert np.array(data["views"][3]["neighbours"]).reshape(20, 5).tolist() == nearest(rows.flip(0)[:20], 5)
    chosen = [attrs["value"] for tag, attrs in page.elements if tag == "option" and "selected" in attrs]
    assert chosen == ["1", "3"]  # after training, on both sides


def test_runs_of_one_name_are_told_apart(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, two = make_run(tmp_path / "a"), make_run(tmp_path / "b")
    assert {view["run"] for view in explore(one, two)[1]["views"]} == {str(one), str(two)}


def test_of_many_notes_some_are_drawn_by_the_seed(run):
    drawn = [
        explore(run, options=ExploreOptions(map="pca", notes=12, seed=seed))[1]["ids"] for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert [len(ids) for ids in drawn] == [12, 12, 12]
    assert drawn[0] == [name for name in some_notes(40).ids if name in drawn[0]]


def test_vectors_are_those_that_the_run_evaluates(tmp_path):
    run = make_run(tmp_path, changes=["embed.dim=3"])
    _, data = explore(run)
    _, rows = load_embeddings(run / "embeddings" / "trained-abc.safetensors")
    found = np.array(data["views"][1]["neighbours"]).reshape(40, 5).tolist()
    assert found == nearest(truncated(rows, 3), 5) != nearest(rows, 5)


def test_one_view_is_one_map(tmp_path):
    page, data = explore(make_run(tmp_path, systems=["trained"]))
    assert [view["name"] for view in data["views"]] == ["after training"]
    assert [attrs["id"] for tag, attrs in page.elements if tag == "figure"] == ["left"]


def test_a_map_by_t_sne_is_the_same_each_time_and_keeps_groups_together(tmp_path):
    pytest.importorskip("sklearn")
    groups = torch.eye(3).repeat_interleave(12, 0)  # (36, 3)
    noise = torch.tensor(np.random.default_rng(0).normal(size=(36, 3), scale=0.05))
    points = on_a_plane(groups + noise, where="here")
    assert np.array_equal(points, on_a_plane(groups + noise, where="here"))
    away = np.linalg.norm(points[:, None] - points[None], axis=2)
    within = np.arange(36)[:, None] // 12 == np.arange(36) // 12
    assert away[within].max() < away[~within].min()


@pytest.mark.parametrize("method", ["tsne", "pca"])
@pytest.mark.parametrize("rows", [torch.ones(9, 4), torch.ones(2, 1), torch.eye(3)])
def test_few_or_equal_vectors_have_places(method, rows):
    if method == "tsne":
        pytest.importorskip("sklearn")
    points = on_a_plane(rows, method, where="here")
    assert points.shape == (len(rows), 2)
    assert np.isfinite(points).all()


def test_principal_axes_are_those_of_the_singular_values():
    rows = np.random.default_rng(3).normal(size=(30, 5)) * [5, 1, 3, 0.1, 0.2]
    points = on_a_plane(torch.tensor(rows), "pca", where="here")
    left, values, _ = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    assert np.abs(points) == pytest.approx(np.abs(left[:, :2] * values[:2]))


def test_a_mirrored_map_is_turned_back():
    rng = np.random.default_rng(0)
    points, angle = rng.normal(size=(20, 2)), 1.1
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * [1, -1]
    assert turned(points @ turn + 5, points) == pytest.approx(points - points.mean(0))


def test_without_scikit_learn_there_are_principal_axes(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    explore(run)
    with pytest.raises(NotSupportedError, match="explore: scikit-learn must be installed, but"):
        explore(run, options=ExploreOptions())


def test_what_cannot_be_shown_is_one_error(tmp_path):
    run = make_run(tmp_path, "one", order=[0, 1])
    with pytest.raises(ConfigError, match="must have two or more of the same evaluated notes, but have 0"):
        explore(run, make_run(tmp_path, "two", order=[2, 3]))
    nothing = make_run(tmp_path, "three", systems=[])
    with pytest.raises(
        DataError, match=r"must hold vectors of zero_shot_prompt or trained, but does not; try `notellm"
    ):
        explore(nothing)
    with pytest.raises(ConfigError, match="must be in another folder"):
        explore(run, tmp_path / "one")
    save_embeddings(run / "embeddings" / "trained-abc.safetensors", ["n/0#\u00fc", "gone"], torch.eye(2))
    (run / "embeddings" / "zero_shot_prompt-abc.safetensors").unlink()
    with pytest.raises(DataError, match="ids must be those of notes, but one is 'gone'"):
        explore(run)


def test_the_verb_writes_into_the_run_folder(run, capsys):
    assert main(["explore", "--run", str(run), "--map", "pca", "-k", "3"]) == 0
    assert capsys.readouterr().out == f"the page is {run / 'explore.html'}\n"
    assert "3 nearest notes of each" in Page((run / "explore.html").read_text(encoding="utf-8")).text
