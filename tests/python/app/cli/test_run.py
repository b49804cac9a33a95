import argparse
import os
import subprocess
import sys

import pytest

from notellm.app.cli import main
from notellm.app.commands.configured import add_run_arguments, open_run, read_config, show_config
from notellm.app.config import compose, load_config, to_yaml
from notellm.app.run import RunFolder, alone_in
from notellm.errors import ConfigError, DataError
from notellm.io.json_files import read_json, write_json


def config(folder, *overrides):
    return compose([f"run_dir='{folder}'", *overrides])


def test_a_new_folder_holds_its_configuration_and_its_origin(tmp_path):
    wanted = config(tmp_path / "run", "seed=4", "dtype=bf16")
    run = RunFolder.open(wanted, command=["notellm", "train", "a b"])
    assert load_config(run.file("config.yaml")) == wanted
    record = read_json(run.file("run.json"))
    assert (record["seed"], record["dtype"], record["command"]) == (4, "bf16", "notellm train 'a b'")
    assert {"python", "torch", "numpy"} <= record["versions"].keys()
    assert {"cpu", "cores", "memory_gib", "device"} <= record["machine"].keys()


@pytest.mark.parametrize(("is_native", "became"), [(True, "bf16"), (False, "fp32")])
def test_a_new_folder_holds_what_auto_became(is_native, became, native_bf16, tmp_path):
    native_bf16(is_native)
    wanted = config(tmp_path / "run")
    assert wanted.dtype == "auto"
    run = RunFolder.open(wanted)
    assert run.config.dtype == load_config(run.file("config.yaml")).dtype == became
    record = read_json(run.file("run.json"))
    assert record["dtype"] == became
    assert record["model"] == "SmolLM2-135M-Instruct, dequantised from Q4_1"


@pytest.mark.parametrize("asked", [[], ["dtype=auto"], ["dtype=bf16"]], ids=str)
def test_a_run_keeps_its_dtype_on_another_machine(asked, native_bf16, tmp_path):
    native_bf16(True)
    RunFolder.open(config(tmp_path / "run"))
    native_bf16(False)
    run = RunFolder.open(config(tmp_path / "run", *asked))
    assert run.config.dtype == load_config(run.file("config.yaml")).dtype == "bf16"
    with pytest.raises(ConfigError, match="dtype was 'bf16', is now 'fp32'; try another run_dir"):
        RunFolder.open(config(tmp_path / "run", "dtype=fp32"))


def test_a_configuration_made_by_hand_may_leave_the_dtype_open(native_bf16, tmp_path):
    native_bf16(True)
    wanted = config(tmp_path / "run")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(to_yaml(wanted))
    assert RunFolder.open(wanted).config.dtype == "bf16"


def arguments(*texts):
    parser = argparse.ArgumentParser()
    add_run_arguments(parser, "train")
    return parser.parse_intermixed_args(texts)


@pytest.mark.parametrize("verb_opens", [True, False])
def test_a_run_that_computes_slowly_here_says_a_word(verb_opens, native_bf16, tmp_path, capsys):
    call = arguments("--run", str(tmp_path / "run"))
    native_bf16(True)
    _opened(call)
    assert capsys.readouterr().err == ""
    native_bf16(False)
    found = _opened(call) if verb_opens else _shown(call)
    assert found.dtype == "bf16"
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "notellm: this run computes in bf16, which this CPU does not multiply natively: no faster than fp32"
    ]
    _opened(arguments("--run", str(tmp_path / "other")))
    assert capsys.readouterr().err == ""


def _opened(call):
    with open_run(call) as run:
        return run.config


def _shown(call):
    """As verbs do that read a run's configuration and leave the folder alone."""
    wanted = read_config(call)
    assert not show_config(call, wanted)
    return wanted


def test_the_printed_configuration_says_what_auto_becomes(native_bf16, tmp_path, capsys):
    for is_native, became in ((True, "bf16"), (False, "fp32")):
        native_bf16(is_native)
        with open_run(arguments("--cfg", f"run_dir={tmp_path / 'run'}")) as run:
            assert run is None
        assert f"\ndtype: {became}\n" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


def test_another_configuration_is_refused_by_key(tmp_path):
    RunFolder.open(config(tmp_path / "run"))
    with pytest.raises(ConfigError, match=r"loss\.alpha was 0\.01, is now 0\.5; train\.lr was") as error:
        RunFolder.open(config(tmp_path / "run", "loss.alpha=0.5", "train.lr=1", "threads=1"))
    assert "threads" not in str(error.value)
    assert load_config(tmp_path / "run" / "config.yaml").loss.alpha == 0.01


def test_free_keys_may_change_and_are_recorded(tmp_path):
    RunFolder.open(config(tmp_path / "run"), command=["first"])
    run = RunFolder.open(config(tmp_path / "run", "evaluation.ks=[5]", "threads=1"), command=["second"])
    assert load_config(run.file("config.yaml")).evaluation.ks == (5,)
    record = read_json(run.file("run.json"))
    assert record["command"] == "first"
    assert [call["command"] for call in record["calls"]] == ["first", "second"]


def test_a_run_folder_may_be_moved(tmp_path):
    RunFolder.open(config(tmp_path / "old"))
    (tmp_path / "old").rename(tmp_path / "new")
    run = RunFolder.open(config(tmp_path / "new"))
    assert load_config(run.file("config.yaml")).run_dir == str(tmp_path / "new")


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="must be a run folder or empty"):
        RunFolder.open(config(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_whose_making_was_cut_short_is_completed(tmp_path):
    run = RunFolder.open(config(tmp_path / "run"))
    run.file("run.json").unlink()
    assert read_json(RunFolder.open(config(tmp_path / "run")).file("run.json"))["seed"] == 0


def test_json_is_strict(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    (tmp_path / "b.json").write_text('{"a": 1,\n "b": }')
    with pytest.raises(DataError, match=r"b\.json:2: must be JSON"):
        read_json(tmp_path / "b.json")


HOLD = """
import sys
from notellm.app.run import alone_in
with alone_in(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def held(tmp_path):
    """A run folder that another process works in, and that process."""
    folder = tmp_path / "run"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], **pipes) as process:
        assert process.stdout.readline() == b"held\n"
        yield folder, process


@pytest.mark.parametrize("verb", ["data", "mine", "train", "evaluate", "demo", "show-prompt"])
def test_a_folder_that_another_call_works_in_is_refused_by_its_name(verb, held, capsys):
    folder, process = held
    assert main([verb, "--run", str(folder)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert (
        f"one call at a time must work in a run folder, but `-c {folder}`, process {process.pid} on" in line
    )
    assert [entry.name for entry in folder.iterdir()] == ["run.lock"]


def test_what_a_killed_call_leaves_keeps_nobody_out(held):
    folder, process = held
    process.kill()
    process.wait()
    assert (folder / "run.lock").exists()
    _opened(arguments("--run", str(folder)))
    assert sorted(entry.name for entry in folder.iterdir()) == ["config.yaml", "run.json"]


def test_a_call_that_fails_lets_the_next_one_in(tmp_path):
    with pytest.raises(ZeroDivisionError), alone_in(tmp_path / "run"):
        raise ZeroDivisionError
    with alone_in(tmp_path / "run"), pytest.raises(ConfigError, match="one call at a time"):
        _opened(arguments("--run", str(tmp_path / "run")))
    _opened(arguments("--run", str(tmp_path / "run")))


@pytest.fixture
def read_only(tmp_path):
    """A folder that this process may not write to, not even where it is a superuser's."""
    folder = tmp_path / "run"
    folder.mkdir()
    folder.chmod(0o555)
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    yield folder
    os.seteuid(was)
    folder.chmod(0o755)
    assert list(folder.iterdir()) == []


def test_a_read_only_folder_is_refused_before_the_work(read_only):
    sentence = "must be written, but: Permission denied; nothing is half-written; try another folder"
    with pytest.raises(PermissionError, match=sentence), alone_in(read_only):
        pytest.fail("no work must begin")
    with pytest.raises(PermissionError, match=sentence):
        write_json(read_only / "a.json", {})
