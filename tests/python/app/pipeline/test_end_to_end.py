"""Every verb of the command line in the order of the work, on files and a tiny random backbone."""

import json
import shutil

import pytest
import torch

from notellm import Embeddings, NeighbourIndex, resolve_dtype
from notellm._core.retrieval import faiss_version
from notellm.app.cli import main
from notellm.app.config import load_config
from notellm.data import Notes
from notellm.embedding import truncated
from notellm.models.notellm import NoteLLM
from notellm.vector_files import load_embeddings

NOTES = 60


@pytest.fixture(scope="module")
def run(folder, overrides):
    """A finished run: `notellm demo` on these data."""
    path = folder / "run"
    assert main(["demo", "--run", str(path), *overrides]) == 0
    return path


@pytest.mark.instruction_set
def test_demo_leaves_a_complete_run_folder(run):
    expected = {"config.yaml", "run.json", "data.json", "pairs.parquet", "train.jsonl", "model", "embeddings"}
    expected |= {"evaluation.json", "neighbours.json", "generation.jsonl", "report.html", "tensorboard"}
    expected |= {"ranks.safetensors", "words.safetensors"}
    assert {entry.name for entry in run.iterdir()} == expected
    document = json.loads((run / "evaluation.json").read_text())
    keys = ["random", "popularity", "tfidf", "tfidf_full", "zero_shot_mean", "zero_shot_prompt", "trained"]
    assert [system["key"] for system in document["systems"]] == keys
    analyzers = [system["analyzer"] for system in document["systems"]]
    assert analyzers == ["", "", "words", "words", "", "", ""]
    assert document["queries"] == 12
    assert document["effective_targets"] <= document["targets"] <= 12
    by_chance, popular = document["systems"][0]["lists"]["10"], document["systems"][1]["lists"]["10"]
    assert popular["coverage"] < by_chance["coverage"]
    assert popular["popularity"]["value"] > 0.6 > by_chance["popularity"]["value"]
    assert popular["novelty"]["value"] < by_chance["novelty"]["value"]
    made, kept = json.loads((run / "run.json").read_text()), load_config(run / "config.yaml")
    assert made["model"] == document["model"] == kept.model.path
    assert made["dtype"] == document["dtype"] == kept.dtype == resolve_dtype()
    assert document["generation"]["notes"] == 6
    assert len((run / "train.jsonl").read_text().splitlines()) == 4
    assert "<svg" in (run / "report.html").read_text()


def test_a_second_demo_does_nothing_again(run, overrides, capsys):
    made = {path: path.stat().st_mtime_ns for path in (run / "embeddings").iterdir()}
    before = (run / "model" / "model.safetensors").stat().st_mtime_ns
    table = json.loads((run / "evaluation.json").read_text())
    assert main(["demo", "--run", str(run), *overrides]) == 0
    assert (run / "model" / "model.safetensors").stat().st_mtime_ns == before
    assert {path: path.stat().st_mtime_ns for path in (run / "embeddings").iterdir()} == made
    assert json.loads((run / "evaluation.json").read_text()) == table
    assert "NoteLLM trained" in capsys.readouterr().out


def test_the_verbs_one_by_one_give_the_demo_s_run(run, folder, overrides):
    again = folder / "again"
    for verb in ("data", "mine", "train", "evaluate"):
        assert main([verb, "--run", str(again), "experiment=demo", *overrides]) == 0
    assert main(["report", "--run", str(again)]) == 0
    for name in ("evaluation.json", "neighbours.json", "generation.jsonl", "data.json"):
        assert (again / name).read_text() == (run / name).read_text(), name


def test_other_generation_options_generate_anew(run, folder, overrides):
    copy = folder / "changed"
    assert main(["demo", "--run", str(copy), *overrides]) == 0
    before = (copy / "generation.jsonl").read_text()
    assert main(["evaluate", "--run", str(copy), "generation.max_new_tokens=1"]) == 0
    after = (copy / "generation.jsonl").read_text()
    assert after != before
    lengths = [len(json.loads(line)["systems"]["trained"]["category"]) for line in after.splitlines()]
    assert max(lengths) < 20


def test_embed_and_neighbours(run, folder, capsys):
    vectors = folder / "vectors.safetensors"
    command = ["embed", "--run", str(run), "--notes", str(folder / "notes.parquet"), "--output", str(vectors)]
    assert main(command) == 0
    ids, rows = load_embeddings(vectors)
    assert len(ids) == NOTES
    assert rows.shape == (NOTES, 8)
    capsys.readouterr()
    assert main(["neighbours", "--vectors", str(vectors), "--id", "note3", "--id", "note4", "-k", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "note\trank\tneighbour\tcosine"
    assert [line.split("\t")[:2] for line in lines[1:]] == [
        ["note3", "1"],
        ["note3", "2"],
        ["note4", "1"],
        ["note4", "2"],
    ]
    best = (rows[3] @ rows.T).index_fill(0, rows.new_tensor([3]).long(), -2.0).argmax()
    assert lines[1].split("\t")[2] == ids[best]
    assert main(["neighbours", "--vectors", str(vectors), "--id", "nobody"]) == 2
    assert "must hold the note 'nobody'" in capsys.readouterr().err


def test_generate_writes_a_line_for_each_note(run, folder, capsys):
    notes = Notes.read(folder / "notes.parquet").take([0, 1, 2])
    notes.write(folder / "three.jsonl")
    output = folder / "labels.jsonl"
    command = ["generate", "--run", str(run), "--notes", str(folder / "three.jsonl")]
    assert main([*command, "--output", str(output)]) == 0
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["id"] for row in rows] == notes.ids
    assert all(set(row) == {"id", "title", "category", "hashtags"} for row in rows)
    capsys.readouterr()
    assert main(command) == 0
    assert capsys.readouterr().out == output.read_text()


def test_generate_from_known_categories_and_hashtags(run, folder, capsys):
    notes = Notes.read(folder / "notes.parquet").take([0, 1, 2])
    notes.write(folder / "three.jsonl")
    (folder / "categories.txt").write_text("web\nsound and music\n\nsound\n")
    (folder / "hashtags.txt").write_text("web\nfonts\nplots\n")
    known = ["--categories", str(folder / "categories.txt"), "--hashtags", str(folder / "hashtags.txt")]
    command = ["generate", "--run", str(run), "--notes", str(folder / "three.jsonl"), *known]
    assert main([*command, "generation.hashtag_count=2"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["category"] for row in rows} <= {"web", "sound and music", "sound"}
    assert all(0 < row["confidence"] <= 1 for row in rows)
    assert all(
        1 <= len(row["hashtags"]) <= 2 and set(row["hashtags"]) <= {"web", "fonts", "plots"} for row in rows
    )
    assert main([*command, "--ban-in-text", "--output", str(folder / "banned.jsonl")]) == 0
    banned = [json.loads(line) for line in (folder / "banned.jsonl").read_text().splitlines()]
    for row, title, content in zip(banned, notes.titles, notes.contents, strict=True):
        assert not set(row["hashtags"]) & set(f"{title} {content}".lower().split())
    (folder / "none.txt").write_text("\n")
    assert main([*command, "--categories", str(folder / "none.txt")]) == 2
    assert "must hold one name a line, but holds none" in capsys.readouterr().err


def test_generate_goes_on_where_it_was_interrupted(run, folder, monkeypatch, capsys):
    from notellm.app.pipeline import Describer
    from notellm.pools import lines

    output = folder / "pool.jsonl"
    command = [
        "generate",
        "--run",
        str(run),
        "--notes",
        str(folder / "notes.parquet"),
        "--output",
        str(output),
    ]
    monkeypatch.setattr(lines, "NOTES_PER_CHUNK", 40)
    whole, calls = Describer.__call__, []

    def interrupt(self, notes, progress):
        calls.append(len(notes))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(self, notes, progress)

    monkeypatch.setattr(Describer, "__call__", interrupt)
    assert main(command) == 130
    assert not output.exists()
    assert main(command) == 0
    assert f"{NOTES:,} notes in {output}, 40 of them by a call before" in capsys.readouterr().out
    assert len(output.read_text().splitlines()) == NOTES
    assert calls[2:] == [min(40, NOTES - begin) for begin in range(40, NOTES, 40)]


def test_evaluation_scores_known_categories_too(run):
    tree = json.loads((run / "evaluation.json").read_text())
    for system in tree["generation"]["systems"]:
        assert 0 <= system["closed_set"]["calibration_error"] <= 1
        assert sum(found["notes"] for found in system["closed_set"]["calibration"]) > 0
    first = json.loads((run / "generation.jsonl").read_text().splitlines()[0])
    known = tree["generation"]["known_categories"]
    assert all(written["best_category"] in known for written in first["systems"].values())


def test_show_prompt_shows_tokens_and_losses(run, capsys):
    assert main(["show-prompt", "--run", str(run), "--pair", "1"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("embedding") >= 2
    for part in (
        "The compression word is",
        "must predict",
        "contrastive loss",
        "generative loss",
        "joint loss",
    ):
        assert part in shown
    assert main(["show-prompt", "--run", str(run), "--pair", "99999"]) == 2


def test_an_interrupted_training_goes_on(folder, overrides, monkeypatch):
    from notellm.training import Trainer

    path = folder / "interrupted"
    step = Trainer._train_step

    def interrupt(self):
        if self.step == 2:
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(Trainer, "_train_step", interrupt)
    assert main(["train", "--run", str(path), *overrides]) == 130
    assert (path / "checkpoints" / "step-0000002").is_dir()
    assert not (path / "model").exists()
    monkeypatch.setattr(Trainer, "_train_step", step)
    assert main(["train", "--run", str(path), "--resume"]) == 0
    assert len((path / "train.jsonl").read_text().splitlines()) == 4
    assert not (path / "checkpoints").exists()


def test_resume_without_a_checkpoint_is_refused(folder, overrides, capsys):
    assert main(["train", "--run", str(folder / "fresh"), "--resume", *overrides]) == 2
    assert "must hold a checkpoint to resume from" in capsys.readouterr().err


def test_changed_data_are_refused(run, folder, overrides, capsys):
    notes = Notes.read(folder / "notes.parquet")
    notes.titles[5] = "corrected"
    notes.write(folder / "corrected.parquet")
    copy = folder / "kept"
    shutil.copytree(run, copy)
    assert main(["evaluate", "--run", str(copy)]) == 0
    text = (copy / "config.yaml").read_text().replace("notes.parquet", "corrected.parquet")
    (copy / "config.yaml").write_text(text)
    assert main(["evaluate", "--run", str(copy)]) == 2
    assert "must be a run on these data" in capsys.readouterr().err


def test_another_model_is_embedded_anew(run, folder, tiny):
    copy = folder / "retrained"
    shutil.copytree(run, copy)
    before = json.loads((copy / "evaluation.json").read_text())
    NoteLLM.from_pretrained(copy / "model")  # of the run; replaced by one that was never trained
    torch.nn.init.orthogonal_(tiny.projection.weight)
    shutil.rmtree(copy / "model")
    tiny.save_pretrained(copy / "model")
    assert main(["evaluate", "--run", str(copy)]) == 0
    after = json.loads((copy / "evaluation.json").read_text())
    assert after["systems"][-1] != before["systems"][-1]
    assert after["systems"][:-1] == before["systems"][:-1]
    assert len(list((copy / "embeddings").iterdir())) == 3


def test_without_generation_no_words_of_another_run_stay(run, folder):
    copy = folder / "wordless"
    shutil.copytree(run, copy)
    assert main(["evaluate", "--run", str(copy), "evaluation.generation_notes=0"]) == 0
    assert not (copy / "generation.jsonl").exists()
    assert "generation" not in json.loads((copy / "evaluation.json").read_text())


def test_an_untrained_run_is_told_to_train_first(folder, overrides, tiny_folder, capsys):
    path = folder / "untrained"
    assert main(["evaluate", "--run", str(path), *overrides]) == 2
    assert "must hold a trained NoteLLM" in capsys.readouterr().err
    assert not (path / "embeddings").exists()
    notes, output = str(folder / "notes.parquet"), str(folder / "out.npy")
    command = ["embed", "--notes", notes, "--output", output, "--model", str(tiny_folder)]
    assert main(command) == 2  # a bare backbone has a random projection only
    assert main(["embed", "--run", str(folder / "nowhere"), "--notes", notes, "--output", output]) == 2
    assert not (folder / "nowhere").exists()


def test_a_wrong_output_name_is_refused_before_the_work(run, folder, capsys):
    with pytest.raises(SystemExit):
        main(["embed", "--run", str(run), "--notes", "nowhere.parquet", "--output", "v.parquet"])
    assert "must end in .safetensors or .npy" in capsys.readouterr().err


def test_too_few_pairs_are_one_line(folder, overrides, capsys):
    assert main(["train", "--run", str(folder / "few"), *overrides, "train.pairs_per_step=100000"]) == 2
    assert "at least train.pairs_per_step=100000 training pairs" in capsys.readouterr().err


def test_a_tiny_pool_has_few_neighbours(folder, overrides):
    small = ["data.queries=1", "data.pool_notes=paired", "data.pool=3"]
    path = folder / "tiny-pool"
    assert main(["demo", "--run", str(path), *overrides, *small]) == 0
    shown = json.loads((path / "neighbours.json").read_text())
    assert len(shown[0]["systems"][0]["neighbours"]) == 2


@pytest.mark.parametrize("loss", ["gcl_only", "csft_only"])
def test_each_loss_alone_makes_a_report(loss, folder, overrides):
    path = folder / loss
    assert main(["demo", "--run", str(path), *overrides, f"loss={loss}"]) == 0
    first = json.loads((path / "train.jsonl").read_text().splitlines()[0])
    left_out = "generative" if loss == "gcl_only" else "contrastive"
    assert first[left_out] is None
    page = (path / "report.html").read_text()
    assert f"<h3>{left_out.capitalize()} loss</h3>" not in page
    assert page.count("loss</h3>") == 1


def test_an_evaluation_measures_fewer_numbers_and_int8(run, capsys):
    kept = {path: path.stat().st_mtime_ns for path in (run / "embeddings").iterdir()}
    before = json.loads((run / "evaluation.json").read_text())["systems"]
    few = ["evaluation.generation_notes=0", "embed.dim=4"]
    with pytest.warns(UserWarning, match="vectors are cut to dim=4, but were trained for no nested_dims"):
        assert main(["evaluate", "--run", str(run), *few, "evaluation.dims=[2,4]"]) == 0
    found = {system["key"]: system for system in json.loads((run / "evaluation.json").read_text())["systems"]}
    assert {
        path: path.stat().st_mtime_ns for path in (run / "embeddings").iterdir()
    } == kept  # cut, not made anew
    variants = ["trained.int8", "trained.d4", "trained.d4.int8", "trained.d2", "trained.d2.int8"]
    assert list(found)[-6:] == ["trained", *variants]
    assert found["trained.d2.int8"]["name"] == "NoteLLM trained, 2 numbers, int8"
    assert found["trained"]["recall"] == found["trained.d4"]["recall"]
    assert "NoteLLM trained, 2 numbers, int8" in capsys.readouterr().out
    assert main(["report", "--run", str(run)]) == 0
    as_before = ["embed.dim=0", "evaluation.dims=[]", "evaluation.generation_notes=6"]
    assert main(["evaluate", "--run", str(run), *as_before]) == 0
    assert json.loads((run / "evaluation.json").read_text())["systems"] == before


def test_embed_keeps_fewer_numbers_in_int8(run, folder, capsys):
    notes = ["--run", str(run), "--notes", str(folder / "notes.parquet")]
    assert main(["embed", *notes, "--output", str(folder / "whole.safetensors")]) == 0
    few = ["embed.dim=4", "embed.storage=int8"]
    for output in (f"{folder / 'cut.safetensors'}", f"{folder / 'cut'}/"):
        with pytest.warns(UserWarning, match="vectors are cut to dim=4"):
            assert main(["embed", *notes, "--output", output, *few]) == 0
    whole, found = (load_embeddings(folder / f"{name}.safetensors")[1] for name in ("whole", "cut"))
    shards = Embeddings.open(folder / "cut")
    assert (shards.width, shards.storage, shards.made_by["options"]["embed"]["dim"]) == (4, "int8", 4)
    torch.testing.assert_close(found, truncated(whole, 4), rtol=0, atol=1 / 254 + 1e-3)
    torch.testing.assert_close(shards.vectors, found, rtol=0, atol=1 / 127 + 1e-3)
    assert main(["embed", *notes, "--output", f"{folder / 'cut'}/"]) == 2
    assert "options.embed.dim was 4 and is None" in capsys.readouterr().err
    assert main(["embed", *notes, "--output", str(folder / "cut.npy"), *few]) == 2
    assert "int8 must go to a .safetensors file, but this is cut.npy" in capsys.readouterr().err
    assert main(["neighbours", "--vectors", str(folder / "cut"), "--id", "note0", "-k", "2"]) == 0
    if faiss_version():
        command = [
            "--vectors",
            str(folder / "cut"),
            "--factory",
            "Flat",
            "--output",
            str(folder / "cut.index"),
        ]
        assert main(["index", "build", *command]) == 0
        assert len(NeighbourIndex.load(folder / "cut.index")) == NOTES
