"""Folders of shards on the command line: `embed`, `generate` and `neighbours`."""

import json
import shutil

import pytest
import torch

from notellm import Embeddings, load_embeddings
from notellm.app.cli import main
from notellm.app.config import compose, to_yaml
from notellm.pools import making
from samples import make_notes

NOTES = 172


@pytest.fixture(scope="module")
def there(tmp_path_factory, tiny_folder):
    """Notes, a model, and both in folders of shards of 64 notes."""
    from notellm.models.notellm import NoteLLM

    folder = tmp_path_factory.mktemp("pools")
    make_notes(NOTES, seed=3).write(folder / "notes.parquet")
    NoteLLM.from_pretrained(tiny_folder, dim=8).save_pretrained(folder / "model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(making.BLOCKS, "embeddings", 32)
        patch.chdir(folder)
        assert main(embed("vectors/", 64)) == 0
        assert main(generate("labels/", 64)) == 0
    return folder


@pytest.fixture(autouse=True)
def _small_blocks(there, monkeypatch):
    monkeypatch.setitem(making.BLOCKS, "embeddings", 32)
    monkeypatch.chdir(there)


SOME = ["--notes", "notes.parquet", "--model", "model", "dtype=fp32", "threads=1"]


def embed(output, rows, *more):
    return ["embed", *SOME, "--output", str(output), "--shard-rows", str(rows), *more]


def generate(output, rows, *more):
    few = "generation.max_new_tokens=2"
    return ["generate", *SOME, "--output", str(output), "--shard-rows", str(rows), few, *more]


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refusal(arguments, capsys):
    assert main(arguments) == 2
    return capsys.readouterr().err


def test_vectors_are_those_of_one_file(there, tmp_path):
    found = Embeddings.open(there / "vectors")
    assert [len(shard) for shard in found.shards] == [64, 64, 44]
    assert main(["embed", *SOME, "--output", str(tmp_path / "v.safetensors")]) == 0
    ids, vectors = load_embeddings(tmp_path / "v.safetensors")
    assert list(found.ids) == ids
    # notes meet others in their batches, which the batch invariance bounds
    torch.testing.assert_close(found.rows(0, NOTES), vectors, rtol=0, atol=1e-5)


@pytest.mark.parametrize("rows", [32, 96, 1024])
def test_the_size_of_shards_changes_no_byte_of_a_vector(there, tmp_path, rows):
    assert main(embed(f"{tmp_path}/", rows)) == 0
    expected = Embeddings.open(there / "vectors").rows(0, NOTES)
    assert torch.equal(Embeddings.open(tmp_path).rows(0, NOTES), expected)


def test_generations_behind_one_another_are_the_one_file(there, tmp_path):
    names = [f"generations-{index:05}-of-00003.jsonl" for index in range(3)]
    assert sorted(content(there / "labels")) == [*names, "manifest.json"]
    assert (
        main(["generate", *SOME, "--output", str(tmp_path / "one.jsonl"), "generation.max_new_tokens=2"]) == 0
    )
    together = b"".join((there / "labels" / name).read_bytes() for name in names)
    assert together == (tmp_path / "one.jsonl").read_bytes()


def test_the_manifest_says_what_made_it(there):
    manifest = json.loads((there / "vectors/manifest.json").read_text())
    assert manifest["about"] == {"width": 8, "dtype": "float32"}
    assert manifest["made_by"]["options"]["dtype"] == "fp32"
    assert manifest["made_by"]["options"]["embed"] == {"weights": "same"}
    assert len(manifest["made_by"]["model"]) == 16
    labels = json.loads((there / "labels/manifest.json").read_text())
    assert labels["made_by"]["options"]["generation"]["max_new_tokens"] == 2
    assert labels["about"] == {}


def test_a_projection_that_no_contrastive_loss_has_trained_is_left_out(there, tmp_path, capsys):
    from notellm import NoteLLM, Notes

    notes = Notes.read(there / "notes.parquet")
    states = NoteLLM.from_pretrained(there / "model").embed(notes, projected=False, dtype="fp32")
    asked = ["embed", *SOME, "loss.contrastive=false", "--output"]
    assert main([*asked, str(tmp_path / "v.safetensors")]) == 0
    torch.testing.assert_close(load_embeddings(tmp_path / "v.safetensors")[1], states, rtol=0, atol=1e-5)
    assert main([*asked, f"{tmp_path}/v/"]) == 0
    found = Embeddings.open(tmp_path / "v").rows(0, NOTES)
    torch.testing.assert_close(found, states, rtol=0, atol=1e-5)
    assert "made_by.options.loss.contrastive was True and is False" in refusal(
        [*asked, f"{there}/vectors/", "--shard-rows", "64"], capsys
    )


@pytest.mark.parametrize("asked", [["loss=joint"], ["loss=gcl_only"]], ids=str)
def test_the_run_of_a_model_says_whether_its_projection_is_trained(asked, there, tmp_path):
    from notellm import NoteLLM, Notes

    notes = Notes.read(there / "notes.parquet")
    states = NoteLLM.from_pretrained(there / "model").embed(notes, projected=False, dtype="fp32")
    shutil.copytree(there / "model", tmp_path / "run/model")
    (tmp_path / "run/config.yaml").write_text(to_yaml(compose(["loss=csft_only"])))
    options = ["--notes", "notes.parquet", "--model", str(tmp_path / "run/model"), "dtype=fp32", *asked]
    assert main(["embed", *options, "--output", str(tmp_path / "v.safetensors")]) == 0
    torch.testing.assert_close(load_embeddings(tmp_path / "v.safetensors")[1], states, rtol=0, atol=1e-5)
    assert main(["embed", *options, "--output", f"{tmp_path}/v/"]) == 0
    torch.testing.assert_close(Embeddings.open(tmp_path / "v").rows(0, NOTES), states, rtol=0, atol=1e-5)
    made_by = json.loads((tmp_path / "v/manifest.json").read_text())["made_by"]
    assert made_by["options"]["loss"] == {"contrastive": False}


def test_called_again_it_makes_only_what_is_missing(there, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "vectors"
    shutil.copytree(there / "vectors", folder)
    before = content(folder)
    (folder / "embeddings-00001-of-00003.arrow").unlink()
    assert main(embed(folder, 64)) == 0  # without a slash: it is a folder already
    assert f"172 notes in {folder}: 3 shards, 2 of them by a call before\n" in capsys.readouterr().out
    assert content(folder) == before
    monkeypatch.setattr("notellm.app.pipeline.pools.load_trained", None)  # not needed any more
    assert main(embed(folder, 64)) == 0
    assert content(folder) == before


def test_neighbours_are_those_of_one_file(there, tmp_path, capsys):
    assert main(["embed", *SOME, "--output", str(tmp_path / "v.safetensors")]) == 0
    tables = []
    for vectors in (there / "vectors", tmp_path / "v.safetensors"):
        capsys.readouterr()
        ask = ["--id", "note3", "--id", "note171", "-k", "5"]
        assert main(["neighbours", "--vectors", str(vectors), *ask]) == 0
        tables.append([line.split("\t")[:3] for line in capsys.readouterr().out.splitlines()])
    assert tables[0] == tables[1]
    assert len(tables[0]) == 11
    said = refusal(["neighbours", "--vectors", str(there / "vectors"), "--id", "x"], capsys)
    assert "must hold the note 'x', but does not" in said


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            embed("vectors/", 32),
            "must be of the same model, options and notes as this call, but rows_per_shard was",
        ),
        (
            embed("vectors/", 64, "embed.weights=int8"),
            "but made_by.options.embed.weights was 'same' and is 'int8'",
        ),
        (embed("labels/", 64), "but kind was 'generations' and is 'embeddings'"),
        (generate("labels/", 64, "seed=5"), "but made_by.options.seed was 0 and is 5"),
        (embed("other/", 64), r"must be empty, absent or have a manifest.json, but holds"),
        *(
            (
                verb(f"model{inside}/", 64),
                "/model, which is read, but is in it or around it; try another name",
            )
            for verb in (embed, generate)
            for inside in ("", "/vectors")
        ),
        (
            embed("new/", 33),
            "must be a multiple of 32, the notes that go through the model together, but is 33; try 32",
        ),
        (generate("new/", 100), "but is 100; try 128"),
        (embed("v.npy", 64), "embed: with --shard-rows --output must be a folder, ending in /, but is v.npy"),
        (embed("v.npy", 0, "--engine", "ray"), "with --engine ray --output must be a folder"),
        (embed("v.npy", -5), "with --shard-rows --output must be a folder"),
        (embed("v.npy", 0, "--actors", "4"), "--actors: must come with --engine ray, but the engine is here"),
        (embed("new/", 64, "--actor-cpus", "1"), "--actor-cpus: must come with --engine ray, but"),
        (generate("new/", 64, "--actor-gpus", "0"), "--actor-gpus: must come with --engine ray, but"),
        (generate("labels", 0, "--engine", "ray", "--actor-cpus", "-1"), "--actor-cpus: must be at least 0"),
        (embed("new/", 64, "--model", "none"), "none: must hold a trained NoteLLM"),
        (generate("new/", 64, "generation.hashtag_count=99"), "generation.hashtag_count must be at most"),
        (embed("notes.parquet/", 64), "notes.parquet: must be a folder, but is a file"),
        (
            ["neighbours", "--vectors", "labels", "--id", "a"],
            "must be of embeddings, but is of 'generations'",
        ),
        (
            ["neighbours", "--vectors", "model", "--id", "a"],
            "manifest.json: must be a JSON file, but is not there",
        ),
    ],
)
def test_refuses(there, capsys, call, message):
    (there / "other").mkdir(exist_ok=True)
    (there / "other" / "notes.csv").touch()
    before = content(there / "vectors"), content(there / "labels")
    said = refusal(call, capsys)
    assert message in said
    assert said.count("\n") == 1
    assert (content(there / "vectors"), content(there / "labels")) == before
    assert not any((there / name).exists() for name in ("new", "v.npy", "model/vectors"))


def test_other_weights_and_other_notes_are_refused(there, tmp_path, tiny_folder, capsys):
    from notellm.models.notellm import NoteLLM

    NoteLLM.from_pretrained(tiny_folder, dim=8, seed=1).save_pretrained(tmp_path / "other")
    said = refusal([*embed("vectors/", 64), "--model", str(tmp_path / "other")], capsys)
    assert "but made_by.model was '" in said
    make_notes(NOTES, seed=4).write(tmp_path / "other.parquet")
    assert "but notes was '" in refusal(
        [*embed("vectors/", 64), "--notes", str(tmp_path / "other.parquet")], capsys
    )


def test_several_processes_need_a_folder(there, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for verb in ("embed", "generate"):
        said = refusal([verb, *SOME, "--output", "v.npy"], capsys)
        assert f"{verb}: with several processes --output must be a folder" in said


def test_processes_divide_the_shards(there, tmp_path, monkeypatch, capsys):
    """One after the other, as neither waits for the other."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, made in ((1, 2), (0, 3)):
        monkeypatch.setenv("RANK", str(rank))
        assert main(generate(f"{tmp_path}/p/", 64)) == 0
        assert len(list((tmp_path / "p").glob("generations-*-of-00003.jsonl"))) == made
    assert content(tmp_path / "p") == content(there / "labels")
    assert "172 notes in" in capsys.readouterr().out
