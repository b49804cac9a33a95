"""An embedding model of one's own as a row of an evaluation: as it comes, and trained on the run's pairs."""

import json

import pytest

from encoders import write_decoder
from notellm.app.config import compose
from notellm.app.pipeline import run_steps
from notellm.app.pipeline.data import load_data
from notellm.app.run import RunFolder

pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")


def test_an_embedding_model_is_measured_before_and_after_training(folder, overrides, tiny_folder):
    encoder = write_decoder(folder / "my-embedder", tiny_folder)
    asked = [
        *overrides,
        f"model.encoder={encoder}",
        "model.encoder_prompt='query: '",
        "model.encoder_pooling=lasttoken",
        "evaluation.systems=[tfidf,sentence_bert_zero_shot,sentence_bert]",
        f"run_dir={folder / 'encoder_run'}",
    ]
    config = compose(asked)
    run = RunFolder.open(config, command=["notellm", "sweep"])
    run_steps(run, load_data(config))
    rows = {row["key"]: row for row in json.loads(run.file("evaluation.json").read_text())["systems"]}
    assert rows["sentence_bert_zero_shot"]["name"] == "my-embedder zero-shot"
    assert rows["sentence_bert"]["name"] == "my-embedder trained"
    assert (run.file("sentence_bert") / "modules.json").exists()
    made = sorted(entry.name.partition("-")[0] for entry in run.file("embeddings").iterdir())
    assert made == ["sentence_bert", "sentence_bert_zero_shot"]
    before = {path: path.stat().st_mtime_ns for path in run.file("embeddings").iterdir()}
    run_steps(run, load_data(config))
    assert {path: path.stat().st_mtime_ns for path in run.file("embeddings").iterdir()} == before
    weights = encoder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")  # another model
    run_steps(run, load_data(config))
    after = {path.name.partition("-")[0]: path for path in run.file("embeddings").iterdir()}
    assert after["sentence_bert_zero_shot"] not in before
    assert after["sentence_bert"] in before
