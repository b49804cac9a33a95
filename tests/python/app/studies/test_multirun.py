"""Hydra's own multirun, with its basic launcher and another."""

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest
from omegaconf import OmegaConf


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_multirun(launcher, overrides, tmp_path):
    if launcher == "joblib" and find_spec("hydra_plugins.hydra_joblib_launcher") is None:
        pytest.skip("hydra-joblib-launcher is not installed; `pip install --no-deps hydra-joblib-launcher`")
    options = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"] if launcher == "joblib" else []
    command = [
        sys.executable,
        "-m",
        "notellm.app.multirun",
        "-m",
        "scale=smoke",
        *overrides,
        "loss.alpha=0,0.5",
    ]
    changes = ["evaluation.systems=[trained]", "evaluation.generation_notes=0", "threads=1"]
    done = subprocess.run(
        [*command, *changes, f"hydra.sweep.dir={tmp_path}", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for number, alpha in enumerate((0.0, 0.5)):
        run = tmp_path / str(number) / "run"
        assert OmegaConf.load(run / "config.yaml").loss.alpha == alpha
        found = json.loads((run / "evaluation.json").read_text())["systems"]
        assert [system["key"] for system in found] == ["trained"]
        losses = [json.loads(line)["generative"] for line in (run / "train.jsonl").read_text().splitlines()]
        assert (losses[0] is None) == (alpha == 0)
