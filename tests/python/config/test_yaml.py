"""Our reader against OmegaConf, which writes what it reads."""

import math
from datetime import date
from operator import attrgetter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from notellm._core import config as core
from notellm.config import compose, parse_config, replace, to_yaml
from notellm.errors import ConfigError

INT64 = range(-(2**63), 2**63)


def same(ours, theirs):
    if isinstance(theirs, float) and math.isnan(theirs):
        return isinstance(ours, float) and math.isnan(ours)
    return type(ours) is type(theirs) and ours == theirs


numbers = st.text("0123456789_+-.eExb:aAF", min_size=1, max_size=12)
words = st.sampled_from(["yes", "No", "TRUE", "tRue", "on", "Off", "null", "~", "NULL", ".inf", "-.INF"])
words |= st.sampled_from(["+.inf", ".nan", "-.nan", ".NaN", "y", "n", "2026-01-31", "=", "<<", "0o17", "1e5"])


@given(numbers | words | st.floats().map(str) | st.integers().map(str))
@example("1e-3")
@example("1_000.5e3")
@example(".5e-3")
@example(".5e3")
@example("-.5")
@example("08")
@example("190:20:30.15")
@example("0x_1")
def test_plain_scalars_mean_what_they_mean_to_omegaconf(text):
    try:
        theirs = OmegaConf.create(f"key: {text}")
        theirs = None if theirs is None else OmegaConf.to_container(theirs)["key"]
    except Exception:
        return  # not one plain scalar, or digits that Python refuses: nothing to agree on
    fits = not isinstance(theirs, int) or theirs in INT64
    if isinstance(theirs, date):
        theirs = text
    try:
        ours = core.resolve_plain_scalar(text)
    except IndexError:  # std::out_of_range
        assert not fits or (isinstance(theirs, float) and (math.isinf(theirs) or abs(theirs) < 1e-300))
        return
    assert same(ours, theirs)


# The three line separators on which YAML 1.1 and 1.2 disagree are refused.
texts = st.text(st.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029"))


COMPOSED = compose()
configurations = given(
    changes=st.fixed_dictionaries(
        {
            "name": texts.filter(bool),
            "prompt.category": st.lists(texts, min_size=1),
            "train.lr": st.floats(min_value=0, allow_nan=False, allow_infinity=False),
            "seed": st.integers(0, 2**63 - 1),
            "train.tensorboard": st.booleans(),
        }
    )
)


@settings(deadline=None)
@configurations
@example(
    changes={"name": "\n\n", "prompt.category": ["\n", "1e3", "off", "9" * 30, "0x_1", "a\n", "\na", ""]}
)
def test_what_is_written_is_read_back(changes):
    config = replace(COMPOSED, changes)
    assert {key: attrgetter(key)(config) for key in changes} == changes
    assert parse_config(to_yaml(config)) == config


@settings(deadline=None)
@configurations
def test_what_omegaconf_writes_is_read_back(changes):
    config = replace(COMPOSED, changes)
    text = OmegaConf.to_yaml(config.to_dict())
    if all(part.strip("\n") or not part for part in [config.name, *config.prompt.category]):
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
