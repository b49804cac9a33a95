import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import notellm
from notellm.app.config import compose, differences, groups, load_config, override, to_yaml
from notellm.errors import ConfigError

PACKAGE = Path(notellm.__file__).parent
OPTIONS = sorted(path.relative_to(PACKAGE / "conf") for path in (PACKAGE / "conf").glob("*/*.yaml"))


@pytest.mark.parametrize("option", OPTIONS, ids=str)
def test_every_shipped_option_composes(option):
    overrides = [f"{option.parent}={option.stem}"]
    if overrides == ["data=files"]:
        overrides += ["data.notes=notes.csv", "data.interactions=log.csv"]
    config = compose(overrides)
    if option.parent.name not in ("experiment", "scale"):
        values = OmegaConf.to_container(OmegaConf.load(PACKAGE / "conf" / option))
        own = {key: value for key, value in values.items() if key != "defaults" and value != "???"}
        group = getattr(config, option.parent.name).to_dict()
        assert {key: group[key] for key in own} == own


def test_files_hold_only_what_differs_from_the_described_defaults():
    standard = {group.name: {one.name: one.standard for one in group.options} for group in groups()}
    for option in OPTIONS:
        if option.parent.name in ("experiment", "scale"):
            continue
        given = OmegaConf.to_container(OmegaConf.load(PACKAGE / "conf" / option))
        chosen = {"source", "path", "name"}  # what a file is about may be said
        chosen |= {"r"} if option.parent.name == "lora" else set()
        same = [key for key, value in given.items() if standard[option.parent.name].get(key) == value]
        assert set(same) <= chosen, option


def test_the_demo_is_what_its_file_says():
    config = compose(["experiment=demo"])
    assert (config.name, config.run_dir, config.dtype) == ("demo", "runs/demo", "auto")
    assert (config.prompt.title_tokens, config.prompt.content_tokens) == (20, 32)
    assert (config.train.pairs_per_step, config.train.max_steps, config.train.lr) == (24, 32, 5e-5)


def test_overrides_come_after_the_experiment():
    assert compose(["train.max_steps=3", "experiment=demo"]).train.max_steps == 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loss.alhpa=0.1", "loss.alhpa=0.1: unknown key loss.alhpa; did you mean loss.alpha?"),
        ("alpha=0.1", "alpha=0.1: unknown key alpha; did you mean loss.alpha?"),
        ("+loss.zebra=1", "+loss.zebra=1: unknown key loss.zebra"),
        ("los=joint", "los=joint: unknown key los; did you mean loss?"),
        ("loss=both", "loss/both: no such configuration; there are: csft_only, demo, gcl_only, joint"),
        ("experiment=nope", "experiment/nope: no such configuration; there are: demo"),
        ("~loss.alpha", "loss.alpha is missing"),
        ("loss.alpha=-1", "loss.alpha must be at least 0, but is -1"),
        ("train.lr=fast", "train.lr must be a number, but is the text 'fast'"),
        ("dtype=fp16", "dtype must be auto, fp32 or bf16, but is 'fp16'"),
        ("seed=1.5", "seed must be an integer, but is the number 1.5"),
        (
            "data=files",
            "data: notes and interactions must be given where source is files; "
            "try data.notes=FILE data.interactions=FILE",
        ),
        ("loss.alpha", "loss.alpha: must be KEY=VALUE, but missing EQUAL at '<EOF>'"),
    ],
)
def test_a_wrong_override_is_one_helpful_line(override, message):
    with pytest.raises(ConfigError) as error:
        compose([override], studies="nowhere")
    assert str(error.value) == message


@pytest.mark.parametrize("override", ["run_dir=${nope}", "train.lr=1,2", "hydra.nope=1"])
def test_what_hydra_refuses_is_one_line(override):
    with pytest.raises(ConfigError) as error:
        compose([override])
    assert "\n" not in str(error.value)


def test_studies_add_groups_and_options(tmp_path):
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "heavy.yaml").write_text("defaults: [joint, _self_]\nalpha: 10\n")
    config = compose(["loss=heavy"], studies=tmp_path)
    assert (config.loss.alpha, config.loss.hashtag_ratio) == (10.0, 0.4)


def test_studies_are_found_in_the_current_directory(tmp_path, monkeypatch):
    (tmp_path / "experiments/conf/loss").mkdir(parents=True)
    (tmp_path / "experiments/conf/loss/heavy.yaml").write_text("defaults: [joint, _self_]\nalpha: 10\n")
    monkeypatch.chdir(tmp_path)
    assert compose(["loss=heavy"]).loss.alpha == 10.0


def test_a_file_is_read_and_named_in_errors(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(compose(["seed=5"])))
    assert load_config(path).seed == 5
    path.write_text(path.read_text().replace("seed: 5", "seed: -5"))
    with pytest.raises(ConfigError, match=rf"^{re.escape(str(path))}:3: seed must be at least 0, but is -5$"):
        load_config(path)
    with pytest.raises(ConfigError, match="must be a readable file"):
        load_config(tmp_path / "absent.yaml")


def test_differences_name_the_keys():
    assert differences(compose(), compose()) == {}
    assert differences(compose(), compose(["train=demo"]))["train.pairs_per_step"] == (64, 24)


def test_override_changes_single_keys():
    config = override(compose(["experiment=demo"]), ["loss.alpha=0.5", "evaluation.ks=[3]"])
    assert (config.loss.alpha, config.evaluation.ks, config.name) == (0.5, (3,), "demo")


@pytest.mark.parametrize("text", ["loss=gcl_only", "+loss.alpha=1", "~loss.alpha", "experiment=demo"])
def test_override_refuses_what_is_no_single_key(text):
    with pytest.raises(ConfigError, match="takes KEY=VALUE only"):
        override(compose(), [text])


def test_configurations_cannot_be_changed():
    config = compose()
    with pytest.raises(AttributeError):
        config.seed = 1
    with pytest.raises(AttributeError):
        config.loss.alpha = 1.0


def test_the_home_folder_is_named_by_a_tilde(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert compose(["run_dir='~/runs/a'"]).run_dir == str(tmp_path / "runs/a")
    assert compose(["run_dir='runs/~a'"]).run_dir == "runs/~a"
