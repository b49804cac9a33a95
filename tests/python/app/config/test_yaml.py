"""Our reader against OmegaConf, which writes what it reads."""

from operator import attrgetter

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from notellm.app.config import compose, parse_config, replace, to_yaml
from notellm.errors import ConfigError

# The three line separators on which YAML 1.1 and 1.2 disagree are refused.
texts = st.text(st.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029"))


COMPOSED = compose()
configurations = given(
    changes=st.fixed_dictionaries(
        {
            "name": texts.filter(bool),
            "prompt.slot_lead": texts,
            "evaluation.ks": st.lists(st.integers(1, 2**63 - 1), min_size=1, unique=True).map(tuple),
            "train.lr": st.floats(min_value=0, allow_nan=False, allow_infinity=False),
            "seed": st.integers(0, 2**63 - 1),
            "train.checkpoint_layers": st.booleans(),
        }
    )
)


@settings(deadline=None)
@configurations
@example(changes={"name": "\n\n", "prompt.slot_lead": "1e3"})
@example(changes={"name": "off", "prompt.slot_lead": "0x_1"})
@example(changes={"name": "9" * 30, "prompt.slot_lead": "a\n"})
@example(changes={"name": "${", "prompt.slot_lead": "${seed}"})
def test_what_is_written_is_read_back(changes):
    config = replace(COMPOSED, changes)
    assert {key: attrgetter(key)(config) for key in changes} == changes
    assert parse_config(to_yaml(config)) == config


@settings(deadline=None)
@configurations
def test_others_read_what_is_written(changes):
    config = replace(COMPOSED, changes)
    text = to_yaml(config)
    assert yaml.safe_load(text) == config.to_dict()
    if not any(
        "${" in part for part in (config.name, config.prompt.slot_lead)
    ):  # that is an interpolation to it
        assert OmegaConf.to_container(OmegaConf.create(text)) == config.to_dict()


@settings(deadline=None)
@configurations
def test_what_omegaconf_writes_is_read_back(changes):
    config = replace(COMPOSED, changes)
    text = OmegaConf.to_yaml(config.to_dict())
    if all(part.strip("\n") or not part for part in [config.name, config.prompt.slot_lead]):
        assert parse_config(text) == config
    else:  # yaml-cpp would lose them
        with pytest.raises(ConfigError, match="line breaks alone"):
            parse_config(text)


def test_a_text_of_line_breaks_arrives():
    assert compose(["prompt.slot_lead='\n'"]).prompt.slot_lead == "\n"


def test_composed_configurations_survive_the_round_trip():
    config = compose(["experiment=demo", "train.lr=1e-7", "prompt.slot_lead=''"])
    assert parse_config(to_yaml(config)) == config


def test_a_repeated_key_is_an_error_with_both_lines():
    with pytest.raises(ConfigError, match=r"^run\.yaml:2: the key name is given twice, first on line 1$"):
        parse_config("name: a\nname: b\n", name="run.yaml")
