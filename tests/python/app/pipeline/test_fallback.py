"""A run whose backbone transformers computes: every verb, and the names of what is kept."""

import json

import pytest

from families import write_family
from notellm import NotSupportedError
from notellm.app.cli import main
from notellm.app.config import compose
from notellm.app.kept import made_by
from notellm.app.pipeline import load_backbone, load_trained
from notellm.models.fallback import TransformersNoteLLM
from notellm.vector_files import load_embeddings


@pytest.fixture(scope="module")
def gemma(tiny_folder, tmp_path_factory):
    return write_family(tiny_folder, tmp_path_factory.mktemp("gemma") / "m", "gemma3_text")


@pytest.fixture(scope="module")
def asked(overrides, gemma):
    kept = [one for one in overrides if not one.startswith("model.path")]
    return [*kept, f"model.path={gemma}", "model.backend=transformers", "dtype=fp32"]


def test_a_demo_is_whole_and_its_model_is_used_by_the_verbs(folder, asked):
    run = folder / "gemma_run"
    assert main(["demo", "--run", str(run), *asked]) == 0
    document = json.loads((run / "evaluation.json").read_text())
    assert {"zero_shot_mean", "zero_shot_prompt", "trained"} <= {one["key"] for one in document["systems"]}
    assert json.loads((run / "model" / "notellm.json").read_text())["backend"] == "transformers"
    vectors = folder / "gemma.npy"
    notes = ["--notes", str(folder / "notes.parquet")]
    assert main(["embed", "--run", str(run), *notes, "--output", str(vectors)]) == 0
    model = load_trained(compose(asked), run / "model")
    assert isinstance(model, TransformersNoteLLM)
    assert load_embeddings(vectors)[1].shape == (60, 8)
    lines = folder / "gemma.jsonl"
    assert main(["generate", "--run", str(run), *notes, "--output", str(lines)]) == 0
    assert len(lines.read_text().splitlines()) == 60


def test_adapters_and_a_second_call(folder, asked):
    run = folder / "gemma_lora"
    short = [*asked, "lora.r=2", "train.max_steps=2"]
    assert main(["train", "--run", str(run), *short]) == 0
    before = (run / "model" / "model.safetensors").stat().st_mtime_ns
    assert main(["train", "--run", str(run), *short]) == 0
    assert (run / "model" / "model.safetensors").stat().st_mtime_ns == before


def test_the_first_step_is_shown(folder, asked, capsys):
    assert main(["show-prompt", f"run_dir={folder / 'shown'}", *asked]) == 0
    assert "generative loss:" in capsys.readouterr().out


def test_another_backend_is_another_result(asked):
    core = [one for one in asked if "backend" not in one]
    name = "zero_shot_prompt"
    assert made_by(compose(asked), name) != made_by(compose(core), name)
    assert "backend" not in str(made_by(compose(core), name))  # it came later


def test_the_core_names_the_option(asked):
    with pytest.raises(NotSupportedError, match="try model.backend=transformers"):
        load_backbone(compose([*asked, "model.backend=core"]))
