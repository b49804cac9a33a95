"""An option is described in one place and found in all others."""

import ast
import json
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

import notellm
from notellm._core import options as core
from notellm.app import config as configuration
from notellm.app.cli import main
from notellm.app.config import compose, config_keys, cost_keys, groups, load_config, parse_config, to_yaml
from notellm.app.kept import deciding
from notellm.errors import ConfigError
from notellm.options import Options, check_yaml_file, facts, option, reference_page, unknown

ROOT = Path(notellm.__file__).parents[2]
CORE_CLASSES = [value for value in vars(core).values() if hasattr(value, "to_dict")]


@pytest.fixture
def made_up(monkeypatch):
    """The configuration with one option more, described in the class of its group alone."""

    class LossOptions(configuration.LossOptions):
        margin: float = option("A made-up margin.", default=0.25, at_least=0, below=1, decides_cost=True)

    monkeypatch.setitem(configuration.CLASSES, "loss", LossOptions)
    return LossOptions


@pytest.mark.usefixtures("made_up")
def test_a_made_up_option_is_found_everywhere(made_up, tmp_path, capsys):
    assert "loss.margin" in config_keys()
    assert "loss.margin" in cost_keys()  # what names a run and a cell leaves it out
    config = compose(["loss.margin=0.5"])  # Hydra's defaults know it
    assert (compose().loss.margin, config.loss.margin) == (0.25, 0.5)
    assert config.loss.to_dict()["margin"] == 0.5
    assert pickle.loads(pickle.dumps(made_up(margin=0.1).to_dict()))["margin"] == 0.1
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert load_config(tmp_path / "config.yaml") == config
    with pytest.raises(ConfigError, match=r"^loss\.margin must be below 1, but is 1$"):
        compose(["loss.margin=1"])
    with pytest.raises(ConfigError, match=r"did you mean loss\.margin\?"):
        compose(["loss.marign=0.5"])
    with pytest.raises(ConfigError, match=r"^LossOptions: margin must be below 1, but is 1$"):
        made_up(margin=1)
    assert main(["options", "loss.margin"]) == 0
    assert "loss.margin=0.25\n    A made-up margin. In [0, 1). Changes" in capsys.readouterr().out
    assert "| `margin` | `0.25` | A made-up margin." in reference_page(groups())


def test_a_configuration_without_it_lacks_a_key(made_up):
    text = to_yaml(compose())
    with pytest.raises(ConfigError, match=r"loss\.margin is missing"):
        parse_config(text.replace("  margin: 0.25\n", ""))


@pytest.mark.parametrize("cls", CORE_CLASSES, ids=lambda cls: cls.__name__)
def test_classes_of_the_core(cls):
    standard = cls()
    assert cls(**standard.to_dict()) == standard == pickle.loads(pickle.dumps(standard))
    assert hash(cls()) == hash(standard)
    assert eval(repr(standard), vars(core)) == standard
    for name, value in standard.to_dict().items():
        assert getattr(standard, name) == value
        assert f"    {name}: " in cls.__doc__
        with pytest.raises(AttributeError):
            setattr(standard, name, value)
    changed = (
        standard.replace(batch_tokens=7) if hasattr(standard, "batch_tokens") else standard.replace(top=7)
    )
    assert changed != standard
    with pytest.raises(ConfigError, match=rf"^{cls.__name__}: unknown key nonsense"):
        cls(nonsense=1)


def test_values_that_do_not_fit_together_are_refused():
    with pytest.raises(ConfigError, match=r"^MiningOptions: lower must not be above upper, but are 3 and 2$"):
        core.MiningOptions(lower=3, upper=2)
    with pytest.raises(ConfigError, match=r"^mining: lower must not be above upper, but are 3 and 2$"):
        compose(["mining.lower=3", "mining.upper=2"])
    with pytest.raises(
        ConfigError, match=r"^generation: beams must be 1 where temperature is above 0, but is 3$"
    ):
        compose(["generation.beams=3", "generation.temperature=1"])
    with pytest.raises(ConfigError, match=r"^loss: alpha must be above 0 where contrastive is false$"):
        compose(["loss.contrastive=false", "loss.alpha=0"])


def test_classes_are_checked_and_immutable():
    class Mine(Options):
        """Of a test."""

        share: float = option("A share.", default=0.5, above=0, at_most=1)
        names: tuple[str, ...] = option("Names.", default=("a",), choices=("a", "b"), not_empty=True)
        other: int = 3  # of the call

    mine = Mine(share=1, names=["b"])
    assert (mine.share, mine.names, mine.other) == (1.0, ("b",), 3)
    assert isinstance(mine.share, float)
    assert mine.to_dict() == {"share": 1.0, "names": ["b"]}
    assert Mine.from_dict({"names": ["a", "b"]}) == Mine(names=("a", "b"))
    assert facts(Mine.GROUP.options[1]) == "One of a, b."
    with pytest.raises(AttributeError):
        mine.share = 0.1
    for wrong, message in (
        ({"share": 0}, "Mine: share must be above 0, but is 0"),
        ({"share": True}, "Mine: share must be a number, but is true"),
        ({"share": float("nan")}, "Mine: share must be finite, but is nan"),
        ({"names": "a"}, "Mine: names must be a list, but is the text 'a'"),
        ({"names": ()}, "Mine: names must not be empty"),
        ({"share": 10**30}, "Mine: share must be at most 1, but is 1e+30"),
        ({"names": [object]}, "values must be plain"),
    ):
        with pytest.raises(ConfigError, match="^" + re.escape(message)):
            Mine(**wrong)
    with pytest.raises(ConfigError, match=r"^a\.yaml: unknown key shares; did you mean share\?$"):
        Mine.from_dict({"shares": 1}, where="a.yaml")


def test_every_option_is_described_well():
    for group in groups():
        assert group.meaning.endswith("."), group.name
        for one in group.options:
            assert one.meaning[0].isupper() or ": " in one.meaning, one.name
            assert one.meaning.endswith("."), f"{group.name}.{one.name}"


def test_the_reference_page_and_the_stub_are_up_to_date():
    assert (ROOT / "docs/options.md").read_text(encoding="utf-8") == reference_page(groups())
    command = [sys.executable, str(ROOT / "tools/option_stubs.py")]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    kept = (Path(notellm.__file__).parent / "_core/options.pyi").read_text(encoding="utf-8")
    assert ast.dump(ast.parse(made)) == ast.dump(ast.parse(kept))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["options", "los"], "did you mean loss"), (["options", "loss.alhpa"], "did you mean loss.alpha")],
)
def test_the_verb_names_the_nearest_key(arguments, message, capsys):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_a_configuration_from_before_an_option_takes_its_default_and_keeps_the_name_of_its_results():
    whole = compose().to_dict()
    later = {(group.name, one.name) for group in groups() for one in group.options if one.is_added_later}
    assert {("mining", "score"), ("loss", "nested_dims"), ("embed", "dim")} <= later
    for group, name in later:
        del whole[group][name]
    whole = {key: value for key, value in whole.items() if value != {}}  # groups that came later
    before = parse_config(json.dumps(whole))  # which is YAML, too
    assert before == compose()
    kept = deciding(before)
    assert not {(group, name) for group, name in later if name in kept.get(group, {})}
    changed = compose(["mining.score=count"])
    assert deciding(changed)["mining"]["score"] == "count"
    assert deciding(changed) != deciding(before)


def test_texts_that_are_not_unicode_are_refused(tmp_path):
    """As bytes of a command line, or of a file's name, that are no UTF-8 come from Python."""
    for cls in CORE_CLASSES:
        with pytest.raises(ConfigError, match=r"^texts must be Unicode, but one is 'caf\\udce9'$"):
            cls(**{name: "caf\udce9" for name in cls().to_dict()})
        with pytest.raises(ConfigError, match=r"^texts must be Unicode, but one is 'caf\\udce9'$"):
            cls(**{"caf\udce9": 1})
    with pytest.raises(ConfigError, match=r"^x\.yaml:2: text must be UTF-8, but byte 13 is 0xed"):
        parse_config("a: b\nrun_dir: caf\udce9\n", name="x.yaml")
    with pytest.raises(ConfigError, match=r"^caf\\udce9\.yaml:1: unknown key a"):
        parse_config("a: b", name="caf\udce9.yaml")
    path = tmp_path / "caf\udce9.yaml"
    path.write_text("{")
    with pytest.raises(ConfigError, match=r"caf\\udce9\.yaml:1: "):
        check_yaml_file(path)
    assert r"caf\udce9" in unknown(groups(), "caf\udce9")
