"""A record says where its numbers come from, and whether anyone else was at work."""

import argparse
import json
import subprocess
import sys

import pytest
import records
import run_all
import torch

import notellm
from notellm.older_cpu import PROCESSORS


def other_work(busy, own, wall=100.0):
    """What is said of so many seconds of all cores' work, of our own, and of time."""
    readings = {"busy": [0.0, busy], "own": [0.0, own], "wall": [0.0, wall]}
    watch = records.OtherWork(*(lambda name=name: readings[name].pop(0) for name in readings))
    return watch.numbers()


def test_our_own_work_is_not_that_of_others(monkeypatch):
    monkeypatch.setattr(records.os, "cpu_count", lambda: 2)
    numbers = other_work(busy=200.0, own=196.0)
    assert numbers["quiet"] is True
    assert numbers["others"]["share_of_cores"] == 0.02


def test_a_record_beside_other_work_is_not_quiet(monkeypatch):
    monkeypatch.setattr(records.os, "cpu_count", lambda: 2)
    numbers = other_work(busy=150.0, own=100.0)
    assert numbers["quiet"] is False
    assert numbers["others"]["share_of_cores"] == 0.25
    assert numbers["others"]["load_average_before"] >= 0


def test_the_machine_is_watched_in_earnest():
    watch = records.OtherWork()
    assert sum(i * i for i in range(3_000_000)) > 0
    busy, own, _ = (now - then for now, then in zip(watch._now(), watch._begin, strict=True))
    assert own > 0
    assert busy >= own - 0.05  # two clocks of a hundredth of a second


def test_work_of_living_children_is_our_own():
    before = records._own_seconds()
    busy = "import time; t = time.process_time\nwhile t() < 0.5: pass\nprint(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        child.stdout.readline()
        assert records._own_seconds() - before >= 0.45
        child.stdin.write(b"\n")


def test_records_are_named_by_instruction_set(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["bench_x.py", "--output", str(tmp_path)])
    records.Run(argparse.ArgumentParser()).report("x", {"rounds": {"notellm": [1.0, 2.0]}})
    used = notellm.instruction_set()
    record = json.loads((tmp_path / f"x.{used}.json").read_text())
    assert record == json.loads(capsys.readouterr().out)
    assert record["rounds"] == {"notellm": [1.0, 2.0]}
    assert record["machine"]["instruction_set"] == used
    assert record["versions"]["torch"] == torch.__version__
    assert {"quiet", "others", "commit", "command"} <= record.keys()


def test_limits_are_for_everyone_or_for_no_one():
    newer, older = ["AVX2", "AVX-512"], ["AVX2"]
    records.check_limits({}, newer)
    records.check_limits(PROCESSORS["avx2"], newer)
    without_late = {name: value for name, value in PROCESSORS["avx2"].items() if name != "CT2_FORCE_CPU_ISA"}
    records.check_limits(without_late, newer)
    alone = {"NOTELLM_INSTRUCTION_SET": "avx512"}
    records.check_limits(alone, older)
    mixed = PROCESSORS["avx2"] | {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}
    for some in (alone, mixed):
        with pytest.raises(ValueError, match="CT2_FORCE_CPU_ISA must be those of one processor, but are"):
            records.check_limits(some, newer)


@pytest.mark.parametrize("used", ["avx512_bf16", "avx2"])
def test_every_job_has_a_script_and_a_record_of_its_own(used):
    folder = records.Path(run_all.__file__).parent
    assert all((folder / job.script).is_file() for job in run_all.JOBS.values())
    commands = [
        (job.script, *(run_all.options_of(job, used, False) or [name])) for name, job in run_all.JOBS.items()
    ]
    assert len(set(commands)) == len(commands)


def test_a_finished_record_is_a_quiet_one(tmp_path):
    path = tmp_path / "x.avx2.json"
    assert not run_all.is_finished(path)
    for quiet in (False, True):
        path.write_text(json.dumps({"quiet": quiet}))
        assert run_all.is_finished(path) is quiet


def test_a_command_names_no_folder_of_this_machine():
    root = records.RESULTS.resolve().parents[1]
    call = [
        f"{root}/benchmarks/python/bench_gcl.py",
        "--table",
        "/home/me/n.parquet",
        "--output",
        f"{root}/a/b.json",
    ]
    expected = "python benchmarks/python/bench_gcl.py --table n.parquet --output a/b.json"
    assert records.command_line(call) == expected
    assert records.command_line(["bench.py", "--rounds", "3"]) == "python bench.py --rounds 3"
