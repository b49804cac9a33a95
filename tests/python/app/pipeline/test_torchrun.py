"""The command line in several processes: `torchrun -m notellm`."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from notellm.app.cli import main

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def torchrun(*arguments):
    """Starts `notellm` in two processes."""
    return subprocess.Popen(
        # "--": torchrun would take --run for an abbreviation of an option of its own
        [*TORCHRUN, "-m", "--", "notellm", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def kill(process):
    """Power cut: neither torchrun nor its workers, which are in sessions of their own, can do anything more."""
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in (process.pid, *map(int, workers)):
        os.kill(pid, signal.SIGKILL)
    process.communicate()


def logged_steps(path):
    log = path / "train.jsonl"
    return len(log.read_text().splitlines()) if log.exists() else 0


def test_a_killed_run_of_two_processes_goes_on_in_one(folder, overrides):
    # fp32, and eps above the rounding of gradients: AdamW divides by their size
    exact = ["dtype=fp32", "train.eps=1e-3", "train.lr=1e-4"]
    options = [*overrides, *exact, "train.max_steps=12", "train.micro_pairs=1"]
    cut, whole = folder / "cut", folder / "whole"
    process = torchrun("train", "--run", cut, *options, "train.shard_weights=true")
    wait_for(lambda: logged_steps(cut) >= 3, process)
    kill(process)
    assert 3 <= logged_steps(cut) < 12
    assert not (cut / "model").exists()
    assert main(["train", "--run", str(cut), "train.micro_pairs=0"]) == 0
    assert main(["train", "--run", str(whole), *options, "train.micro_pairs=0"]) == 0
    assert logged_steps(cut) == 12
    assert not (cut / "checkpoints").exists()
    expected = load_file(whole / "model" / "model.safetensors")
    for name, value in load_file(cut / "model" / "model.safetensors").items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-5, msg=name)


def test_an_error_of_all_processes_is_one_line(folder, overrides):
    options = [*overrides, "train.lr=1e30", "train.lr_head=1e30", "train.warmup_ratio=0"]
    process = torchrun("train", "--run", folder / "diverged", *options)
    out, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert out == ""
    ours = [line for line in err.splitlines() if line.startswith("notellm: ")]
    assert len(ours) == 1, err
    assert "loss and gradient must be finite" in ours[0]
    assert "trainer.py" not in err  # no traceback of ours


@pytest.mark.slow
def test_the_demo_runs_in_two_processes(folder, overrides):
    alone, together = folder / "alone", folder / "together"
    assert main(["demo", "--run", str(alone), *overrides]) == 0
    process = torchrun("demo", "--run", together, *overrides)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert out.count("the report is") == 1
    assert {entry.name for entry in together.iterdir()} == {entry.name for entry in alone.iterdir()}
    assert (together / "data.json").read_text() == (alone / "data.json").read_text()


def test_verbs_for_one_process_are_refused(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    assert main(["evaluate"]) == 2
    assert (
        "notellm evaluate must run in one process, but torchrun started 2; the verbs for several are train, demo, "
        "embed, generate" in capsys.readouterr().err
    )
    monkeypatch.setenv("RANK", "1")
    assert main(["evaluate"]) == 2
    assert capsys.readouterr().err == ""


PATIENT = """
import os
import time
from datetime import timedelta
from pathlib import Path

from notellm import processes

processes.TIMEOUT = timedelta(seconds=10)
processes.join("cpu")


@processes.first_process_first()
def work():
    if processes.Processes.current().is_first:
        time.sleep(14)


work()
processes.leave()
# not printed: two processes that share an output may write into each other's lines
Path(__file__).with_name(f"done-{os.environ['RANK']}").touch()
"""


def test_others_wait_for_the_first_process_however_long_it_works_alone(tmp_path):
    script = tmp_path / "patient.py"
    script.write_text(PATIENT)
    done = subprocess.run([*TORCHRUN, str(script)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.glob("done-*")) == ["done-0", "done-1"], done.stderr
