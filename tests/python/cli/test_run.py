import pytest

from notellm.config import compose, load_config
from notellm.errors import ConfigError, DataError
from notellm.run import RunFolder, read_json, write_json


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


def test_another_configuration_is_refused_by_key(tmp_path):
    RunFolder.open(config(tmp_path / "run"))
    with pytest.raises(ConfigError, match=r"loss\.alpha was 0\.01, is now 0\.5; train\.lr was") as error:
        RunFolder.open(config(tmp_path / "run", "loss.alpha=0.5", "train.lr=1", "threads=1"))
    assert "threads" not in str(error.value)
    assert load_config(tmp_path / "run" / "config.yaml").loss.alpha == 0.01


def test_free_keys_may_change_and_are_recorded(tmp_path):
    RunFolder.open(config(tmp_path / "run"), command=["first"])
    run = RunFolder.open(config(tmp_path / "run", "evaluation.ks=[5]", "threads=1"), command=["second"])
    assert load_config(run.file("config.yaml")).evaluation.ks == [5]
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
