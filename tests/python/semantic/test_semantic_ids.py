"""Semantic ids against naive references: k-means, residual codes, beams, unique ids, the report, and each layout."""

import itertools
import json
import math
import tracemalloc

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from notellm._core.util import set_num_threads
from notellm.app.cli import main
from notellm.data import Notes
from notellm.semantic import Codebooks, check_layout, describe, fit_codebooks, last_codes, residual, write_ids
from notellm.semantic.kmeans import kmeans, nearest
from notellm.vector_files import load_embeddings, save_embeddings


def rows(count, width, seed=0):
    return np.random.default_rng(seed).normal(size=(count, width))


def distance(a, b):
    return sum((x - y) ** 2 for x, y in zip(a.tolist(), b.tolist(), strict=True))


def naive_kmeans(points, count, iterations, seed):
    """The same algorithm in plain loops."""
    draw = np.random.default_rng(seed)
    centroids = [points[int(draw.integers(len(points)))]]
    while len(centroids) < count:
        away = [min(distance(p, c) for c in centroids) for p in points]
        wanted = draw.random() * sum(away)
        reached = itertools.accumulate(away)
        centroids.append(points[next(i for i, sum_ in enumerate(reached) if sum_ > wanted)])
    before = None
    for _ in range(iterations):
        codes = [min(range(count), key=lambda k: (distance(p, centroids[k]), k)) for p in points]  # noqa: B023
        if codes == before:
            break
        before = codes
        far = sorted(range(len(points)), key=lambda i: -distance(points[i], centroids[codes[i]]))  # noqa: B023
        moved = []
        for k in range(count):
            members = [p for p, code in zip(points, codes, strict=True) if code == k]
            moved.append(np.mean(members, axis=0) if members else points[far.pop(0)])
        centroids = moved
    return np.array(centroids)


@pytest.mark.parametrize(
    ("count", "width", "codes", "iterations"), [(40, 3, 5, 25), (31, 2, 8, 3), (6, 4, 6, 10)]
)
def test_kmeans_is_that_of_plain_loops(count, width, codes, iterations):
    points = rows(count, width, seed=count)
    found = kmeans(points, codes, iterations=iterations, seed=7)
    assert found == pytest.approx(naive_kmeans(points, codes, iterations, seed=7))


def test_a_centroid_without_rows_moves_to_the_farthest_row():
    from notellm.semantic.kmeans import _means

    points = np.array([[0.0], [1.0], [9.0]])
    moved = _means(points, np.array([0, 0, 0]), np.array([[0.0], [50.0]]))
    assert moved.tolist() == [[10 / 3], [9.0]]


def test_fewer_different_rows_have_fewer_centroids():
    points = np.repeat(rows(3, 2), 4, axis=0)
    found = kmeans(points, 8, iterations=5, seed=0)
    assert sorted(found.tolist()) == sorted(points[::4].tolist())


def test_the_nearest_of_equally_near_centroids_is_the_first():
    found = nearest(np.array([[0.0, 0.0], [3.0, 0.1]]), np.array([[1.0, 0.0], [0.0, 1.0], [3.0, 0.0]]), 3)
    assert found.tolist() == [[0, 1, 2], [2, 0, 1]]


def test_each_level_quantises_what_the_levels_before_leave():
    vectors = torch.tensor(rows(120, 6))
    books = fit_codebooks(vectors, levels=3, codes=7, seed=3)
    codes, left = books.encode(vectors), vectors.numpy()
    for level, centroids in enumerate(books.levels):
        assert centroids == pytest.approx(kmeans(left, 7, iterations=25, seed=3 + level))
        away = [[distance(row, centroid) for centroid in centroids] for row in left]
        assert codes[:, level].tolist() == np.argmin(away, axis=1).tolist()
        left = left - centroids[codes[:, level]]
    assert vectors.numpy() - books.decode(codes) == pytest.approx(left)


def test_the_number_of_threads_decides_nothing():
    vectors = torch.tensor(rows(400, 16), dtype=torch.float32)
    found = []
    try:
        for threads in (1, 2):
            set_num_threads(threads)
            books = fit_codebooks(vectors, levels=2, codes=16)
            found.append(
                [*(level.tobytes() for level in books.levels), books.encode(vectors, beam=3).tobytes()]
            )
    finally:
        set_num_threads(0)
    assert found[0] == found[1]


def test_a_wide_beam_finds_the_best_of_all_sums():
    vectors = torch.tensor(rows(25, 4, seed=2))
    books = Codebooks([rows(4, 4, seed=10 + level) for level in range(3)])
    every = np.array(list(itertools.product(range(4), repeat=3)))
    sums = books.decode(every)
    best = [every[np.argmin([distance(row, total) for total in sums])].tolist() for row in vectors.numpy()]
    assert books.encode(vectors, beam=16).tolist() == best
    errors = [
        np.square(vectors.numpy() - books.decode(books.encode(vectors, beam=b))).sum() for b in (1, 4, 16)
    ]
    assert errors[0] > errors[1] >= errors[2]


def test_a_wide_beam_takes_fewer_rows_at_a_time_and_the_codes_stay(monkeypatch):
    vectors = torch.from_numpy(rows(60, 5, seed=2))
    books = fit_codebooks(vectors, levels=3, codes=8)
    whole, sizes, encode = books.encode(vectors, beam=6), [], Codebooks._encode
    monkeypatch.setattr(
        Codebooks, "_encode", lambda self, block, beam: sizes.append(len(block)) or encode(self, block, beam)
    )
    books.encode(vectors, beam=6)
    assert sizes == [60]
    monkeypatch.setattr(residual, "_BLOCK_BYTES", 10_000)
    assert books.encode(vectors, beam=6).tolist() == whole.tolist()
    assert max(sizes[1:]) * 6 * 6 * 5 * 8 <= 10_000  # bytes of what is left after each lengthened beginning
    books.encode(vectors, beam=100)
    assert sizes[-1] == 1


def test_beams_go_beyond_the_codes_of_a_level():
    vectors = torch.tensor(rows(9, 2))
    books = Codebooks([rows(2, 2, seed=1), rows(3, 2, seed=2)])
    assert books.encode(vectors, beam=50).shape == (9, 2)
    assert books.encode(vectors[:0]).shape == (0, 2)


def test_of_many_vectors_a_sample_is_trained_on():
    vectors = torch.tensor(rows(200, 3))
    few = fit_codebooks(vectors, levels=1, codes=4, sample=50, seed=1).levels[0]
    draw = np.sort(np.random.default_rng(1).permutation(200)[:50])
    assert few == pytest.approx(kmeans(vectors.numpy()[draw], 4, iterations=25, seed=1))


def test_last_codes_make_ids_unique():
    codes = np.random.default_rng(0).integers(0, 3, (60, 2))
    seen, expected = {}, []
    for row in map(tuple, codes.tolist()):
        expected.append(seen.get(row, 0))
        seen[row] = expected[-1] + 1
    assert last_codes(codes).tolist() == expected
    alone = [seen[tuple(row)] == 1 for row in codes.tolist()]
    from_one = [0 if single else place + 1 for single, place in zip(alone, expected, strict=True)]
    assert last_codes(codes, first=1).tolist() == from_one
    assert (
        len({(*row, last) for row, last in zip(codes.tolist(), last_codes(codes).tolist(), strict=True)})
        == 60
    )


def test_the_report_counts():
    vectors = torch.tensor([[0.0], [1.0], [10.0], [11.0], [10.0]], dtype=torch.float64)
    books = Codebooks([np.array([[0.5], [10.5], [99.0]]), np.array([[-0.5], [0.5]])])
    codes = books.encode(vectors)
    report = describe(vectors, books, codes, ["tea", "tea", "mud", "tea", ""])
    assert {name: report[name] for name in ("notes", "distinct", "colliding", "largest")} == {
        "notes": 5, "distinct": 4, "colliding": 2, "largest": 2,
    }  # fmt: skip
    first, second = report["levels"]
    assert (first["codes"], first["used"], first["groups"], second["groups"]) == (3, 2, 2, 4)
    entropy = -(0.4 * math.log2(0.4) + 0.6 * math.log2(0.6))
    assert first["entropy"] == pytest.approx(entropy)
    assert first["perplexity"] == pytest.approx(2**entropy)
    assert first["error"] == pytest.approx(5 * 0.25 / np.square(vectors.numpy() - 6.4).sum())
    assert second["error"] == 0
    assert first["purity"] == pytest.approx(
        3 / 4
    )  # tea tea | mud tea; the note without a category does not count
    assert second["purity"] == second["purity_by_chance"] == 1.0


def test_purity_by_chance_is_that_of_categories_that_mean_nothing():
    codes = np.random.default_rng(0).integers(0, 4, (400, 1))
    vectors = torch.tensor(rows(400, 2))
    books = Codebooks([rows(4, 2)])
    groups = [str(code) for code in codes[:, 0]]
    level = describe(vectors, books, codes, groups)["levels"][0]
    assert level["purity"] == 1.0
    assert 0.25 < level["purity_by_chance"] < 0.4
    assert describe(vectors, books, codes, [""] * 400)["levels"][0]["purity"] is None
    assert "purity" not in describe(vectors, books, codes)["levels"][0]


def test_a_long_category_takes_its_own_memory_alone():
    """An array of texts has room for the longest one in every row: 400 MB."""
    categories = [*("tea", "mud") * 10_000, "x" * 5000]
    codes = np.arange(20_001)[:, None] % 4
    tracemalloc.start()
    try:
        level = describe(torch.zeros(20_001, 1), Codebooks([rows(4, 1)]), codes, categories)["levels"][0]
        assert tracemalloc.get_traced_memory()[1] < 50 << 20
    finally:
        tracemalloc.stop()
    assert level["purity"] > 0.99


CODES = np.array([[2, 0], [1, 5], [2, 0], [0, 0]])
IDS = ["a", "b\u00e9", "c", "d"]


def test_our_table_has_ids_and_unique_codes(tmp_path):
    write_ids(tmp_path / "ids.parquet", IDS, CODES)
    table = pq.read_table(tmp_path / "ids.parquet").to_pydict()
    assert table == {"id": IDS, "codes": [[2, 0, 0], [1, 5, 0], [2, 0, 1], [0, 0, 0]]}


def test_grid_finds_an_item_s_codes(tmp_path):
    write_ids(tmp_path / "ids.pt", IDS, CODES)
    semantic_id_map = torch.load(tmp_path / "ids.pt")
    items = torch.tensor([2, 1])
    assert semantic_id_map[:3].t()[items].view(-1).tolist() == [
        2,
        0,
        2,
        1,
        5,
        0,
    ]  # as its pre-processing looks up
    assert semantic_id_map.dtype == torch.int64
    assert semantic_id_map[2].tolist() == [1, 0, 2, 0]  # as its own de-duplication numbers
    assert (tmp_path / "ids.items.txt").read_text(encoding="utf-8").splitlines() == IDS


def test_minionerec_finds_an_item_s_tokens(tmp_path):
    notes = Notes(IDS, ["A\ttitle", "B", "", "D"], ["x", "y", "z", ""], [[]] * 4, [""] * 4)
    write_ids(tmp_path / "Books.index.json", IDS, CODES, notes)
    assert json.loads((tmp_path / "Books.index.json").read_text()) == {
        "0": ["<a_2>", "<b_0>", "<c_1>"],
        "1": ["<a_1>", "<b_5>"],
        "2": ["<a_2>", "<b_0>", "<c_2>"],
        "3": ["<a_0>", "<b_0>"],
    }
    items = json.loads((tmp_path / "Books.item.json").read_text(encoding="utf-8"))
    assert items["0"] == {"title": "A title", "description": "x", "id": "a"}
    assert items["2"]["title"] == "c"


def test_a_list_of_items_and_the_ids_of_vectors_are_two_files(tmp_path):
    save_embeddings(tmp_path / "v.npy", IDS, torch.eye(4))
    write_ids(tmp_path / "v.pt", IDS, CODES)
    assert load_embeddings(tmp_path / "v.npy")[0] == IDS


@pytest.mark.parametrize(("name", "limit"), [("v.pt", 5000), ("v.pt", 700_000), ("v.index.json", 5000)])
def test_a_full_disk_leaves_both_files_of_a_layout(name, limit, tmp_path, file_size_limit):
    """Of GRID's the list fits with the higher limit, the codes with none."""
    write_ids(tmp_path / name, IDS, CODES)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    ids = [f"note {row}" for row in range(30_000)]
    with file_size_limit(limit), pytest.raises(OSError, match=f"{name}: must be written, but: .* free some"):
        write_ids(tmp_path / name, ids, np.zeros((len(ids), 3), np.int64))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_codebooks(torch.zeros(0, 3)), "vectors must be at least 1, but is 0"),
        (lambda: fit_codebooks(torch.zeros(2, 3), levels=0), "levels must be at least 1, but is 0"),
        (lambda: fit_codebooks(torch.zeros(2, 3), seed=-1), "seed must be at least 0, but is -1"),
        (lambda: fit_codebooks(torch.zeros(2, 3).int()), "a matrix of floating-point numbers"),
        (lambda: fit_codebooks(torch.tensor([[0.0], [float("nan")]])), "must be finite, but row 1 is not"),
        (lambda: Codebooks([np.zeros((1, 2))]).encode(torch.zeros(1, 3)), "of width 2 and beam at least 1"),
        (lambda: check_layout("ids.csv", [], 3), "must end in .parquet, .pt, .index.json, but is ids.csv"),
        (lambda: check_layout("ids.pt", ["a\nb"], 3), "ids must be without line breaks, but number 0"),
        (lambda: check_layout("a.index.json", ["a"], 26), "at most 25 of them, but there are 26"),
    ],
)
def test_what_cannot_be_is_one_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_verb_writes_each_layout_and_a_report(tmp_path, capsys):
    vectors = torch.tensor(rows(50, 5), dtype=torch.float32)
    ids = [f"n{i}" for i in range(50)]
    save_embeddings(tmp_path / "v.safetensors", ids, vectors)
    Notes(ids[::-1], ["T"] * 50, [""] * 50, [[]] * 50, ["tea", "mud"] * 25).write(tmp_path / "notes.parquet")
    outputs = [tmp_path / name for name in ("ids.parquet", "ids.pt", "b.index.json")]
    command = [
        "semantic-ids",
        "--vectors",
        str(tmp_path / "v.safetensors"),
        "--notes",
        str(tmp_path / "notes.parquet"),
    ]
    for path in outputs:
        command += ["--output", str(path)]
    report = tmp_path / "report.json"
    assert main([*command, "--levels", "2", "--codes", "4", "--report", str(report), "--beam", "2"]) == 0
    books = fit_codebooks(vectors, levels=2, codes=4)
    codes = books.encode(vectors, beam=2)
    table = pq.read_table(outputs[0]).to_pydict()
    assert [row[:2] for row in table["codes"]] == codes.tolist()
    assert table["id"] == ids
    expected = describe(vectors, books, codes, ["mud", "tea"] * 25)
    assert json.loads(report.read_text()) == expected
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"50 notes, {expected['distinct']} different ids; ")
    assert lines[1].split("\t")[:3] == ["level", "codes", "used"]
    assert len(lines) == 5
