"""`notellm index`: building, searching, comparing."""

import json

import pyarrow.compute as pc
import pytest
import torch

from notellm import _core
from notellm.app import cli
from notellm.app.stored import StoredVectors
from notellm.indexes.index import NeighbourIndex
from notellm.pools.columns import write_shard
from notellm.pools.shards import Plan, Shards
from notellm.retrieval import neighbours
from notellm.vector_files import save_embeddings

pytestmark = pytest.mark.skipif(not _core.has_faiss, reason="built without FAISS")

IDS = [f"note {i}" for i in range(398)] + ["a\tb", "c\nd"]


@pytest.fixture
def vectors(tmp_path, monkeypatch):
    """The vectors of ``v.safetensors`` in the working directory, of some notes with clear neighbours."""
    monkeypatch.chdir(tmp_path)
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(400, 8, generator=generator)
    rows = torch.nn.functional.normalize(rows, dim=1)
    save_embeddings("v.safetensors", IDS, rows)
    return rows


def index(*arguments):
    return cli.main(["index", *map(str, arguments)])


def build(name, factory, *more, vectors="v.safetensors"):
    assert index("build", "--vectors", vectors, "--factory", factory, "--output", name, *more) == 0


def lines(capsys):
    return [line.split("\t") for line in capsys.readouterr().out.splitlines()]


def test_an_index_is_built_and_searched_by_its_ids(vectors, capsys):
    build("v.index", "IVF4,Flat", "--sample", 300, "--seed", 5)
    assert "400 notes, 8 dimensions, IVF4,Flat trained on 300 of them" in capsys.readouterr().out
    assert NeighbourIndex.load("v.index").training[:2] == (300, 5)
    call = ("search", "--index", "v.index", "-k", 3, "--parameters", "nprobe=4")
    assert index(*call, "--vectors", "v.safetensors") == 0
    found = lines(capsys)
    exact = neighbours(vectors, vectors, 3, exclude=torch.arange(400))
    names = [IDS[row].replace("\t", "\\t").replace("\n", "\\n") for row in exact.indices.flatten().tolist()]
    assert found[0] == ["note", "rank", "neighbour", "score"]
    assert [row[2] for row in found[1:]] == names
    for more in (("--id=a\tb", "--id=note 7"), ("--id=a\tb", "--id=note 7", "--vectors", "v.safetensors")):
        assert index(*call, *more) == 0
        assert [row[2] for row in lines(capsys)[1:]] == names[398 * 3 : 399 * 3] + names[21:24]


def as_shards(folder, ids, rows, rows_per_shard):
    """The same vectors in a folder of shards."""
    shards = Shards.begin(folder, Plan("embeddings", {}, "", rows=len(ids), rows_per_shard=rows_per_shard))
    for number, first in enumerate(range(0, len(ids), rows_per_shard)):
        own = slice(first, first + rows_per_shard)
        shards.make(number, lambda path, own=own: write_shard(path, ids[own], rows[own]))
    assert shards.finish()


def test_a_folder_of_shards_is_taken_in_place_of_a_file(vectors, tmp_path, capsys):
    order = torch.randperm(400, generator=torch.Generator().manual_seed(1)).tolist()
    as_shards(tmp_path / "v", IDS, vectors, 150)
    as_shards(tmp_path / "u", [IDS[i] for i in order], vectors[order], 64)
    said = {}
    for kind, stored, other in (("file", "v.safetensors", "v.safetensors"), ("folder", "v", "u")):
        build(f"{kind}.index", "IVF4,PQ4x4", "--sample", 300, vectors=stored)
        capsys.readouterr()
        search = ("search", "--index", f"{kind}.index", "-k", 4, "--candidates", 100, "--rescore", other)
        assert index(*search, "--vectors", stored) == 0
        assert index(*search, "--vectors", other, "--id", "a\tb", "--id", "note 3") == 0
        said[kind] = capsys.readouterr().out
        call = ("report", "--index", f"{kind}.index", "--vectors", other, "--queries", stored)
        assert index(*call, "--parameters", "nprobe=1,4", "--json", f"{kind}.json") == 0
    assert said["file"] == said["folder"]
    recalls = [
        [
            search["recall"]
            for search in json.loads((tmp_path / f"{kind}.json").read_text())["indexes"][0]["searches"]
        ]
        for kind in ("file", "folder")
    ]
    assert recalls[0] == recalls[1]
    capsys.readouterr()
    as_shards(tmp_path / "some", IDS[:100], vectors[:100], 64)
    assert index(*search[:-1], "some", "--id", "note 3") == 2
    assert "some: must hold the notes of folder.index, but 'note 100' is not there" in capsys.readouterr().err


def test_ids_are_looked_up_once_however_many_shards_there_are(vectors, tmp_path, monkeypatch):
    """Each look-up hashes all ids anew."""
    as_shards(tmp_path / "v", IDS, vectors, 7)
    build("v.index", "Flat")
    look_up, calls = pc.index_in, []
    monkeypatch.setattr(pc, "index_in", lambda *given, **how: calls.append(1) or look_up(*given, **how))
    stored = StoredVectors(tmp_path / "v")
    assert torch.equal(stored.of_index(NeighbourIndex.load("v.index"), "v.index").rows(0, 400), vectors)
    assert stored.rows_of([IDS[399], "none", IDS[0]]).tolist() == [399, -1, 0]
    assert len(calls) == 2


def test_rescoring_gives_the_exact_scores_of_neighbours(vectors, capsys):
    build("v.index", "PQ4x4")
    capsys.readouterr()
    call = ("search", "--index", "v.index", "--id", "note 3", "-k", 4)
    assert index(*call, "--vectors", "v.safetensors", "--rescore", "v.safetensors", "--candidates", 400) == 0
    rescored = lines(capsys)[1:]
    assert cli.main(["neighbours", "--vectors", "v.safetensors", "--id", "note 3", "-k", "4"]) == 0
    assert lines(capsys)[1:] == rescored
    assert index(*call) == 0
    assert lines(capsys)[1:] != rescored  # scores of codes


def test_the_vectors_of_a_report_may_be_in_another_order(vectors):
    build("v.index", "Flat")
    order = torch.randperm(400, generator=torch.Generator().manual_seed(1))
    save_embeddings("u.safetensors", [IDS[i] for i in order], vectors[order])
    call = ("report", "--index", "v.index", "--queries", "v.safetensors", "--json", "r.json", "--vectors")
    assert index(*call, "u.safetensors") == 0
    with open("r.json") as file:
        assert json.load(file)["indexes"][0]["searches"][0]["recall"] == 1


def test_a_report_compares_indexes(vectors, capsys, tmp_path):
    build("ivf.index", "IVF16,Flat")
    build("hnsw.index", "HNSW4")
    build("pq.index", "PQ2x4")
    save_embeddings("q.safetensors", [f"q{i}" for i in range(50)], vectors[:50] + 0.1)
    capsys.readouterr()
    call = ["report", "--index", "ivf.index", "hnsw.index", "pq.index", "--vectors", "v.safetensors"]
    call += ["--queries", "q.safetensors", "-k", 5, "--parameters", "nprobe=1,4,16"]
    call += ["--parameters", "efSearch=4,64", "--json", "r.json"]
    assert index(*call, "--plot", "r.svg") == 0
    printed = capsys.readouterr().out
    report = json.loads((tmp_path / "r.json").read_text())
    ivf, hnsw, pq = report["indexes"]
    assert [s["parameters"] for s in ivf["searches"]] == ["nprobe=1", "nprobe=4", "nprobe=16"]
    assert [s["parameters"] for s in hnsw["searches"]] == ["efSearch=4", "efSearch=64"]
    assert [s["parameters"] for s in pq["searches"]] == [""]
    recalls = [s["recall"] for s in ivf["searches"]]
    assert recalls[0] < recalls[1] < recalls[2] == 1
    assert pq["searches"][0]["recall"] < 0.9
    assert ivf["bytes"] == (tmp_path / "ivf.index").stat().st_size
    assert all(one["build_seconds"] > 0 for one in report["indexes"])
    assert all(s["queries_per_second"] > 0 for s in [*ivf["searches"], report["exact"]])
    for text in ("recall@5", "nprobe=16", "efSearch=64", "1.000", "exact search", "PQ2x4"):
        assert text in printed
    assert "HNSW4: efSearch" in (tmp_path / "r.svg").read_text()
    assert index(*call, "--candidates", 400) == 0
    rescored = json.loads((tmp_path / "r.json").read_text())["indexes"][2]["searches"][0]
    assert rescored["recall"] == 1


def test_two_parameters_of_an_index_are_tried_in_every_combination(vectors, tmp_path):
    """Each was tried alone, on what the last value of the other had left."""
    build("ivf.index", "IVF16,Flat")
    call = ["report", "--index", "ivf.index", "--vectors", "v.safetensors", "--queries", "v.safetensors"]
    call += ["--parameters", "nprobe=1,16", "--parameters", "max_codes=20,0", "--json", "r.json"]
    assert index(*call, "--plot", "r.svg") == 0
    searches = json.loads((tmp_path / "r.json").read_text())["indexes"][0]["searches"]
    recalls = {search["parameters"]: search["recall"] for search in searches}
    assert list(recalls)[:3] == ["nprobe=1,max_codes=20", "nprobe=1,max_codes=0", "nprobe=16,max_codes=20"]
    few, near, some, all_notes = recalls.values()
    assert few <= near < all_notes == 1
    assert some < all_notes
    for text in ("IVF16,Flat: nprobe, max_codes=20", "IVF16,Flat: nprobe, max_codes=0"):
        assert text in (tmp_path / "r.svg").read_text()


def test_equal_vectors_count_as_each_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_embeddings("v.safetensors", [f"n{i}" for i in range(64)], torch.ones(64, 4))
    build("v.index", "HNSW4")
    assert (
        index(
            "report",
            "--index",
            "v.index",
            "--vectors",
            "v.safetensors",
            "--queries",
            "v.safetensors",
            "--json",
            "r",
        )
        == 0
    )
    assert json.loads((tmp_path / "r").read_text())["indexes"][0]["searches"][0]["recall"] == 1


def test_the_library_s_own_verbs_are_explained(capsys):
    for verb in ("build", "search", "report"):
        with pytest.raises(SystemExit) as stop:
            index(verb, "--help")
        assert stop.value.code == 0
        assert f"notellm index {verb}" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        index()
    assert stop.value.code == 2
