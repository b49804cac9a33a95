"""`notellm export`: each folder loads as its model card says, and the card says what the run measured."""

import json
import re
import shutil

import numpy as np
import pytest
import torch

from notellm import Notes
from notellm.app.cli import main
from notellm.app.numbers import interval_text, percent
from notellm.evaluation.results import Evaluation
from notellm.models.notellm import NoteLLM

NOTE = {"title": "Green tea", "topics": ["drink"], "content": "How long to steep it."}


@pytest.fixture(scope="module")
def run(overrides, tmp_path_factory):
    """A run that has trained and measured."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    for verb in ("train", "evaluate"):
        assert main([verb, "--run", str(folder), *overrides, "loss.nested_dims=[4]"]) == 0
    return folder


@pytest.fixture
def vector(run):
    """What our own model makes of the note in the model cards."""
    notes = Notes(["n"], [NOTE["title"]], [NOTE["content"]], [NOTE["topics"]], [""])
    return NoteLLM.from_pretrained(run / "model").embed(notes, dtype="fp32")[0].numpy()


def export(run, folder, *options):
    assert main(["export", "--run", str(run), "--output", str(folder), *options]) == 0
    return (folder / "README.md").read_text()


def run_examples(card):
    """Runs the Python blocks of a card in one namespace."""
    names = {}
    blocks = re.findall(r"```python\n(.+?)```", card, re.S)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    return names


def test_transformers(run, vector, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run_examples(export(run, tmp_path / "first-hf", "--to", "hf"))
    assert np.abs(names["vectors"][0].numpy() - vector).max() < 0.05  # in the machine's own dtype
    prompt = names["model"].prompt
    packed = prompt.pack(prompt.tokenize(names["notes"]), [0], mode="embed")
    ids = torch.from_numpy(packed.tokens).long()[None]
    with torch.no_grad():
        state = names["language_model"].model(ids).last_hidden_state[0, -1]
    found = torch.nn.functional.normalize(names["model"].projection_weight.detach() @ state, dim=0)
    assert np.abs(found.numpy() - vector).max() < 1e-5
    assert names["tokenizer"].decode(ids[0]).endswith('The compression word is:"')


@pytest.mark.parametrize(("takes", "options"), [("notes", []), ("text", ["--takes", "text"])])
def test_sentence_transformers(takes, options, run, vector, tmp_path, monkeypatch):
    pytest.importorskip("sentence_transformers")
    monkeypatch.chdir(tmp_path)
    card = export(run, tmp_path / "first-st", "--to", "sentence-transformers", *options)
    assert np.abs(run_examples(card)["vectors"][0] - vector).max() < 1e-5
    assert ("**Exact**" in card) == (takes == "notes")
    assert "truncate_dim=4" in card
    assert ("**Neither was tried with it.**" in card) == (takes == "text")


def test_llama_cpp(run, vector, tmp_path, monkeypatch):
    gguf = pytest.importorskip("gguf")
    monkeypatch.chdir(tmp_path)
    names = run_examples(export(run, tmp_path / "first-gguf", "--to", "gguf", "--dtype", "bf16"))
    reader = gguf.GGUFReader(tmp_path / "first-gguf/model.gguf")
    assert {tensor.tensor_type.name for tensor in reader.tensors} == {"BF16", "F32"}
    xllamacpp = pytest.importorskip(
        "xllamacpp", reason="xllamacpp, a llama.cpp with wheels, is not installed"
    )
    params = xllamacpp.CommonParams()
    params.model.path, params.embedding, params.warmup, params.port = "first-gguf/model.gguf", True, False, 0
    params.n_ctx = params.n_batch = params.n_ubatch = 512
    params.n_parallel = params.cpuparams.n_threads = 1
    server = xllamacpp.Server(params)
    found = names["embedded"](*NOTE.values(), server=server.listening_address)
    assert found @ vector > 0.99  # bf16


def test_the_card_says_what_the_run_measured(run, tmp_path):
    card = export(run, tmp_path / "first-hf", "--to", "hf")
    evaluation = Evaluation.from_json(json.loads((run / "evaluation.json").read_text()))
    trained = evaluation.system("trained")
    for recall in trained.recall.values():
        assert f"{percent(recall.value)} ({interval_text(recall)})" in card
    data = json.loads((run / "data.json").read_text())
    for name in ("notes", "events", "pairs_train", "pairs_test"):
        assert re.search(rf"\b{data[name]:,} ", card)
    assert "intervals over targets or notes" in card
    assert "**Steps**: 4 of 4 pairs" in card
    assert "the first 4 numbers may be used alone" in card
    assert "not stated in its folder" in card
    assert str(tmp_path.parent) not in card  # no path of this machine
    assert all(len(line) < 1000 for line in card.splitlines())


def test_the_card_names_the_backbones_licence(run, tiny_folder, tmp_path):
    (tmp_path / "tiny").mkdir()
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "tiny/README.md").write_text(
        "---\nlanguage: en\nlicense: mit\n---\n# A model\nlicense: none\n"
    )
    config = tmp_path / "run/config.yaml"
    config.write_text(config.read_text().replace(str(tiny_folder), str(tmp_path / "tiny")))
    card = export(tmp_path / "run", tmp_path / "out", "--to", "hf")
    assert card.startswith("---\nlicense: mit\n")
    assert "| licence of the backbone | mit |" in card


def test_a_run_that_measured_nothing_says_so(run, tmp_path):
    shutil.copytree(
        run, tmp_path / "run", ignore=shutil.ignore_patterns("evaluation.json", "data.json", "train.jsonl")
    )
    card = export(tmp_path / "run", tmp_path / "out", "--to", "hf")
    assert f"Not measured: `notellm evaluate --run {tmp_path / 'run'}`" in card


def test_an_export_replaces_an_export_and_nothing_else(run, tmp_path, capsys):
    export(run, tmp_path / "out", "--to", "hf")
    export(run, tmp_path / "out", "--to", "gguf")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("README.md", "model.gguf", "notellm.json", "projection.npy")
    }
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("dear")
    assert main(["export", "--run", str(run), "--to", "hf", "--output", str(tmp_path / "mine")]) == 2
    assert "mine: must be absent, empty or a saved NoteLLM, but holds other files" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]


@pytest.mark.parametrize("inside", ["model", "model/hf", ""])
def test_the_model_that_is_read_stays(inside, run, capsys):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert main(["export", "--run", str(run), "--to", "hf", "--output", str(run / inside)]) == 2
    assert "which is read, but is in it or around it; try another name" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_vectors_that_were_not_trained_are_not_projected(overrides, tmp_path, monkeypatch):
    pytest.importorskip("sentence_transformers")
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--run", "run", *overrides, "loss=csft_only", "train.max_steps=1"]) == 0
    names = run_examples(export("run", tmp_path / "st", "--to", "sentence-transformers"))
    model = NoteLLM.from_pretrained("run/model")
    notes = Notes(["n"], [NOTE["title"]], [NOTE["content"]], [NOTE["topics"]], [""])
    assert np.abs(names["vectors"] - model.embed(notes, projected=False, dtype="fp32").numpy()).max() < 1e-5
